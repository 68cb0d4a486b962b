"""What watches the service."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from components.settings.alerting import Alerting
from components.settings.base import Model
from components.settings.grafana import Grafana
from components.settings.logs import Logs
from components.settings.operator import Operator
from components.settings.syntax import HttpUrl, Kind, refused
from components.settings.traces import Traces

# Bounds in which the web UI counts how long answers take (images/webui/chat_webui/metrics.py): no other can be counted.
ANSWER_BOUNDS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


def _answer_bound(seconds: float) -> float:
    if seconds not in ANSWER_BOUNDS:
        rule = f"answers are counted in the bounds {', '.join(f'{bound:g}' for bound in ANSWER_BOUNDS)}"
        nearest = min(ANSWER_BOUNDS, key=lambda bound: abs(bound - seconds))
        raise refused(f"{seconds:g} s", rule, f"Write {nearest:g}")
    return seconds


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise refused(f"`{text}`", "a time of day is `HH:MM` from 00:00 to 23:59", "Write one like `03:17`, in quotes")
    return text


AnswerBound = Annotated[float, AfterValidator(_answer_bound), Kind("bound of the web UI's histogram")]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day), Kind("time of day")]


class RemoteWrite(Model):
    """Where every sample goes as well; the secret `remoteWriteCredential` is shown there as a bearer token."""

    url: HttpUrl = Field(description="Address that takes Prometheus' remote write, as its owner gives it.")


class Prometheus(Model):
    """The Prometheus that scaling metrics and alerts come from."""

    scrape_seconds: int = Field(default=15, ge=1, le=60, description="Seconds between two readings of a target.")
    retention_hours: int = Field(default=24, ge=2, le=8760, description="How long samples are kept, in hours.")
    memory_mib: int = Field(default=1024, ge=128, description="Memory request and limit in MiB.")
    disk_mib: int = Field(
        default=8192, ge=256, description="Room for samples in MiB on the node it runs on; the oldest go first."
    )
    remote_write: RemoteWrite | None = Field(default=None, description="A store elsewhere that is written to as well.")
    operator: Operator | None = Field(
        default=None,
        description="A Prometheus Operator that is there already and does all this instead; of the keys above `scrapeSeconds`"
        " counts, and `retentionHours` says how far back its samples go.",
    )


class Objective(Model):
    """What the service promises, over 30 days; alerts follow how fast the rest is used up (docs/adr/0017).

    Below 95 % the rate that wakes somebody, 14.4 times the error budget, would be more than all requests.
    """

    availability_percent: float = Field(
        default=99.9, ge=95, le=99.999, description="Share of the requests that are answered, in percent."
    )
    latency_seconds: AnswerBound = Field(
        default=10.0,
        description="Seconds within which a whole answer is complete. The default suits chats of some hundred words; a service"
        " with the short answers of [capacity](capacity.md) can promise 2.",
    )
    latency_percent: float = Field(
        default=95.0, ge=95, le=99.999, description="Share of the answers complete within `latencySeconds`, in percent."
    )
    first_token_seconds: float = Field(
        default=2.5, gt=0, le=160, description="Seconds after which nine of ten answers have begun."
    )


class ImageScan(Model):
    """Trivy reads every image that the program runs and counts its known vulnerabilities (docs/adr/0025).

    It runs where Prometheus does: with `observability.enabled`.
    """

    enabled: bool = Field(default=True, description="Scan; false also takes its alerts away.")
    every_hours: Literal[6, 12, 24, 168] = Field(default=24, description="Hours between two scans; 168: on Sundays.")
    starts_at: TimeOfDay = Field(default="03:17", description="When the day's first scan begins, `HH:MM` in UTC.")
    severity: Literal["HIGH", "CRITICAL"] = Field(
        default="CRITICAL",
        description="Least severity of a vulnerability with a fixed version that is told of. All are counted.",
    )
    skip: tuple[str, ...] = Field(
        default=(), description="Images that are not scanned, by their name in `components/versions.py`, e.g. `vllm`."
    )
    memory_mib: int = Field(default=2048, ge=256, description="Memory of a running scan in MiB.")
    disk_mib: int = Field(
        default=12288,
        ge=1024,
        description="Disk of a running scan in MiB: the database and what is unpacked of an image.",
    )


class Observability(Model):
    """What watches the service."""

    enabled: bool = Field(
        default=True,
        description="Prometheus and all that needs it; the autoscaler does, so its `enabled` is off then too.",
    )
    prometheus: Prometheus = Field(default=Prometheus(), description="Samples and what is computed from them.")
    objective: Objective = Field(default=Objective(), description="What the service promises.")
    image_scan: ImageScan = Field(default=ImageScan(), description="Known vulnerabilities of the images.")
    logs: Logs = Field(default=Logs(), description="Logs of nodes and pods.")
    grafana: Grafana = Field(default=Grafana(), description="Dashboards.")
    alerting: Alerting = Field(default=Alerting(), description="Who is told of alerts.")
    traces: Traces = Field(default=Traces(), description="The ways of single requests.")
    runbook_url: HttpUrl | None = Field(
        default=None,
        description="Address below which the pages of `docs/runbooks` can be read; alerts link there. None: the folder's name.",
    )

    @property
    def told(self) -> Alerting:
        """Who is told of alerts: nobody where nothing computes them."""
        return self.alerting if self.enabled else Alerting()

    @property
    def operator(self) -> Operator | None:
        """Whose Prometheus reads the stack, where it is not ours."""
        return self.prometheus.operator if self.enabled else None

    @property
    def collected(self) -> Logs:
        """What is collected of logs: nothing where nothing is watched."""
        return self.logs if self.enabled else Logs(enabled=False)
