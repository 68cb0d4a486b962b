"""Where the model files come from and where the pods find them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import Folder, Host


class ModelStore(Model):
    """Where the model directory `/models` of the pods comes from."""

    kind: Literal["nfs", "hostPath"] = Field(
        default="nfs", description="`nfs`: an export; `hostPath`: a folder every worker already has."
    )
    server: Host | None = Field(default=None, description="NFS server; default: the storage node's address.")
    path: Folder = Field(default="/exports/models", description="Export, or folder on every worker for `hostPath`.")
