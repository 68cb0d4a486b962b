"""Settings of libraries that read them when they are imported: no calls to other hosts, files below /tmp only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def prepare_environment() -> None:
    """Call this before Gradio is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_SSR_MODE"] = "False"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "webui-uploads"))
