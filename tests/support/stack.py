"""A stack as tests drive it: the real engine through `tools/engine`, on a copy of the stack's config."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.lab import ROOT

PARALLEL = "8"  # as in the Makefile: the lab's nodes share this machine's cores


@dataclass(frozen=True, slots=True)
class Result:
    """One engine run."""

    code: int
    text: str
    seconds: float
    steps: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def changes(self) -> dict[str, str]:
        """Resource name -> operation, for everything that is not left alone. The stack itself is not counted."""
        kept = ("same", "read", "refresh")
        return {
            step["urn"].rsplit("::", 1)[1]: step["op"]
            for step in self.steps
            if step["op"] not in kept and "::pulumi:pulumi:Stack::" not in step["urn"]
        }

    def ok(self) -> Result:
        assert self.code == 0, f"engine exited {self.code} after {self.seconds:.0f} s:\n{self.text[-6000:]}"
        return self


@dataclass(slots=True)
class Stack:
    """The stack `name`; `config` may be edited, the checked-in file is never touched."""

    name: str
    folder: Path
    config: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = yaml.safe_load((ROOT / f"Pulumi.{self.name}.yaml").read_text())

    def reload(self, path: Path) -> None:
        """Take a config that `pulumi config set` edited."""
        self.config = yaml.safe_load(path.read_text())

    def setting(self, key: str) -> Any:
        return self.config["config"][f"qwen3-vl:{key}"]

    def with_nodes(self, nodes: list[dict[str, Any]]) -> Stack:
        return self.with_setting("nodes", nodes)

    def with_setting(self, key: str, value: Any) -> Stack:
        other = copy.deepcopy(self)
        other.config["config"][f"qwen3-vl:{key}"] = value
        return other

    def _command(self, verb: str, *args: str) -> list[str]:
        path = self.folder / f"Pulumi.{self.name}.yaml"
        path.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return [str(ROOT / "tools" / "engine"), verb, "--config-file", str(path), "--non-interactive", *args]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "STACK": self.name}

    def run(self, verb: str, *args: str, seconds: float = 1500) -> Result:
        started = time.monotonic()
        events = self.folder / f"events-{time.monotonic_ns()}.jsonl"
        command = self._command(verb, "--parallel", PARALLEL, "--event-log", str(events), *args)
        done = subprocess.run(
            command,
            env=self.environment() | {"PULUMI_EXPERIMENTAL": "true", "PULUMI_DEBUG_COMMANDS": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        steps, messages = read_events(events)
        return Result(done.returncode, done.stdout, time.monotonic() - started, steps, messages)

    def preview(self, *args: str) -> Result:
        return self.run("preview", *args, seconds=300)

    def up(self, *args: str) -> Result:
        return self.run("up", "--yes", "--skip-preview", *args)

    def up_killed_after(self, seconds: float) -> bool:
        """Start `up` and kill -9 the whole process group after `seconds`; True if it was still running then."""
        process = subprocess.Popen(
            self._command("up", "--yes", "--skip-preview", "--parallel", PARALLEL),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        return False

    def secret(self, key: str) -> str:
        """One of its config, in clear."""
        command = [str(ROOT / "tools" / "engine"), "config", "get", key]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    def outputs(self, *args: str) -> dict[str, Any]:
        done = subprocess.run(
            [str(ROOT / "tools" / "engine"), "stack", "output", "--json", *args],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def read_events(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Planned or taken steps, and the diagnostics' texts, from the engine's event log."""
    steps, messages = [], []
    for line in path.read_text().splitlines() if path.exists() else []:
        event = json.loads(line)
        if "resourcePreEvent" in event:
            steps.append(event["resourcePreEvent"]["metadata"])
        if "diagnosticEvent" in event and event["diagnosticEvent"]["severity"] != "debug":
            messages.append(event["diagnosticEvent"]["message"])
    return steps, messages
