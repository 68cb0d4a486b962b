"""Programs of images of their own; what both sides have to agree on is tested with their modules."""

from __future__ import annotations

import sys
from pathlib import Path

for image in ("webui", "model-cache"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images" / image))
