"""Logs as JSON lines on standard output. No chat content: no log call of this program is given any, and of what libraries
print to standard error (Gradio prints tracebacks, whose messages may quote what a user sent) only the places are kept."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time

from chat_webui import traces

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """One object per line: time (UTC), level, logger, message, and what the call gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **traces.ids(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PrintedErrors(io.TextIOBase):
    """Takes the place of standard error: a printed traceback becomes one log line with the kind of the error and the places
    it came through, but not its message nor any other text."""

    _frame = re.compile(r'  File "(?P<file>[^"]*)", line (?P<line>\d+)')
    _kind = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(:|$)")

    def __init__(self) -> None:
        self._rest = ""
        self._places: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        self._rest = self._rest[-4096:]
        return len(text)

    def _take(self, line: str) -> None:
        if frame := self._frame.match(line):
            self._places.append(f"{frame['file'].rpartition('site-packages/')[2]}:{frame['line']}")
        elif line.startswith("Traceback "):
            self._places = []
        elif self._places and (kind := self._kind.match(line)):
            logging.getLogger("stderr").error("printed error", extra={"why": kind["kind"], "places": self._places[-5:]})
            self._places = []


def log_json_lines() -> None:
    """Sends every logger, those of uvicorn included, through `JsonLines`, and standard error through `PrintedErrors`."""
    sys.stderr = PrintedErrors()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in ("uvicorn.access", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
