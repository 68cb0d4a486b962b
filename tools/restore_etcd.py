"""Take the cluster's state back to a backup of etcd, on all its control planes at once.

    python -m tools.restore_etcd --list
    python -m tools.restore_etcd SNAPSHOT [--key FILE] [--yes]

SNAPSHOT is a file, the name of a backup on the nodes, or `latest`. It is opened here, with the key in FILE or the stack's secret
output `backupKey`; the key goes to no node. Reads the stack's plain settings (STACK, default lab). A run that broke off is begun
again with the same command. What happens on a node: components/cluster/scripts/restore_etcd.sh.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import os
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.settings import Node, Settings
from components.settings.problem import SettingsError
from components.settings.stack_file import StackFileError, stack_settings
from host.errors import HostError, Unreachable
from host.remote import Command
from tools.machines import ROOT, Machines, asked, login_key

SCRIPT = ROOT / "components" / "cluster" / "scripts" / "restore_etcd.sh"
DEADLINE = 900  # seconds for one verb on one node
CA = "pki/ca.crt"


class RestoreProblem(Exception):
    """What stands in the way, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup as it comes out of its encryption: a compressed tar."""

    content: bytes
    authority: str  # SHA-256 of the cluster's CA certificate
    about: str  # what etcdutl said of the snapshot

    @staticmethod
    def opened(sealed: bytes, key: str) -> Backup:
        """Raises RestoreProblem, which shows nothing of key or content."""
        # OpenSSL reads the key from standard input: it is in no argument and in no file of ours.
        source = os.memfd_create("sealed")
        try:
            with open(source, "wb", closefd=False) as file:
                file.write(sealed)
            command = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-inkey", "/dev/stdin"]
            command += ["-in", f"/proc/self/fd/{source}"]
            done = subprocess.run(command, input=key.encode(), capture_output=True, pass_fds=(source,))
        finally:
            os.close(source)
        if done.returncode:
            raise RestoreProblem(
                "the backup does not open; it was encrypted for another key, or it is damaged. Give its own key with KEY=FILE"
            )
        try:
            with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:gz") as archive:
                texts = [_read(archive, name) for name in (CA, "about.json")]
        except (tarfile.TarError, KeyError, EOFError, OSError):
            raise RestoreProblem("the backup opens, but holds no etcd; another file was given. Name a backup") from None
        return Backup(done.stdout, hashlib.sha256(texts[0]).hexdigest(), texts[1].decode().strip())


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"./{name}")
    if file is None:
        raise KeyError(name)
    return file.read()


@dataclass(frozen=True, slots=True)
class Look:
    """What a node says of itself."""

    state: str  # member, bare
    authority: str
    backups: tuple[str, ...]

    @staticmethod
    def of(text: str) -> Look:
        pairs = [line.split(" ", 1) for line in text.splitlines()]
        one = dict(pairs)
        return Look(one["state"], one["ca"], tuple(value for key, value in pairs if key == "backup"))


class Nodes:
    """The stack's machines, and the script on each."""

    def __init__(self, settings: Settings, private_key: str | None) -> None:
        self.port = settings.kubernetes.api_port
        self.machines = Machines(settings, private_key)

    async def run(self, node: Node, verb: str, data: bytes = b"", **environment: str) -> bytes:
        """One verb on one node, under the lock that `up` takes too. Raises HostError with the node's own words."""
        told = {"NODE_NAME": node.name, "NODE_ADDRESS": str(node.address), "API_PORT": str(self.port), **environment}
        command = Command(SCRIPT.name, SCRIPT.read_text(), verb, told, data, DEADLINE, lock=node.name)
        result = await self.machines.connections.run(self.machines.ways[node.name], command)
        if result.status:
            raise HostError(f"{node.name}: {verb}: {result.reason()}")
        return result.output

    async def all(self, nodes: Sequence[Node], verb: str, data: bytes = b"", **environment: str) -> None:
        """On all at once; every node ends its verb, then the first failure is raised."""
        work = (self.run(node, verb, data, **environment) for node in nodes)
        for found in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found
        print(f"{verb}: {', '.join(node.name for node in nodes)}", flush=True)

    async def look(self, nodes: Sequence[Node]) -> dict[str, Look | Unreachable]:
        async def one(node: Node) -> Look | Unreachable:
            try:
                return Look.of((await self.run(node, "look")).decode())
            except Unreachable as away:
                return away

        return dict(zip((node.name for node in nodes), await asyncio.gather(*map(one, nodes)), strict=True))


def taking_part(settings: Settings, found: dict[str, Look | Unreachable]) -> tuple[list[Node], bool]:
    """The control planes that are restored, and whether the cluster is started anew from the first of them.

    Raises RestoreProblem if one does not answer: its old data must not come back beside the restored.
    """
    looks: dict[str, Look] = {}
    for node in settings.control_planes:
        look = found[node.name]
        if isinstance(look, Unreachable):
            raise RestoreProblem(f"{look} All control planes have to answer; or take it off the list `nodes`")
        looks[node.name] = look
    members = [node for node in settings.control_planes if looks[node.name].state == "member"]
    return (members, False) if members else ([settings.control_planes[0]], True)


async def restore(settings: Settings, nodes: Nodes, snapshot: str, key: str, *, confirmed: bool) -> None:
    holders = {node.name: node for node in (*settings.control_planes, *settings.backup_keepers)}
    found = await nodes.look(list(holders.values()))
    part, anew = taking_part(settings, found)
    name, sealed = await _sealed(nodes, holders, found, snapshot)
    backup = Backup.opened(sealed, key)
    for node in part:
        look = found[node.name]
        if not anew and isinstance(look, Look) and look.authority != backup.authority:
            raise RestoreProblem(
                f"{name}: of another cluster than {node.name} is of; their authorities differ. Choose another"
            )
    where = ", ".join(node.name for node in part)
    print(
        f"{name}: {backup.about}\nThe cluster goes back to it on {where}. What changed since then is lost.", flush=True
    )
    if not confirmed and input("Type `restore` to go on: ") != "restore":
        raise RestoreProblem("nothing was changed")
    await nodes.all(part, "stage", backup.content)
    if anew:
        print("Now run `make up`: the cluster starts from the backup.", flush=True)
        return
    await nodes.all(part, "stop")
    members = ",".join(f"{node.name}=https://{node.address}:2380" for node in part)
    await nodes.all(part, "restore", RESTORE_ID=secrets.token_hex(4), MEMBERS=members)
    await nodes.all(part, "start")
    await nodes.all(part, "clear")
    left = [node.name for node in settings.control_planes if node not in part]
    if left:
        print(f"Now run `make up`: {', '.join(left)} joins.", flush=True)


async def _sealed(
    nodes: Nodes, holders: dict[str, Node], found: dict[str, Look | Unreachable], snapshot: str
) -> tuple[str, bytes]:
    """Name and content of a backup: a file here, or one that lies on a node. Raises RestoreProblem if there is none."""
    if Path(snapshot).is_file():
        return Path(snapshot).name, Path(snapshot).read_bytes()
    places = backups(found)
    name = max(places, key=moment, default="") if snapshot == "latest" else snapshot
    if name not in places:
        raise RestoreProblem(f"{snapshot}: no such file, and no such backup on the nodes. See `make backups`")
    return name, await nodes.run(holders[places[name][0]], "fetch", NAME=name)


def backups(found: dict[str, Look | Unreachable]) -> dict[str, list[str]]:
    """Name of a backup -> the nodes that have it."""
    places: dict[str, list[str]] = {}
    for node, look in found.items():
        for name in look.backups if isinstance(look, Look) else ():
            places.setdefault(name, []).append(node)
    return places


def moment(name: str) -> str:
    """When a backup was made, as its name has it: `etcd-<node>-<time>.cms`."""
    return name.rsplit("-", 1)[-1]


def key_text(file: str | None) -> str:
    """The private key. Raises RestoreProblem without one."""
    if file:
        return Path(file).expanduser().read_text()
    if (key := asked("stack", "output", "backupKey", "--show-secrets")) is None:
        raise RestoreProblem(
            "no key: the stack has no output `backupKey` that can be read; backups are encrypted. Give KEY=FILE"
        )
    return key


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshot", nargs="?", help="a file, a name of --list, or `latest`")
    parser.add_argument("--key", help="file with the private key, PEM")
    parser.add_argument("--list", action="store_true", help="the backups on the nodes, oldest first")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    args = parser.parse_args()
    if not args.list and not args.snapshot:
        parser.error("a snapshot is wanted")
    try:
        stack = os.environ.get("STACK", "lab")
        settings = stack_settings(stack)
        nodes = Nodes(settings, login_key(stack))
        if args.list:
            holders = {node.name: node for node in (*settings.control_planes, *settings.backup_keepers)}
            found = asyncio.run(nodes.look(list(holders.values())))
            for name, places in sorted(backups(found).items(), key=lambda each: moment(each[0])):
                print(f"{name}  {' '.join(sorted(places))}")
            for away in (look for look in found.values() if isinstance(look, Unreachable)):
                print(away, file=sys.stderr)
            return 0
        key = key_text(args.key)
        asyncio.run(restore(settings, nodes, args.snapshot, key, confirmed=args.yes))
    except (RestoreProblem, HostError, StackFileError, SettingsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
