"""The interface of a source, and what all sources with a SHA256SUMS file have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Protocol

from model_cache.manifest import SUMS, Manifest, ManifestError, from_sums

SUMS_LIMIT = 16 << 20


class SourceError(Exception):
    """The source does not deliver now; it is asked again later."""


class Source(Protocol):
    """One model revision at its origin. Every wait for the next byte ends by itself."""

    shared: bool  # all nodes read the same one, so they take turns
    name: str  # for people

    def manifest(self) -> Manifest:
        """Raises SourceError."""

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        """The file from `offset` on, in pieces. Raises SourceError."""


class SumsSource(ABC):
    """A folder of files with a SHA256SUMS beside them."""

    shared = True
    name = ""

    @abstractmethod
    def read(self, path: str, offset: int) -> Iterator[bytes]:
        """As in `Source`."""

    @abstractmethod
    def sizes(self, paths: list[str]) -> Mapping[str, int]:
        """Bytes of each file. Raises SourceError."""

    def manifest(self) -> Manifest:
        text = bytearray()
        for chunk in self.read(SUMS, 0):
            text += chunk
            if len(text) > SUMS_LIMIT:
                raise SourceError(f"{self.name}/{SUMS}: more than {SUMS_LIMIT >> 20} MiB; not a list of files")
        try:
            return from_sums(text.decode(), self.sizes)
        except (ManifestError, UnicodeDecodeError) as error:
            raise SourceError(f"{self.name}/{SUMS}: {error}") from error
