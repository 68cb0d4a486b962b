"""The tools that are compared: how each is set up, what one run of it is, and when that run was right.

Every tool gets the same hosts, the same wanted state and verified host keys, and is tuned by its own documents.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.farm import Farm
from bench.measure import Usage
from bench.openssh import CACHE
from bench.operations import describe

ROOT = Path(__file__).resolve().parent.parent
RIVALS = ROOT / "bench" / "rivals"
PROGRAM = ROOT / "bench" / "program"
REQUIREMENTS = ROOT / "bench" / "requirements.txt"

Phase = Literal["create", "apply", "preview"]
OPERATIONS = 4


@dataclass(frozen=True)
class Run:
    """One command with its folder and environment."""

    argv: list[str]
    cwd: Path
    env: Mapping[str, str]


def rivals_python() -> Path:
    """The rivals' virtual environment, made when its requirements are new; returns its bin folder."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"bench-venv-{digest}"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print("bench: installing the rivals into a virtual environment of their own", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
        subprocess.run(pip, check=True)
        (folder / ".complete").touch()
    return folder / "bin"


def plain_environment(*path: Path) -> dict[str, str]:
    """No setting of the caller's shell reaches a tool: PATH, HOME and the locale only."""
    folders = [*map(str, path), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {"PATH": ":".join(folders), "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class Contender(ABC):
    """`prepare` is not measured; `command` is."""

    name: str
    setting: str  # one line: how it is tuned
    phases: tuple[Phase, ...] = ("create", "apply", "preview")

    def __init__(self, farm: Farm, folder: Path, extra: int = 0) -> None:
        self.farm, self.folder, self.extra = farm, folder, extra
        folder.mkdir(parents=True, exist_ok=True)
        self.description = describe(farm, folder, extra)

    def prepare(self) -> None:  # noqa: B027 -- most have nothing to set up
        """Set up what the tool keeps between runs, before a `create`."""

    def close(self) -> None:  # noqa: B027 -- most have nothing outside the farm's folder
        """Remove what lies outside the farm's folder."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def command(self, phase: Phase) -> Run: ...

    @abstractmethod
    def unchanged_hosts(self, output: str) -> int:
        """How many hosts the tool says it left as they were."""

    def complaint(self, phase: Phase, usage: Usage) -> str:
        """Why a run does not count, or ""."""
        if not usage.ok:
            tail = " / ".join(line for line in usage.output.splitlines()[-6:] if line.strip())
            return f"exit {usage.exit_code}: {tail[-600:]}"
        if phase != "create" and (found := self.unchanged_hosts(usage.output)) != len(self.farm.hosts):
            return f"{found} of {len(self.farm.hosts)} hosts unchanged"
        return ""


class Ansible(Contender):
    name = "Ansible"
    forks = 20
    setting = (
        f"pipelining, {forks} forks, ControlPersist, facts off, interpreter given, host keys checked "
        "(as by default), no compression"
    )

    def __init__(self, farm: Farm, folder: Path, extra: int = 0) -> None:
        super().__init__(farm, folder, extra)
        # A socket's path may have 107 characters, so it cannot lie in the farm's folder.
        self._sockets = tempfile.TemporaryDirectory(prefix="bench-")
        self.control_path = self._sockets.name

    def close(self) -> None:
        self._sockets.cleanup()

    def version(self) -> str:
        run = [str(rivals_python() / "python"), "-c", "import ansible.release as r; print(r.__version__)"]
        return "ansible-core " + subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    def prepare(self) -> None:
        known = f"-o UserKnownHostsFile={self.farm.known_hosts} -o GlobalKnownHostsFile=/dev/null"
        (self.folder / "ansible.cfg").write_text(
            "[defaults]\n"
            f"inventory = {self.folder}/inventory.json\nforks = {self.forks}\ngathering = explicit\n"
            "host_key_checking = True\ninterpreter_python = /usr/bin/python3\nretry_files_enabled = False\n"
            f"private_key_file = {self.farm.private_key}\nremote_user = root\nlocal_tmp = {self.folder / 'tmp'}\n"
            "[ssh_connection]\n"
            f"pipelining = True\nssh_args = -F none -o ControlMaster=auto -o ControlPersist=60s {known}\n"
            f"control_path_dir = {self.control_path}\n"
        )
        farm = json.loads(self.description.read_text())
        hosts = {
            host["name"]: {"ansible_host": host["address"]} | {key: host[key] for key in ("plain", "private", "extra")}
            for host in farm.pop("hosts")
        }
        variables = {"ansible_port": farm["port"], "bench": farm}
        inventory = {"all": {"hosts": hosts, "vars": variables}}
        (self.folder / "inventory.json").write_text(json.dumps(inventory))

    def command(self, phase: Phase) -> Run:
        binaries = rivals_python()
        argv = [str(binaries / "ansible-playbook"), str(RIVALS / "ansible_playbook.yml")]
        environment = plain_environment(binaries) | {"ANSIBLE_CONFIG": str(self.folder / "ansible.cfg")}
        return Run(argv + ["--check"] * (phase == "preview"), self.folder, environment)

    def unchanged_hosts(self, output: str) -> int:
        return len(
            re.findall(
                rf"^\S+\s+: ok={OPERATIONS + (self.extra > 0)}\s+changed=0\s+unreachable=0\s+failed=0", output, re.M
            )
        )


class Pyinfra(Contender):
    name = "pyinfra"
    parallel = 50
    setting = f"{parallel} in parallel, no remote folder checks, host keys verified (default: accept-new)"

    def version(self) -> str:
        run = [str(rivals_python() / "python"), "-c", "import importlib.metadata as m; print(m.version('pyinfra'))"]
        return "pyinfra " + subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    def command(self, phase: Phase) -> Run:
        binaries = rivals_python()
        # -y: run at once, without a first pass that only counts changes; --dry: that pass alone.
        argv = [str(binaries / "pyinfra"), "--dry" if phase == "preview" else "-y", "--parallel", str(self.parallel)]
        argv += [str(RIVALS / "pyinfra_inventory.py"), str(RIVALS / "pyinfra_deploy.py")]
        environment = plain_environment(binaries) | {"BENCH_FARM": str(self.description)}
        return Run(argv, self.folder, environment)

    def unchanged_hosts(self, output: str) -> int:
        if total := re.search(r"Grand total\s+(\d+)\s+-\s+-\s+(\d+)\s*$", output, re.M):
            return int(total[2]) // (OPERATIONS + self.extra) if total[1] == total[2] else 0
        planned = re.findall(r"^ +(?:plain file|private file|package|unit|/etc/\S+)\s+-\s+-\s*$", output, re.M)
        return len(self.farm.hosts) if len(planned) == OPERATIONS + self.extra else 0


class Ours(Contender):
    name = "this project"
    parallel = 64
    setting = f"`pulumi` with the host provider, one resource a host, --parallel {parallel}, PULUMI_PARALLEL_DIFF"

    def __init__(self, farm: Farm, folder: Path, extra: int = 0) -> None:
        super().__init__(farm, folder, extra)
        # The engine rewrites its whole state at every created resource, so its cost grows with the square of them.
        self.program = folder / "program"
        self.program.mkdir(exist_ok=True)
        self.checkpoints = len(farm.hosts) < 300
        if not self.checkpoints:
            self.setting += ", PULUMI_SKIP_CHECKPOINTS"

    def version(self) -> str:
        run = self.engine("version")
        done = subprocess.run(run.argv, cwd=run.cwd, env=dict(run.env), check=True, capture_output=True, text=True)
        return "pulumi " + done.stdout.strip()

    def engine(self, *arguments: str) -> Run:
        environment = plain_environment(ROOT / ".venv/bin", ROOT / ".toolchain/bin") | {
            "BENCH_FARM": str(self.description),
            "PYTHONPATH": str(ROOT),
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            # Without it the engine asks one resource after another for its diff: the hosts would wait for each other.
            "PULUMI_PARALLEL_DIFF": "true",
        }
        if os.environ.get("PULUMI") == "system":
            environment["PATH"] += ":" + os.environ["PATH"]
        if not self.checkpoints:
            environment |= {"PULUMI_SKIP_CHECKPOINTS": "true", "PULUMI_EXPERIMENTAL": "true"}
        return Run(["pulumi", "--color", "never", "--non-interactive", *arguments], self.program, environment)

    def prepare(self) -> None:
        if not (ROOT / ".toolchain/bin/pulumi").exists() and os.environ.get("PULUMI") != "system":
            raise SystemExit("bench: the pinned engine is not built. Run `make bootstrap` first.")
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        (self.folder / "state").mkdir()
        # A copy, because the engine writes the stack's settings beside the program.
        shutil.copytree(PROGRAM, self.program, dirs_exist_ok=True)
        settings = self.program / "Pulumi.yaml"
        settings.write_text(settings.read_text().replace("../../host/plugin", str(ROOT / "host/plugin")))
        (self.program / "Pulumi.bench.yaml").unlink(missing_ok=True)
        run = self.engine("stack", "init", "bench")
        done = subprocess.run(run.argv, cwd=run.cwd, env=dict(run.env), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"bench: pulumi stack init failed: {done.stderr.strip()[-600:]}")

    def command(self, phase: Phase) -> Run:
        common = ["--stack", "bench", "--parallel", str(self.parallel)]
        if phase == "preview":
            return self.engine("preview", "--suppress-progress", "--expect-no-changes", *common)
        expected = ["--expect-no-changes"] if phase == "apply" else []
        return self.engine("up", "--yes", "--skip-preview", "--suppress-progress", *expected, *common)

    def unchanged_hosts(self, output: str) -> int:
        # The engine counts the stack and the provider too.
        counted = re.search(r"(\d+) unchanged", output)
        return int(counted[1]) - 2 if counted else 0


class Raw(Contender):
    """Not a rival but a floor: one verified connection and one fixed shell command a host, no engine, no state."""

    name = "raw paramiko"
    setting = "8 threads; one connection and one fixed check script a host (a floor, it manages nothing)"
    phases: tuple[Phase, ...] = ("apply",)

    def version(self) -> str:
        import paramiko

        return f"paramiko {paramiko.__version__}"

    def command(self, phase: Phase) -> Run:  # noqa: ARG002 -- it has only one
        environment = plain_environment(ROOT / ".venv/bin") | {"PYTHONPATH": str(ROOT)}
        return Run([sys.executable, "-m", "bench.raw", str(self.description)], self.folder, environment)

    def unchanged_hosts(self, output: str) -> int:
        return output.count(": unchanged\n")


CONTENDERS: dict[str, type[Contender]] = {"ansible": Ansible, "pyinfra": Pyinfra, "raw": Raw, "ours": Ours}
