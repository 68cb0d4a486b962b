"""Loading as far as a stand-in loads: every weight of the folder is there and whole, as an engine would find out."""

from __future__ import annotations

import json
import struct
from pathlib import Path


class NoModel(Exception):
    """The folder is not a model; the text says why."""


def load(model: str) -> int:
    """Bytes of the weights in the folder `model`; 0 for a name of the hub, which needs no folder here. Raises NoModel."""
    folder = Path(model)
    if not folder.is_absolute():
        return 0
    try:
        config = json.loads((folder / "config.json").read_text())
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        names = set(index["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoModel(f"{folder}: not a model: {type(error).__name__}: {error}") from error
    if not config.get("architectures") or not names:
        raise NoModel(f"{folder}: config.json or the index of the weights is empty")
    return sum(weights(folder / name) for name in names)


def weights(path: Path) -> int:
    """Bytes of one safetensors file, every one of them read. Raises NoModel unless it is as long as its header says."""
    try:
        with path.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            header = json.loads(content.read(length))
            read = 0
            while chunk := content.read(1 << 20):
                read += len(chunk)
    except (OSError, ValueError, struct.error) as error:
        raise NoModel(f"{path}: {type(error).__name__}: {error}") from error
    wanted = max((int(t["data_offsets"][1]) for name, t in header.items() if name != "__metadata__"), default=0)
    if read != wanted:
        raise NoModel(f"{path}: {read} bytes of weights, its header says {wanted}")
    return read
