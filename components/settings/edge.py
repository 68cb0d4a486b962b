"""What the gateway accepts from a client before it gives up on it."""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field

from components.settings.base import Model
from components.settings.webui import Login, LoginKind

MEGABIT = 1_000_000
BODY_SHARES: dict[int, Fraction | None] = {4: None, 6: Fraction(3, 8), 7: Fraction(1, 4)}
"""Of the gateway's memory, for bodies whose length has up to so many digits; None: too small to count. At its peak the headline
load has 42 requests in flight, each with an image of 300 KB; the page's own uploads go up to 10 MiB."""
LARGEST_SHARE = Fraction(1, 8)
"""For longer ones, and those that do not say how long they are."""


def entry_points(*, https_only: bool) -> tuple[str, ...]:
    """Where requests are answered; with TLS plain HTTP is only told where to go."""
    return ("websecure",) if https_only else ("web", "websecure")


def counters(login: Login, *, https_only: bool) -> int:
    """Traefik counts requests for each route of each entry point by itself, and a login at its side makes two routes of one."""
    return len(entry_points(https_only=https_only)) * (2 if login.kind is LoginKind.FORWARD_AUTH else 1)


class ClientLimits(Model):
    """What one client address may ask of one Traefik. Users behind one address share it, so none of this is set by default.

    Counted for each size of body and each entry point by itself, because Traefik counts for each route.
    """

    requests_in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Requests in flight; more get 429. An open page holds one all the time, and one more while it is answered.",
    )
    requests_per_second: int | None = Field(
        default=None,
        ge=1,
        description="Requests a second, on average; more get 429. Opening the page takes dozens.",
    )
    burst: int | None = Field(
        default=None, ge=1, description="Requests that may come at once; default: those of ten seconds."
    )


class IngressLimits(Model):
    """Against slow, oversized and too many requests ([security](security.md#what-the-gateway-lets-in))."""

    request_seconds: int = Field(
        default=150,
        ge=1,
        description="A request has to arrive within so many seconds, headers and body; streamed answers have no such limit.",
    )
    slowest_upload_mbit: float = Field(
        default=2,
        gt=0,
        description="Slowest line, in Mbit/s, on which the largest body (`inference.maxBodyMib`) still has to arrive in time.",
    )
    idle_seconds: int = Field(
        default=180, ge=1, description="An open connection without a request is closed after so many seconds."
    )
    header_kib: int = Field(default=64, ge=8, le=1024, description="Largest request line and headers together, in KiB.")
    client: ClientLimits = Field(default=ClientLimits(), description="Of each client address.")

    def upload_seconds(self, body_bytes: int) -> float:
        """What a body takes on the slowest line."""
        return body_bytes * 8 / (self.slowest_upload_mbit * MEGABIT)
