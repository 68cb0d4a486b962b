"""The bounds of the autoscaler against each other, the first size and the GPUs; its windows against each other."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.problem import Problem


def replica_bounds(settings: Settings) -> Iterator[Problem]:
    """Silent about a first size above the GPUs, which `inference.gpus` reports."""
    scaling, first = settings.autoscaling, settings.inference.replicas
    gpus, workers = settings.gpu_slots, len(settings.workers)
    if not scaling.enabled or first > gpus:
        return
    machines = f"{gpus} GPU{'' if gpus == 1 else 's'} of {workers} worker{'' if workers == 1 else 's'}"
    for key, wanted in (("maxReplicas", scaling.max_replicas), ("minReplicas", scaling.min_replicas)):
        if wanted is not None and wanted > gpus:
            remedy = f"Write {gpus} or less, or add GPUs to the workers in `nodes`"
            found = f"{wanted} replicas for {machines}"
            yield Problem(f"autoscaling.{key}", found, "each replica takes one GPU", remedy)
            return
    fewest, most = settings.replica_bounds
    if fewest > most:
        absent = "" if scaling.min_replicas else " (inference.replicas)"
        found = f"{most}, below the {fewest} of autoscaling.minReplicas{absent}"
        yield Problem("autoscaling.maxReplicas", found, "fewest <= most", "Raise it or lower the other")
    elif not fewest <= first <= most:
        rule = f"the first size lies between autoscaling.minReplicas ({fewest}) and autoscaling.maxReplicas ({most})"
        yield Problem("inference.replicas", str(first), rule, "Choose one of these")


def windows(settings: Settings) -> Iterator[Problem]:
    """An average needs samples: with one in its window, a single lost reading would be a lost metric."""
    window, every = settings.autoscaling.window_seconds, settings.observability.prometheus.scrape_seconds
    if settings.autoscaling.enabled and window < 2 * every:
        found = f"{window} s with a reading every {every} s (observability.prometheus.scrapeSeconds)"
        rule = "the average needs two readings at least"
        yield Problem("autoscaling.windowSeconds", found, rule, f"Write {2 * every} or more")


def metrics(settings: Settings) -> Iterator[Problem]:
    """Without values the autoscaler would hold for ever."""
    if settings.autoscaling.enabled and not settings.observability.enabled:
        rule = "the number of replicas follows Prometheus' metrics"
        yield Problem(
            "autoscaling.enabled", "true with `observability.enabled: false`", rule, "Turn one on or the other off"
        )


def gpu_metric(settings: Settings) -> Iterator[Problem]:
    """A metric that never comes holds the replicas for ever."""
    scaling, gpu = settings.autoscaling, settings.gpu
    if not scaling.enabled or not scaling.gpu_utilization or (gpu.dcgm_exporter and gpu.driver.owner != "operator"):
        return
    missing = "the GPU operator's exporter" if gpu.driver.owner == "operator" else "`gpu.dcgmExporter: false`"
    found = f"{scaling.gpu_utilization} with {missing}"
    rule = "Prometheus reads this program's own exporter, and without a value nothing is scaled in"
    yield Problem("autoscaling.gpuUtilization", found, rule, "Write 0; the other signals remain")
