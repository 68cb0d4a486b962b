"""Put a model's folder where the stack's workers take their copies from: onto the storage node, or onto every worker.

    python -m tools.import_model FOLDER

Reads the stack's plain settings (STACK, default lab). The folder's files, a SHA256SUMS over them included, appear under
`<modelStore.path>/<model>/<modelStore.revision>/` at once and verified. An import that broke off is continued by the next; one
that is there already is left alone, and a revision is never changed. It uses OpenSSH with the stack's own known_hosts and key.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from components.settings import Node, Settings
from components.settings.problem import SettingsError
from components.settings.stack_file import StackFileError, stack_settings
from host.remote import BOOT

ROOT = Path(__file__).resolve().parent.parent
RECEIVER = ROOT / "tools" / "receive_model.sh"
SUMS = "SHA256SUMS"
CHUNK = 4 << 20
NEEDED = "config.json"  # every engine wants it; a folder without it is the wrong one


class ImportProblem(Exception):
    """What stands in the way, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A folder's files and the text of its SHA256SUMS."""

    folder: Path
    sums: str
    sizes: dict[str, int]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sums.encode()).hexdigest()

    @staticmethod
    def read(folder: Path) -> Model:
        """Every file below the folder but hidden ones. Raises ImportProblem, also if a SHA256SUMS says something else."""
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not hidden(path.relative_to(folder)))
        names = [str(path.relative_to(folder)) for path in files if path.name != SUMS]
        if NEEDED not in names:
            raise ImportProblem(
                f"{folder}: no {NEEDED}; a model's folder has one. Name the folder with the model's files"
            )
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(lambda name: digest_of(folder / name), names))
        sums = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
        given = folder / SUMS
        if given.exists() and sorted(given.read_text().splitlines()) != sorted(sums.splitlines()):
            raise ImportProblem(
                f"{given}: does not agree with the files; one of the two is damaged. Fetch the model again"
            )
        return Model(folder, sums, {name: (folder / name).stat().st_size for name in names})


def hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def digest_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Target:
    """One machine that gets the revision."""

    node: Node
    ssh: list[str]
    root: bool
    store: str
    revision: str  # <model>/<revision>

    def run(self, verb: str, data: bytes | Path = b"", offset: int = 0, **environment: str) -> str:
        """A verb of the receiver; `data` is its standard input. Raises ImportProblem with the machine's own words."""
        words = [
            f"{name}={value}" for name, value in {"STORE": self.store, "REVISION": self.revision, **environment}.items()
        ]
        command = [*([] if self.root else ["sudo", "-n"]), "env", *words, "bash", "-c", BOOT, RECEIVER.name, verb]
        body = RECEIVER.read_bytes()
        with subprocess.Popen(
            [*self.ssh, shlex.join(command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None  # noqa: S101 - told to the type checker
            try:
                process.stdin.write(f"{len(body)}\n".encode() + body)
                if isinstance(data, Path):
                    with data.open("rb") as content:
                        content.seek(offset)
                        while chunk := content.read(CHUNK):
                            process.stdin.write(chunk)
                else:
                    process.stdin.write(data)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended early; its own words follow
            process.stdin = None
            out, errors = process.communicate()
        if process.returncode:
            said = errors.decode(errors="replace").strip().splitlines()
            raise ImportProblem(f"{self.node.name}: {said[-1] if said else f'exit {process.returncode}'}")
        return out.decode()

    def deliver(self, model: Model) -> str:
        """One line about what was done."""
        found = self.run("have").splitlines()
        if found and found[0].startswith("complete "):
            if found[0].split()[1] != model.digest:
                raise ImportProblem(
                    f"{self.node.name}: {self.store}/{self.revision} is there with other content; a revision never changes."
                    " Set modelStore.revision to a new name"
                )
            return f"{self.node.name}: unchanged: {self.store}/{self.revision} is there"
        here = {name: int(size) for size, _, name in (line.partition(" ") for line in found)}
        for name, size in model.sizes.items():
            self._put(model.folder / name, name, size, here.get(name))
        self.run("put", model.sums.encode(), NAME=SUMS, BYTES=str(len(model.sums.encode())))
        self.run("finish")
        return f"{self.node.name}: {self.store}/{self.revision}: {len(model.sizes)} files, {sum(model.sizes.values()) >> 20} MiB"

    def _put(self, path: Path, name: str, size: int, there: int | None) -> None:
        if there == size:
            return
        resume = there if there is not None and there < size else 0
        print(f"{self.node.name}: {name} ({size >> 20} MiB)", flush=True)
        self.run("put", path, resume, NAME=name, BYTES=str(size), APPEND="yes" if resume else "no")


def targets(settings: Settings) -> list[Target]:
    """The machines the workers' source is on. Raises ImportProblem for a source that is none of them."""
    store = settings.model_store
    nodes = settings.exporting if store.kind == "nfs" else settings.workers if store.kind == "folder" else ()
    if not nodes:
        what = f"server {store.server}" if store.kind == "nfs" else f"kind {store.kind}"
        raise ImportProblem(
            f"modelStore: {what}: the models there are not this program's to put. Put them there yourself"
        )
    revision = f"{settings.inference.model.rsplit('/', 1)[-1]}/{store.revision}"
    return [
        Target(node, ssh_command(settings, node), (node.user or settings.ssh.user) == "root", store.path, revision)
        for node in nodes
    ]


def ssh_command(settings: Settings, node: Node) -> list[str]:
    """OpenSSH as the settings have it: host keys always verified, no question ever asked."""
    ssh = settings.ssh
    words = [
        "ssh",
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ServerAliveInterval=15",
    ]
    words += ["-o", f"ConnectTimeout={max(1, round(ssh.connect_timeout_seconds))}", "-p", str(node.port or ssh.port)]
    if ssh.known_hosts:
        words += ["-o", f"UserKnownHostsFile={located(ssh.known_hosts)}"]
    if ssh.private_key_file:
        words += ["-i", str(located(ssh.private_key_file)), "-o", "IdentitiesOnly=yes"]
    if ssh.jump:
        words += ["-J", f"{ssh.jump.user or ssh.user}@{ssh.jump.address}:{ssh.jump.port}"]
    return [*words, f"{node.user or ssh.user}@{node.address}", "--"]


def located(path: str) -> Path:
    """As the settings mean it: absolute, ~ or relative to the project."""
    return ROOT / Path(path).expanduser()


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        settings = stack_settings(os.environ.get("STACK", "lab"))
        machines = targets(settings)
        model = Model.read(Path(sys.argv[1]).expanduser().resolve())
        for machine in machines:
            print(machine.deliver(model), flush=True)
    except (ImportProblem, StackFileError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"modelStore.revision: {settings.model_store.revision}\nmodelStore.manifestSha256: {model.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
