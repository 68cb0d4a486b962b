"""The cache agent is a program of its own image; what is said to it here is read by it itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images/model-cache"))
