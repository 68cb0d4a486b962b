"""The Hugging Face hub, or a mirror of it: a repository at one commit.

The hub's list of files has a SHA-256 for large ones and git's blob name for the others, so every file can be verified
without a SHA256SUMS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from model_cache.manifest import Entry, Manifest, ManifestError, checked, unique
from model_cache.sources.base import SourceError
from model_cache.sources.http import pieces, request

_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
PAGES = 100


class HuggingFaceSource:
    shared = True

    def __init__(self, endpoint: str, model: str, revision: str, token_file: Path | None, deadline: float) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._model, self._revision = model, revision
        self._token_file = token_file
        self._deadline = deadline
        self.name = f"{self._endpoint}/{model} at {revision}"

    def manifest(self) -> Manifest:
        url: str | None = (
            f"{self._endpoint}/api/models/{quote(self._model)}/tree/{quote(self._revision, safe='')}?recursive=true"
        )
        files: list[dict[str, object]] = []
        for _ in range(PAGES):
            if url is None:
                break
            with request(url, self._deadline, secret=self._secret()) as response:
                try:
                    files += [item for item in json.load(response) if item.get("type") == "file"]
                except (OSError, ValueError, AttributeError) as error:
                    raise SourceError(f"{self.name}: not a list of files: {error}") from error
                following = _NEXT.search(response.headers.get("Link") or "")
            # Only pages of the same hub: a token must not follow a link elsewhere.
            url = following[1] if following and following[1].startswith(f"{self._endpoint}/") else None
        try:
            entries = tuple(checked(entry(item)) for item in sorted(files, key=lambda item: str(item.get("path"))))
            unique(each.path for each in entries)
        except ManifestError as error:
            raise SourceError(f"{self.name}: {error}") from error
        text = "".join(f"{each.digest}  {each.path}\n" for each in entries)
        return Manifest(text, entries)

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        url = f"{self._endpoint}/{quote(self._model)}/resolve/{quote(self._revision, safe='')}/{quote(path)}"
        return pieces(url, offset, self._deadline, secret=self._secret())

    def _secret(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except OSError as error:
            raise SourceError(f"{self._token_file}: {error.strerror}") from error


def entry(item: dict[str, object]) -> Entry:
    """One file of the hub's list. Raises ManifestError."""
    large = item.get("lfs")
    path, size = str(item.get("path")), item.get("size")
    if isinstance(large, dict):
        return Entry(path, int(large.get("size", -1)), "sha256", str(large.get("oid")))
    return Entry(path, size if isinstance(size, int) else -1, "git-sha1", str(item.get("oid")))
