"""How the whole stack is: nodes, versions, certificates, etcd, snapshots, GPUs, models, replicas, gateway, alerts.

    python -m tools.doctor [--json] [--ask] [--seconds N]

Reads the stack's plain settings (STACK, default lab) and asks over SSH; nothing is changed anywhere. What cannot be reached is
`unknown`, with the reason. Exit code 0: all is fine; 1: somebody has to look (a warning, or something is unknown); 2: users are
not served, or data or the cluster is at risk. 3: nothing could be asked, because the settings or the key are not usable.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from typing import NoReturn

from components.settings.problem import SettingsError
from components.settings.stack_file import StackFileError, stack_settings
from host.errors import HostError
from tools.ask import QUESTION
from tools.doctor.collect import Asker
from tools.doctor.report import report
from tools.doctor.row import as_mapping, as_table, exit_code
from tools.machines import Machines, login_key

UNUSABLE = 3


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Not argparse's 2, which means something here."""
        self.print_usage(sys.stderr)
        self.exit(UNUSABLE, f"{message}\n")


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument("--ask", action="store_true", help="also one real question, with an API key of the stack")
    parser.add_argument("--seconds", type=float, default=30, help="longest wait for any part (default: %(default)g)")
    args = parser.parse_args()
    stack, started = os.environ.get("STACK", "lab"), time.monotonic()
    try:
        settings = stack_settings(stack)
        asker = Asker(settings, Machines(settings, login_key(stack)), args.seconds)
    except (HostError, StackFileError, SettingsError, OSError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    rows = report(asyncio.run(asker.look(QUESTION if args.ask else None)))
    seconds = time.monotonic() - started
    print(json.dumps(as_mapping(stack, seconds, rows), indent=1) if args.json else as_table(stack, seconds, rows))
    return exit_code(rows)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A command that hangs on a node is in a thread, and the interpreter would wait for it; everything is said.
    os._exit(code)
