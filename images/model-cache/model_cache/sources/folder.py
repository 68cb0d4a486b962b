"""A folder of this node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from model_cache.sources.base import SourceError, SumsSource

CHUNK = 1 << 20


class FolderSource(SumsSource):
    shared = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = str(folder)

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        try:
            with (self._folder / path).open("rb", buffering=0) as content:
                content.seek(offset)
                while chunk := content.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise SourceError(f"{self._folder / path}: {error.strerror}") from error

    def sizes(self, paths: list[str]) -> Mapping[str, int]:
        try:
            return {path: (self._folder / path).stat().st_size for path in paths}
        except OSError as error:
            raise SourceError(f"{error.filename}: {error.strerror}") from error
