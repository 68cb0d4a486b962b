"""The web UI and the stand-in are programs of their own images; their tests import them from where they lie."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in ("images/webui", "lab/engine"):
    sys.path.insert(0, str(ROOT / folder))
