"""A Pulumi program under the real engine, with a state of its own in a scratch folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=1)
def program_path() -> str:
    """PATH with the pinned engine, the language host and this Python first."""
    names = ["pulumi", "pulumi-language-python"]
    built = subprocess.run([ROOT / "tools/build", *names], check=True, capture_output=True, text=True).stdout
    folders = [line.split("\t")[1] for line in built.splitlines()]
    return os.pathsep.join([str(Path(sys.executable).parent), *folders, os.environ["PATH"]])


@dataclass
class Done:
    """How a call of the engine ended."""

    status: int
    output: str

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.output}"


@dataclass
class Program:
    """One project and stack. The program's text sees `config`, a mapping the test gives."""

    folder: Path
    text: str
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        project = {
            "name": "engine-test",
            "runtime": "python",
            "backend": {"url": f"file://{self.folder}/state"},
            "plugins": {"providers": [{"name": "host", "path": str(ROOT / "host/plugin"), "version": "0.1.0"}]},
        }
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project))
        self.write(self.text)
        self.run("stack", "init", "test", check=True)

    def write(self, text: str) -> None:
        """Change the program."""
        self.text = text
        head = (
            "import json, pathlib\nconfig = json.loads(pathlib.Path(__file__).with_name('config.json').read_text())\n"
        )
        (self.folder / "__main__.py").write_text(head + text)

    def save(self) -> None:
        """Hand the present `config` to the program."""
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def all_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": program_path(),
            "PYTHONPATH": str(ROOT),
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            **self.environment,
        }

    def run(self, *arguments: str, check: bool = False, timeout: float = 300, stdin: str = "") -> Done:
        """Call the engine. What it prints on both outputs is returned together."""
        self.save()
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.folder,
            env=self.all_environment(),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        result = Done(done.returncode, done.stdout)
        assert not check or done.returncode == 0, str(result)
        return result

    def up(self, *arguments: str, check: bool = True) -> Done:
        return self.run("up", "--yes", "--skip-preview", "--stack", "test", *arguments, check=check)

    def preview(self, *arguments: str, check: bool = True) -> Done:
        return self.run("preview", "--diff", "--stack", "test", *arguments, check=check)

    def destroy(self, *arguments: str, check: bool = True) -> Done:
        return self.run("destroy", "--yes", "--skip-preview", "--stack", "test", *arguments, check=check)

    def state(self) -> str:
        """The state file's text, secrets encrypted as they lie on disk."""
        return "\n".join(path.read_text() for path in (self.folder / "state").rglob("*.json"))

    def outputs(self) -> dict[str, Any]:
        done = self.run("stack", "output", "--json", "--show-secrets", "--stack", "test", check=True)
        outputs: dict[str, Any] = json.loads(done.output[done.output.index("{") :])
        return outputs
