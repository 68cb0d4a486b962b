"""An NFSv4 export, read in user space by a process of its own (nfs_reader.py).

No kernel client: a server that dies leaves nothing on the node that waits for it, and what hangs is a process that can be
ended. No mount either, so no privilege.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from model_cache.sources.base import SourceError, SumsSource

READER = Path(__file__).with_name("nfs_reader.py")
CHUNK = 1 << 20


class NfsSource(SumsSource):
    def __init__(self, url: str, below: str, deadline: float) -> None:
        query = "&".join(part for part in (urlsplit(url).query, "version=4") if part)
        self._url = f"{url.partition('?')[0].rstrip('/')}?{query}"
        self._below = below
        self._deadline = deadline
        self.name = f"{url.partition('?')[0].rstrip('/')}/{below}"

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        return self._run("read", json.dumps([f"/{self._below}/{path}", offset]))

    def sizes(self, paths: list[str]) -> Mapping[str, int]:
        asked = json.dumps([f"/{self._below}/{path}" for path in paths])
        found = json.loads(b"".join(self._run("sizes", asked)))
        return dict(zip(paths, found, strict=True))

    def _run(self, verb: str, argument: str) -> Iterator[bytes]:
        command = [sys.executable, "-I", "-S", str(READER), verb, self._url]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                yield from self._pieces(process, argument.encode())
            finally:
                process.kill()

    def _pieces(self, process: subprocess.Popen[bytes], argument: bytes) -> Iterator[bytes]:
        assert process.stdin is not None  # noqa: S101 - told to the type checker, as below
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(argument)
            process.stdin.close()
        out = process.stdout.fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, CHUNK)
        ready = select.poll()
        ready.register(out, select.POLLIN)
        while True:
            if not ready.poll(self._deadline * 1000):
                raise SourceError(f"{self.name}: no byte in {self._deadline:g} s")
            chunk = os.read(out, CHUNK)
            if not chunk:
                break
            yield chunk
        end = time.monotonic() + self._deadline
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if process.returncode != 0:
            process.kill()
            said = process.stderr.read(4096).decode(errors="replace").strip().splitlines()
            raise SourceError(f"{self.name}: {said[-1] if said else f'reader ended with {process.returncode}'}")
