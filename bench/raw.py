"""The floor under every tool: python -m bench.raw FARM.json -- one connection and one command a host, nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko

THREADS = 8


def check(farm: dict[str, Any], host: dict[str, Any], key: paramiko.PKey, known: dict[str, paramiko.PKey]) -> str:
    name = f"[{host['address']}]:{farm['port']}"
    texts = {farm[f"{kind}Path"]: host[kind] for kind in ("plain", "private")} | host["extra"]
    digests = [f"{hashlib.sha256(text.encode()).hexdigest()}  {path}" for path, text in texts.items()]
    script = (
        f"printf '%s\\n' {shlex.join(digests)} | sha256sum --quiet -c - && "
        f"[ \"$(stat -c %a:%U:%G {farm['plainPath']} {farm['privatePath']} | tr '\\n' ' ')\" = "
        "'644:root:root 600:root:root ' ] && "
        f"dpkg-query -W -f '${{Status}}' {farm['package']} | grep -q 'ok installed' && "
        f"systemctl is-enabled -q {farm['unit']} && systemctl is-active -q {farm['unit']}"
    )
    with paramiko.SSHClient() as client:
        client.get_host_keys().add(name, known[name].get_name(), known[name])
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            host["address"], farm["port"], "root", pkey=key, allow_agent=False, look_for_keys=False, timeout=60,
            banner_timeout=60, auth_timeout=60,
        )  # fmt: skip
        _, output, errors = client.exec_command(script)
        code = output.channel.recv_exit_status()
        return "unchanged" if code == 0 else f"exit {code} {(output.read() + errors.read()).decode()[-200:]}"


def main() -> None:
    farm = json.loads(Path(sys.argv[1]).read_text())
    # Read once and by hand: loading the file in each client costs the square of its lines.
    lines = [line.split() for line in Path(farm["knownHosts"]).read_text().splitlines()]
    known = {name: paramiko.PKey.from_type_string(kind, base64.b64decode(blob)) for name, kind, blob in lines}
    key = paramiko.Ed25519Key.from_private_key_file(farm["privateKey"])
    with ThreadPoolExecutor(THREADS) as pool:
        for host, result in zip(
            farm["hosts"], pool.map(lambda host: check(farm, host, key, known), farm["hosts"]), strict=True
        ):
            print(f"{host['name']}: {result}")


if __name__ == "__main__":
    main()
