"""Where a model revision can be read from, all behind one interface."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from model_cache.sources.base import Source, SourceError
from model_cache.sources.folder import FolderSource
from model_cache.sources.huggingface import HuggingFaceSource
from model_cache.sources.nfs import NfsSource
from model_cache.sources.s3 import Keys, S3Source

__all__ = ["Source", "SourceError", "open_source"]


def open_source(url: str, model: str, revision: str, credential: Path | None, deadline: float) -> Source:
    """The source behind `url`; `deadline` (seconds) bounds the wait for each next byte.

    nfs://server/export   s3+https://endpoint/bucket/prefix?region=eu-1   hub+https://huggingface.co   folder:///srv
    Raises ValueError for any other.
    """
    parts = urlsplit(url)
    below = f"{model.rsplit('/', 1)[-1]}/{revision}"
    if parts.scheme == "nfs":
        return NfsSource(url, below, deadline)
    if parts.scheme == "folder":
        return FolderSource(Path(parts.path) / below)
    kind, plus, scheme = parts.scheme.partition("+")
    if not plus or kind not in ("s3", "hub") or scheme not in ("http", "https"):
        raise ValueError(f"{url}: no source; one of nfs://, s3+https://, hub+https://, folder://")
    plain = f"{scheme}://{parts.netloc}"
    if kind == "hub":
        return HuggingFaceSource(plain + parts.path, model, revision, credential, deadline)
    region = parse_qs(parts.query).get("region", ["us-east-1"])[0]
    return S3Source(plain, f"{parts.path.strip('/')}/{below}", Keys(credential, region), deadline)
