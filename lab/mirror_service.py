"""The lab's package and image mirror, as `up`, `status` and `down` see it."""

import os
import signal
from pathlib import Path

from lab.machine import HERE, LabError, Progress, last_line, run, stream
from lab.store import Store, write_whole

PROGRAM = HERE / "mirror" / "mirror"
SIGNING_KEY = "apt/qwenvl-lab.gpg"
ARMOURED_KEY = "apt/qwenvl-lab.asc"
FIRST_BUILD_SECONDS = 7200.0


def serving(store: Store) -> bool:
    return run(PROGRAM, "status", "--pid-dir", store.mirror_pids, check=False).returncode == 0


def folder() -> Path:
    """Where the mirror described by the checked-in files lies, or will lie once built."""
    return Path(run(PROGRAM, "path").stdout.strip())


def ensure(store: Store, progress: Progress) -> bytes:
    """Fill the mirror's cache and serve it on the lab's gateway; returns the public key its packages are signed with.

    The key is also put where the stack config finds it: the mirror's own folder changes its name with its content.
    A mirror that serves what the checked-in files described when it started, but no longer do, is replaced.
    Raises LabError with the mirror's own reason.
    """
    current = folder()
    status = run(PROGRAM, "status", "--pid-dir", store.mirror_pids, check=False)
    if status.returncode != 0 or str(current) not in status.stdout.split():
        _start(store, progress)
        current = folder()
    try:
        write_whole(store.mirror_key, (current / ARMOURED_KEY).read_text())
        return (current / SIGNING_KEY).read_bytes()
    except OSError as error:
        raise LabError(f"mirror: {error.filename} cannot be read; no node would trust its packages") from error


def _start(store: Store, progress: Progress) -> None:
    progress("mirror: building what is missing")
    stream([PROGRAM, "build"], "mirror", progress, timeout=FIRST_BUILD_SECONDS)
    store.mirror_pids.mkdir(parents=True, exist_ok=True)
    address = str(store.topology.gateway.ip)
    if not serving(store):
        _end_strays(address)
    run(PROGRAM, "serve", "--address", address, "--pid-dir", store.mirror_pids, timeout=FIRST_BUILD_SECONDS)
    progress(f"mirror: serving on {address}")


def stop(store: Store) -> None:
    """End the lab's mirror, also one that a crash kept from being recorded."""
    if store.mirror_pids.exists():
        done = run(PROGRAM, "stop", "--pid-dir", store.mirror_pids, check=False)
        if done.returncode != 0:
            raise LabError(f"mirror: not stopped: {last_line(done.stderr or done.stdout)}")
    _end_strays(str(store.topology.gateway.ip))


def _end_strays(address: str) -> None:
    """End servers of that address which no record names; both have their served folder on the command line."""
    mark = f"/mirror-served/{address}/".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "cmdline").read_bytes():
                os.kill(int(path.name), signal.SIGKILL)
        except OSError:  # it ended meanwhile
            continue
