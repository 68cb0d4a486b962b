"""Bodies of requests on their way through Traefik: how many of which size it keeps at the same time, and what it refuses.

Traefik keeps a body until the request is answered, so that another replica can be asked, and for each request makes and clears
a buffer of the whole limit, also for one whose body never comes (docs/adr/0009). So the limit follows what a request says
about its length, by the number of digits, and each size has a share of Traefik's memory: without that, 17 clients who are
nobody yet fill 512 MiB with bodies that are allowed. One address gets three quarters of a size, so that it cannot take all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from components.inference.model import MIB
from components.settings import Ingress
from components.settings.edge import BODY_SHARES, LARGEST_SHARE

BACKEND = "qwen3-vl-backend"
TOO_LARGE = "qwen3-vl-body-too-large"
CLIENT_RATE, CLIENT_IN_FLIGHT = "qwen3-vl-client-rate", "qwen3-vl-client-in-flight"
ONE_ADDRESS = Fraction(3, 4)
# An address of IPv6 is one of the 2^64 that a household or a machine has.
BY_ADDRESS = {"ipStrategy": {"ipv6Subnet": 64}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """`rule` matches what belongs here, empty for everything else; `at_once` is how many are let in, None for any number."""

    backend: str
    rule: str
    limit: int  # bytes
    at_once: int | None

    @property
    def gates(self) -> dict[str, dict[str, Any]]:
        """Middlewares in the order in which they are passed."""
        if self.at_once is None:
            return {}
        mine = max(1, int(self.at_once * ONE_ADDRESS))
        one = {"inFlightReq": {"amount": mine, "sourceCriterion": BY_ADDRESS}}
        # Counted by the name asked for, which is the same for all.
        return {
            f"{self.backend}-address": one,
            f"{self.backend}-all": {"inFlightReq": {"amount": self.at_once, "sourceCriterion": {"requestHost": True}}},
        }


def sizes(body_bytes: int, memory_mib: int, *, counters: int) -> tuple[Size, ...]:
    """What is let in has to fit `counters` times."""

    def fitting(share: Fraction, limit: int) -> int:
        return max(1, int(memory_mib * MIB * share) // limit // counters)

    short = tuple(
        Size(
            backend=f"{BACKEND}-{digits}-digits",
            rule=length_of(digits),
            limit=10**digits,
            at_once=None if share is None else fitting(share, 10**digits),
        )
        for digits, share in BODY_SHARES.items()
        if 10**digits < body_bytes
    )
    return (*short, Size(backend=BACKEND, rule="", limit=body_bytes, at_once=fitting(LARGEST_SHARE, body_bytes)))


def length_of(digits: int) -> str:
    """Matches a body of fewer than 10 to the power of `digits` bytes that is in no smaller size; in the smallest is also what has
    no body at all, such as the streams that an open page listens to."""
    fewest = 1 + max((fewer for fewer in BODY_SHARES if fewer < digits), default=0)
    length = f"HeaderRegexp(`Content-Length`, `^[0-9]{{{fewest},{digits}}}$`)"
    return f"(!Method(`POST`) || {length})" if digits == min(BODY_SHARES) else length


def longer_than(limit: int) -> str:
    """Matches a body that says it is longer: it is refused before a byte of it is read."""
    digits = str(limit)
    larger = [
        f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return f"HeaderRegexp(`Content-Length`, `^({'|'.join([f'[1-9][0-9]{{{len(digits)},}}', *larger])})$`)"


def too_large(limit: int) -> dict[str, Any]:
    """This middleware would hold back a streamed answer, so it stands before nothing that is answered."""
    return {"buffering": {"maxRequestBodyBytes": limit}}


def client_gates(ingress: Ingress) -> dict[str, dict[str, Any]]:
    """What `ingress.limits.client` asks for."""
    client = ingress.limits.client
    gates: dict[str, dict[str, Any]] = {}
    if client.requests_per_second is not None:
        burst = client.burst or 10 * client.requests_per_second
        rate = {"average": client.requests_per_second, "burst": burst, "sourceCriterion": BY_ADDRESS}
        gates[CLIENT_RATE] = {"rateLimit": rate}
    if client.requests_in_flight is not None:
        in_flight = {"amount": client.requests_in_flight, "sourceCriterion": BY_ADDRESS}
        gates[CLIENT_IN_FLIGHT] = {"inFlightReq": in_flight}
    return gates
