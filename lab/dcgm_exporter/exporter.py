"""Stand-in for NVIDIA's DCGM exporter in the lab: the metrics that dashboards, alerts and scaling use, for GPUs of a file.

The file holds a line for each GPU: its use in percent and its last Xid error (0: none). It is read at each scrape, so that a
test can load a GPU or make it sick. Without it there is one idle GPU.
"""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# In a folder of the node that the real exporter mounts too, so that the same DaemonSet serves for both.
GPUS_FILE = Path(os.environ.get("LAB_GPUS_FILE", "/var/lib/kubelet/pod-resources/qwenvl-lab-gpus"))
METRICS = (
    ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", lambda use, _: use),
    ("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", lambda _, xid: xid),
    ("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", lambda use, _: use * 240),
    ("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", lambda use, _: 24_000 - use * 240),
    ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", lambda use, _: 30 + use * 0.4),
    ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", lambda use, _: 20 + use * 4),
)


def gpus(text: str) -> list[tuple[float, int]]:
    """Use in percent and Xid of each GPU. Raises ValueError for a line that says something else."""
    found = []
    for line in text.splitlines():
        use, xid = [*line.split(), "0"][:2]
        found.append((float(use), int(xid)))
    return found


def exposition(found: list[tuple[float, int]], host: str) -> str:
    """Prometheus' text format, labels as the real exporter has them."""
    lines = []
    for name, meaning, value in METRICS:
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        for index, (use, xid) in enumerate(found):
            uuid = f"GPU-1ab00000-0000-4000-8000-{index:012d}"
            labels = f'gpu="{index}",UUID="{uuid}",device="nvidia{index}",modelName="stand-in",Hostname="{host}"'
            lines.append(f"{name}{{{labels}}} {value(use, xid):g}")
    return "\n".join([*lines, ""])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path not in ("/metrics", "/health"):
            self.send_error(404)
            return
        text = GPUS_FILE.read_text() if GPUS_FILE.exists() else "0 0\n"
        body = b"OK\n" if self.path == "/health" else exposition(gpus(text), os.environ.get("NODE_NAME", "")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no news."""


def main() -> None:
    host, _, port = os.environ.get("DCGM_EXPORTER_LISTEN", ":9400").rpartition(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
