"""What the gateway accepts, against the bodies it is meant for."""

from __future__ import annotations

import math
from collections.abc import Iterator

from components.settings import Settings
from components.settings.edge import LARGEST_SHARE, counters
from components.settings.problem import Problem

MIB = 1024 * 1024


def largest_body(settings: Settings) -> Iterator[Problem]:
    """It arrives in time on the slowest line, and there is room for one on each way in."""
    ingress, mib = settings.ingress, settings.inference.max_body_mib
    limits = ingress.limits
    needed = math.ceil(limits.upload_seconds(mib * MIB))
    if limits.request_seconds < needed:
        line = f"{limits.slowest_upload_mbit:g} Mbit/s (ingress.limits.slowestUploadMbit)"
        rule = f"a body of {mib} MiB (inference.maxBodyMib) takes {needed} s at {line}"
        remedy = f"Write {needed} or more, or change one of these"
        yield Problem("ingress.limits.requestSeconds", f"{limits.request_seconds} s", rule, remedy)
    fewest = counters(settings.webui.login, https_only=ingress.tls.on)
    least = math.ceil(fewest * mib / LARGEST_SHARE)
    if ingress.memory_mib < least:
        held = f"{fewest} {'body' if fewest == 1 else 'bodies'} of {mib} MiB (inference.maxBodyMib)"
        rule = f"{LARGEST_SHARE} of it is for the largest bodies and has to hold {held}"
        remedy = f"Write {least} or more, or lower inference.maxBodyMib"
        yield Problem("ingress.memoryMib", f"{ingress.memory_mib} MiB", rule, remedy)


def burst(settings: Settings) -> Iterator[Problem]:
    client = settings.ingress.limits.client
    if client.burst is not None and client.requests_per_second is None:
        rule = "it is how many of these may come at once"
        yield Problem("ingress.limits.client.burst", "set without requestsPerSecond", rule, "Set that too or remove it")
