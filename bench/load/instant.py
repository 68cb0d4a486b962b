"""The fastest engine there is: reads a chat to its end and answers at once, with the question's tag. No model, no image decoder.

    python -m bench.load.instant PORT

Against it the generator shows its own ceiling, and a gateway what it can pass on when no engine holds it up. The protocol
is spoken by hand (one read loop on a socket), because a web framework would cost more than what is measured with it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import cast

import uvloop

TAG = re.compile(rb"ask-[0-9a-f]{8}")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
STREAM = re.compile(rb'"stream": ?true')
FILLER = "x" * 900
STREAMED_EVENTS = 32


class Connection(asyncio.Protocol):
    """One connection; requests on it come one after another, as HTTP clients send them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its ancestors
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._end = 0  # bytes of head and body; 0 while unknown

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if not self._head:
            self._read_head()
        if self._complete(data):
            request = b"".join(self._parts)
            self._parts, self._size = [], 0
            head, self._head, self._end = self._head, b"", 0
            self._transport.write(answer(head, request))

    def _read_head(self) -> None:
        so_far = b"".join(self._parts)
        head, blank, _ = so_far.partition(b"\r\n\r\n")
        if blank:
            self._head = head
            length = LENGTH.search(head)
            self._end = len(head) + 4 + int(length[1]) if length else 0 if CHUNKED.search(head) else len(head) + 4

    def _complete(self, data: bytes) -> bool:
        if not self._head:
            return False
        if self._end:
            return self._size >= self._end
        tail = data if len(data) >= 5 else b"".join(self._parts[-6:])
        return tail.endswith(b"0\r\n\r\n")


def answer(head: bytes, request: bytes) -> bytes:
    body = request[len(head) + 4 :]
    found = TAG.search(body)
    content = f"{found[0].decode() if found else ''} {FILLER}"
    if not head.startswith(b"POST"):
        model = {"id": "Qwen/Qwen3-VL-4B-Instruct", "object": "model", "created": 0, "owned_by": "bench"}
        return whole(json.dumps({"object": "list", "data": [model]}).encode(), b"application/json")
    known: dict[str, object] = {"id": "chatcmpl-0", "created": 0, "model": "Qwen/Qwen3-VL-4B-Instruct"}
    if STREAM.search(body[:1000]) or STREAM.search(body[-1000:]):
        said = [content[:20], *("word " for _ in range(STREAMED_EVENTS))]
        deltas: list[dict[str, object]] = [
            {"index": 0, "delta": {"content": word}, "finish_reason": None} for word in said
        ]
        deltas.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events = [json.dumps({**known, "object": "chat.completion.chunk", "choices": [delta]}) for delta in deltas]
        return whole("".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode(), b"text/event-stream")
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    reply = {**known, "object": "chat.completion", "choices": [choice], "usage": usage}
    return whole(json.dumps(reply).encode(), b"application/json")


def whole(body: bytes, kind: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
