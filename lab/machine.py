"""The machine the lab runs on: commands, required programs, progress lines."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

# program that shows the package is there -> Debian package
REQUIRED = {
    "lxc-start": "lxc",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "unshare": "util-linux",
}


class LabError(Exception):
    """Something the user can act on: printed as one line, without a traceback."""


class UsageError(LabError):
    """The command line does not make sense: exit code 2."""


class Progress:
    """Prints what happens, each line with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __call__(self, text: str) -> None:
        print(f"[{self.seconds:6.1f}s] {text}", flush=True)


def run(*command: str | Path, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one command and wait at most `timeout` seconds.

    Raises LabError with the command's last line when it fails (unless `check` is False) or takes too long.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: not installed; run `lab/lab up`, which installs what the lab needs") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words)}: no answer within {timeout:.0f} s") from error
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {last_line(done.stderr or done.stdout)}")
    return done


def stream(command: Sequence[str | Path], prefix: str, progress: Progress, timeout: float) -> None:
    """Run a command and pass its lines on as progress while it works.

    Raises LabError with its last line when it fails; `timeout` (seconds) covers the whole run.
    """
    words = [str(word) for word in command]
    deadline = time.monotonic() + timeout
    line = ""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    ) as process:
        for raw in process.stdout or ():
            line = raw.rstrip() or line
            progress(f"{prefix}: {line}")
            if time.monotonic() > deadline:
                process.kill()
                raise LabError(f"{' '.join(words)}: not done within {timeout:.0f} s")
    if process.returncode != 0:
        raise LabError(f"{' '.join(words)}: {line or f'exit code {process.returncode}'}")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("lab: not run as root; containers, bridges and mounts need it. Run it with sudo")


def install_required(progress: Progress) -> None:
    """Install the Debian packages the lab runs on, where their programs are missing."""
    missing = sorted({package for program, package in REQUIRED.items() if shutil.which(program) is None})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise LabError(f"lab: {', '.join(missing)} missing and no apt-get here. Install them by hand")
    progress(f"installing {' '.join(missing)} with apt-get")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", "update", timeout=600)
    run("apt-get", "install", "--yes", "--no-install-recommends", *missing, timeout=1200)


def warn(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)
