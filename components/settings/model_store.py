"""Where the model files come from, which revision of them, and where every worker keeps its copy."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import Bucket, Folder, Host, HttpUrl, Revision, Sha256


class ModelStore(Model):
    """One source of the model's files, and the verified copy that every worker keeps of exactly one revision."""

    kind: Literal["nfs", "s3", "huggingface", "folder"] = Field(
        default="nfs",
        description="Source of the files. `nfs`: an export; `s3`: a bucket of an S3-compatible store; `huggingface`: the hub"
        " or a mirror of it; `folder`: a folder that every worker has.",
    )
    revision: Revision = Field(
        default="r1",
        description="Revision to serve, never used again for other content. `huggingface`: a commit; else the name of the"
        " folder below the model's, as `tools/import-model` makes it: `<path>/<model>/<revision>/SHA256SUMS`.",
    )
    manifest_sha256: Sha256 | None = Field(
        default=None,
        description="SHA-256 the revision's `SHA256SUMS` must have, so that the source need not be trusted.",
    )
    server: Host | None = Field(default=None, description="`nfs`: the server; default: the storage node's address.")
    path: Folder = Field(
        default="/exports/models", description="`nfs`: the export; `folder`: the folder on every worker."
    )
    nfs_server: Literal["kernel", "ganesha"] = Field(
        default="kernel", description="NFS server of the storage node: the kernel's, or NFS-Ganesha in user space."
    )
    writer: Host | None = Field(
        default=None,
        description="The one machine that may write to the export, by address or node name; it writes as user"
        " 20490. None: models come by `tools/import-model` only.",
    )
    clients: tuple[IPv4Network, ...] = Field(
        default=(), description="Networks that may read the export; default: the addresses of the workers."
    )
    endpoint: HttpUrl | None = Field(
        default=None,
        description="`s3`: address of the store; `huggingface`: the hub, by default https://huggingface.co.",
    )
    bucket: Bucket | None = Field(default=None, description="`s3`: bucket, or bucket and folders: `models/qwen`.")
    region: str = Field(default="us-east-1", description="`s3`: region the requests are signed for.")
    cache_path: Folder = Field(
        default="/var/lib/qwen3-vl/models",
        description="Folder on every worker that holds its copy; best on a disk of its own.",
    )
    reserve_percent: float = Field(
        default=15.0,
        ge=0,
        le=90,
        description="Share of the copy's disk that stays free; the default is where a kubelet begins to evict pods.",
    )
