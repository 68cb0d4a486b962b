"""The four idempotent operations that every tool is given, in the words of each tool's own modules.

1. a file with exactly this content, 0644 root:root
2. a second file, 0600 root:root
3. a package is present
4. a unit is enabled and running

With `--files N`, N more files as in 1: a real node has dozens of things to look at, and tools differ in what one more costs.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.farm import PACKAGE, UNIT, VERSION, Farm, Host

PLAIN = "/etc/qwenvl-bench.conf"
PRIVATE = "/etc/qwenvl-bench.key.conf"
SETTINGS = "".join(f"setting_{number:02d} = value of setting number {number}\n" for number in range(30))


def plain_content(host: str) -> str:
    """About 1.3 KB and different on every host, as a templated file is."""
    return f"# managed; this is {host}\n{SETTINGS}"


def private_content(host: str) -> str:
    return f"token of {host}\n"


def extra_files(host: str, count: int) -> dict[str, str]:
    """Path and content of the files beyond the first two."""
    return {
        f"/etc/qwenvl-bench-{number:02d}.conf": f"file {number:02d} of {host}\n{SETTINGS}"
        for number in range(1, count + 1)
    }


def describe(farm: Farm, folder: Path, extra: int = 0) -> Path:
    """Write what pyinfra's inventory and the Pulumi program read: the hosts, how to reach them, the wanted state."""
    path = folder / "farm.json"
    path.write_text(
        json.dumps(
            {
                "port": farm.port,
                "privateKey": str(farm.private_key),
                "knownHosts": str(farm.known_hosts),
                "package": PACKAGE,
                "version": VERSION,
                "unit": UNIT,
                "plainPath": PLAIN,
                "privatePath": PRIVATE,
                "hosts": [
                    {
                        "name": host.name,
                        "address": host.address,
                        "plain": plain_content(host.name),
                        "private": private_content(host.name),
                        "extra": extra_files(host.name, extra),
                    }
                    for host in farm.hosts
                ],
            }
        )
    )
    return path


def findings(host: Host, extra: int = 0) -> list[str]:
    """What is not as wanted on this host, read from its folders and not from what a tool says."""
    found = []
    for path, content, mode in (
        (PLAIN, plain_content(host.name), 0o644),
        (PRIVATE, private_content(host.name), 0o600),
        *((path, content, 0o644) for path, content in extra_files(host.name, extra).items()),
    ):
        file = host.root / path.lstrip("/")
        if not file.is_file():
            found.append(f"{host.name}: {path} is missing")
        elif file.read_text() != content:
            found.append(f"{host.name}: {path} has other content")
        elif file.stat().st_mode & 0o7777 != mode:
            found.append(f"{host.name}: {path} has mode {file.stat().st_mode & 0o7777:04o}, not {mode:04o}")
    found += [
        f"{host.name}: unit is not {state}"
        for state in ("enabled", "active")
        if not (host.root / "var/lib/farm-units" / f"{UNIT}.{state}").exists()
    ]
    return found
