"""The farm's hosts, for pyinfra; host keys verified strictly (pyinfra's default is accept-new)."""

import json
import os
from pathlib import Path

FARM = json.loads(Path(os.environ["BENCH_FARM"]).read_text())

hosts = [
    (
        host["name"],
        {
            "ssh_hostname": host["address"],
            "ssh_port": FARM["port"],
            "ssh_user": "root",
            "ssh_key": FARM["privateKey"],
            "ssh_known_hosts_file": FARM["knownHosts"],
            "ssh_strict_host_key_checking": "yes",
            "plain": host["plain"],
            "private": host["private"],
            "extra": host["extra"],
            "bench": {key: value for key, value in FARM.items() if key != "hosts"},
        },
    )
    for host in FARM["hosts"]
]
