"""The web UI is a program of its own image; what both sides have to agree on is tested with its modules."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images" / "webui"))
