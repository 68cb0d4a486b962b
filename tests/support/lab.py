"""The lab as tests drive it: one method per verb of `lab/lab`, and what a test reads from a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab by name; every command has a deadline so that a hung node fails a test instead of stopping the run."""

    name: str = "lab"

    @property
    def state(self) -> Path:
        return Path(os.environ.get("QWENVL_LAB_ROOT", "/var/lib/qwenvl-lab")) / self.name

    def run(self, *verb: str, seconds: float = 900, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(ROOT / "lab" / "lab"), *verb],
            env={**os.environ, "LAB": self.name},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if check and done.returncode:
            raise AssertionError(f"lab {' '.join(verb)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def deliver_model(self) -> None:
        """The lab's small model, put where the stack looks for it as a user's own would be."""
        folder = self.run("model").stdout.strip()
        done = subprocess.run(
            [sys.executable, "-m", "tools.import_model", folder],
            cwd=ROOT,
            env={**os.environ, "STACK": self.name},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def shell(self, node: str, command: str, *, check: bool = True, seconds: float = 120) -> str:
        """Standard output of one shell line on a node."""
        return self.run("shell", node, "--", command, check=check, seconds=seconds).stdout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def audit(self, node: str) -> list[str]:
        """What the host provider changed on a node, one line each, as the node's own journal has it."""
        text = self.shell(node, "journalctl -t host-provider -o cat --no-pager 2>/dev/null || true")
        return [line for line in text.splitlines() if line]
