"""Users of the API who never stop asking: whole answers and streamed ones, through the real entry point."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support.probe import Probe
from tools import ask

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where users ask, and with which key."""

    service: ask.Service
    key: str | None = None  # of the API
    timeout_seconds: float = 120

    def whole(self) -> None:
        """One answer in one piece, to a question with an image. Raises when it is not whole."""
        with self._asked(ask.question("What colour is this?", self.service.model)) as answer:
            body = json.load(answer)
            if body["choices"][0]["finish_reason"] not in ("stop", "length"):
                raise ConnectionError(f"ended by {body['choices'][0]['finish_reason']}")

    def streamed(self, tokens: int) -> None:
        """One answer of `tokens`, word by word; raises when it breaks off, which is what a careless rollout does to it."""
        body = json.loads(ask.question("Go on.", self.service.model)) | {
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
        }
        with self._asked(json.dumps(body).encode()) as answer:
            words, end = 0, b""
            for line in answer:
                if line.startswith(b"data: "):
                    spoken = b'"content": "' in line and b'"content": ""' not in line
                    words, end = words + spoken, line.strip()
            if end != b"data: [DONE]" or words < tokens:
                raise ConnectionError(f"broke off after {words} of {tokens} words")

    @contextmanager
    def _asked(self, body: bytes) -> Iterator[http.client.HTTPResponse]:
        connection = self.service.connect(self.timeout_seconds)
        try:
            headers = {"Host": self.service.host, "Content-Type": "application/json"}
            headers |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise ConnectionError(f"status {answer.status}: {answer.read(200)!r}")
            yield answer
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Users:
    whole: list[Probe]
    streamed: list[Probe]

    @property
    def failures(self) -> list[str]:
        return [text for probe in (*self.whole, *self.streamed) for _, text in probe.failures]

    @property
    def least_answers(self) -> int:
        return min(len(probe.answered) for probe in (*self.whole, *self.streamed))


@contextmanager
def asking(entry: Entry, *, whole: int = 2, streamed: int = 3, tokens: int = 300) -> Iterator[Users]:
    """Users who ask without a pause worth mentioning; when this ends, their last answers have come."""

    def stream() -> None:
        entry.streamed(tokens)

    def probes(count: int, once: Callable[[], None]) -> list[Probe]:
        return [Probe(once, interval=0.3) for _ in range(count)]

    users = Users(probes(whole, entry.whole), probes(streamed, stream))
    with ExitStack() as running:
        for probe in (*users.whole, *users.streamed):
            running.enter_context(probe)
        time.sleep(3)
        yield users
