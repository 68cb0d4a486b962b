"""Kernel settings all nodes share with this machine: raised while a lab is up, put back by the last `down`.

Real servers have a kernel each. Here one kernel serves all nodes, so limits counted per user are used up several
times over, and what a node sets outside its network (kubelet does) is set for this machine.
"""

import json
from pathlib import Path

from lab.store import write_whole

SYSCTL = Path("/proc/sys")
BOOT_ID = SYSCTL / "kernel/random/boot_id"
RECORD = "kernel-settings.json"

# Every systemd, kubelet and containerd watches files as the same user.
RAISED = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 1048576}

# What kubelet, systemd's defaults and usual server settings write.
WRITTEN_BY_NODES = (
    "fs/protected_fifos", "fs/protected_hardlinks", "fs/protected_regular", "fs/protected_symlinks",
    "kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops",
    "vm/max_map_count", "vm/overcommit_memory", "vm/panic_on_oom", "vm/swappiness",
)  # fmt: skip


def prepare(root: Path) -> bool:
    """Note this machine's settings, once per boot, and raise the shared limits; True when one was raised."""
    record = root / RECORD
    boot = BOOT_ID.read_text().strip()
    if _recorded(record).get("boot_id") != boot:
        values = {name: value for name in (*RAISED, *WRITTEN_BY_NODES) if (value := _read(name)) is not None}
        write_whole(record, json.dumps({"boot_id": boot, **values}, indent=2) + "\n")
    raised = False
    for name, wanted in RAISED.items():
        value = _read(name)
        if value is not None and int(value) < wanted:
            (SYSCTL / name).write_text(str(wanted))
            raised = True
    return raised


def restore(root: Path) -> list[str]:
    """Put back what differs from the record, unless the machine was restarted since; returns the names."""
    record = root / RECORD
    values = _recorded(record)
    changed = []
    if values.pop("boot_id", None) == BOOT_ID.read_text().strip():
        for name, value in values.items():
            if _read(name) != value:
                (SYSCTL / name).write_text(value)
                changed.append(name.replace("/", "."))
    record.unlink(missing_ok=True)
    return changed


def _read(name: str) -> str | None:
    try:
        return (SYSCTL / name).read_text().strip()
    except OSError:
        return None


def _recorded(record: Path) -> dict[str, str]:
    try:
        data: dict[str, str] = json.loads(record.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return data
