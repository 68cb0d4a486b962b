"""Whether an ACME server's certificate has come, as the issuer notes it on the Secret (tools/acme-issuer/state.go)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from host import asking
from host.connections import Connections
from host.errors import Unreachable
from host.messages import Reporter
from host.remote import Command
from host.resources import Connection

FAILURES_TOLD = 2
"""A first failure may be the gateway's address, which the network learns in seconds; the second is said."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One look. `request` is what the certificate was made for, `failures` how many orders in a row had none."""

    state: str = ""  # waiting, issued, failed; empty: the issuer has not said anything
    request: str = ""
    failures: int = 0
    message: str = ""

    def is_for(self, request: str) -> bool:
        return self.state == "issued" and self.request == request

    def __str__(self) -> str:
        return self.message or self.state or "the issuer has not begun"


def parse(text: str) -> Noted:
    """What read_certificate.sh printed."""
    found = dict(line.partition("\t")[::2] for line in text.splitlines())
    failures = found.get("failures", "")
    return Noted(
        state=found.get("state", ""),
        request=found.get("request", ""),
        failures=int(failures) if failures.isdecimal() else 0,
        message=found.get("message", ""),
    )


async def look(
    connections: Connections, peers: Sequence[Connection], place: tuple[str, str], *, retry: bool = False
) -> Noted:
    """From the first peer that answers; with `retry` an issuer that pauses after a failure tries at once. Raises Unreachable."""
    namespace, secret = place
    environment = {"namespace": namespace, "secret": secret, "retry": "yes" if retry else "no"}
    command = Command.own("read_certificate.sh", deadline=60, environment=environment)
    wanted = f"{namespace}/{secret}: no control plane could tell whether the certificate has come"
    return parse(await asking.first_answer(connections, peers, command, wanted))


async def wait_for(
    connections: Connections,
    peers: Sequence[Connection],
    place: tuple[str, str],
    request: str,
    deadline: float,
    report: Reporter,
) -> Noted:
    """Look until the certificate for `request` is there, orders failed twice, or `deadline` seconds have passed; the last look.

    Control planes that cannot be asked for a moment are asked again within a minute. Raises Unreachable after it.
    """
    begun = heard = time.monotonic()
    before: int | None = None
    while True:
        try:
            seen = await look(connections, peers, place, retry=before is None)
        except Unreachable:
            if time.monotonic() - heard > min(asking.AWAY_SECONDS, deadline):
                raise
        else:
            heard = time.monotonic()
            before = seen.failures if before is None else min(before, seen.failures)
            gave_up = seen.state == "failed" and seen.failures >= before + FAILURES_TOLD
            if seen.is_for(request) or gave_up or heard - begun > deadline:
                return seen
            report.status(f"waiting for the certificate ({heard - begun:.0f} s): {seen}")
        await asyncio.sleep(asking.LOOK_SECONDS)
