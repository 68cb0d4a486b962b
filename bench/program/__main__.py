"""The four operations as one `host.Configuration` per simulated host."""

import json
import os
from pathlib import Path

import pulumi

from host.resources import Configuration, ConfigurationArgs, Connection, File, HostProvider, Unit

farm = json.loads(Path(os.environ["BENCH_FARM"]).read_text())
provider = HostProvider("host", private_key_file=farm["privateKey"], known_hosts=farm["knownHosts"])
for node in farm["hosts"]:
    Configuration(
        f"{node['name']}-bench",
        ConfigurationArgs(
            connection=Connection(node=node["name"], address=node["address"], port=farm["port"]),
            files={
                farm["plainPath"]: File(content=node["plain"]),
                farm["privatePath"]: File(content=node["private"], mode="0600"),
                **{path: File(content=content) for path, content in node["extra"].items()},
            },
            packages={farm["package"]: ""},
            units={farm["unit"]: Unit()},
        ),
        pulumi.ResourceOptions(provider=provider),
    )
