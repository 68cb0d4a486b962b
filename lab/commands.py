"""The command line of the lab."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable

from lab import checkpoint, lifecycle, status, topology
from lab.machine import LabError, Progress, UsageError, require_root, warn
from lab.node import Machine
from lab.store import Store


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="lab", description="Bare Linux nodes on this machine. LAB names the topology (default: lab)."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("up", help="make every node run; repairs what is broken, changes nothing when all is well")
    down = verbs.add_parser("down", help="remove everything the lab made")
    down.add_argument("--purge", action="store_true", help="also the base root filesystems no other lab uses")
    verbs.add_parser("reset", help="give every node an empty disk again")
    show = verbs.add_parser("status", help="nodes, their power, network and systemd state")
    show.add_argument("--json", action="store_true")
    verbs.add_parser("model", help="folder of a small model of the real one's shape, made the first time")
    shell = verbs.add_parser("shell", help="ssh to a node", usage="lab shell NODE [-- COMMAND...]")
    shell.add_argument("node")
    shell.add_argument("command", nargs="*")
    for verb, text in (
        ("kill", "power cut"),
        ("start", "switch on again"),
        ("cut", "pull the network cable"),
        ("heal", "plug the network cable in again"),
        ("remove", "take the machine out of the lab"),
    ):
        verbs.add_parser(verb, help=text).add_argument("node")
    add = verbs.add_parser("add", help="rack one more machine")
    add.add_argument("node")
    add.add_argument("role", choices=topology.ROLES)
    add.add_argument("--address", help="default: the next one of the role's range that no node ever had")
    add.add_argument("--gpus", type=int, default=0)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; exit code 0, 1 for what went wrong, 2 for a command line that makes no sense."""
    options = parser().parse_args(arguments)
    try:
        store = Store(topology.load(os.environ.get("LAB", "lab")))
        return dispatch(options, store)
    except LabError as error:
        warn(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        warn(f"{error.filename or 'this machine'}: {error.strerror or error}; see to it and run the same command again")
        return 1
    except KeyboardInterrupt:
        warn("interrupted; run the same command again")
        return 130


def dispatch(options: argparse.Namespace, store: Store) -> int:
    verb = options.verb
    if verb == "shell":
        Machine(store, store.require_member(options.node)).ssh(shell_words(options.command))
    require_root()
    if verb == "status":
        found = status.collect(store)
        print(json.dumps(found, indent=2) if options.json else status.table(found))
        return 0
    if verb == "model":
        print(checkpoint.ensure(store.root))
        return 0
    progress = Progress()
    single: dict[str, Callable[[Store, Progress, str], None]] = {
        "kill": lifecycle.kill,
        "start": lifecycle.start,
        "cut": lifecycle.cut,
        "heal": lifecycle.heal,
        "remove": lifecycle.remove,
    }
    with store.lock():
        if verb == "up":
            lifecycle.up(store, progress)
        elif verb == "down":
            lifecycle.down(store, progress, purge=options.purge)
        elif verb == "reset":
            lifecycle.reset(store, progress)
        elif verb == "add":
            lifecycle.add(store, progress, options.node, options.role, options.address, options.gpus)
        else:
            single[verb](store, progress, options.node)
    return 0


def shell_words(command: list[str]) -> list[str]:
    """One word is a line for the node's shell; several are one command, whose words stay apart."""
    return command if len(command) < 2 else [shlex.join(command)]


if __name__ == "__main__":
    sys.exit(main())
