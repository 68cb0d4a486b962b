"""What the collector reads on a node, what it makes of a line, and how it brings it away. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from components.settings.logs import Logs

METRICS_PORT, HEALTH_PORT = 8888, 13133
STATE = "/var/lib/log-collector"
PODS = "/var/log/pods"
AUDIT_LOG = "/var/log/kubernetes/audit/audit.log"  # where components/cluster/api_server.py has it written
UNITS = ("kubelet.service", "containerd.service")
LONGEST_LINE = "64KiB"
MASK = "***"
SUFFIXES = {"without_type_suffix": False, "without_units": False}  # counters end in `_total`, as elsewhere
# What is behind these words in a line is masked: as `name=value`, as a flag, in headers, JSON and JSON in a string. `$$`: a `$`
# to the collector, whose configuration knows variables. Its expressions are those of RE2, which looks neither ahead nor back.
NAMES = (
    "password|passwd|passphrase|requirepass|masterauth|secret|token"
    "|api[_-]?keys?|access[_-]?key|secret[_-]?key|private[_-]?key"
)
QUOTES = r"""[\\"']*"""
IS = rf"{QUOTES}\s*[:=]\s*"
MASKS = tuple(
    (regex, "$${1}" + MASK + rest)
    for regex, rest in (
        (rf"(?i)((?:proxy-)?authorization{IS}{QUOTES}\[?{QUOTES}(?:(?:basic|bearer|digest)\s+)?)[^\"'\\]+", ""),
        (rf"(?i)((?:set-)?cookie{IS}{QUOTES})[^\"'\\]+", ""),
        (rf"(?i)((?:{NAMES}){IS}\\*[\"'])[^\"'\\]+", ""),  # in quotes: may have spaces
        (rf"(?i)((?:{NAMES}){IS})[^\s\"',;&\\}}]+", ""),
        (rf"(?i)((?:--[a-z0-9_-]*(?:{NAMES})|requirepass|masterauth)\s+)[^\s\"',;\\]+", ""),
        (r"(?i)(bearer\s+)[a-z0-9._~+/=-]{8,}", ""),
        (r"(://[^/\s:@]*:)[^@\s/]+@", "@"),  # user:password@ of an address
    )
)
# Ends of pods' names: of a Deployment's, a Job's and a DaemonSet's, a StatefulSet's, and a static pod's on this node.
HASH = "[bcdfghjklmnpqrstvwxz2456789]"
APP = rf"^(?P<app>.+?)(?:-{HASH}{{6,10}}-{HASH}{{5}}|(?:-\d{{8,}})?-{HASH}{{5}}|-\d+|-${{env:NODE_NAME}})?$$"


def collector_yaml(
    logs: Logs,
    url: str,
    *,
    root: str = "",
    state: str = STATE,
    host: str = "0.0.0.0",  # noqa: S104  Prometheus and the kubelet come from elsewhere
    health_port: int = HEALTH_PORT,
    metrics_port: int = METRICS_PORT,
    journal: bool = True,
) -> str:
    """`root` is put before the folders that are read."""
    receivers: dict[str, Any] = {"file_log/pods": pods(logs, root), "file_log/audit": audit(root)}
    if journal:
        receivers["journald"] = units()
    document = {
        "extensions": {
            "health_check": {"endpoint": f"{host}:{health_port}"},
            "file_storage": {
                "directory": state,
                "create_directory": True,
                "timeout": "5s",
                "compaction": compaction(state),
            },
        },
        "receivers": receivers,
        "processors": {
            "memory_limiter": {
                "check_interval": "1s",
                "limit_mib": logs.collector_memory_mib * 8 // 10,
                "spike_limit_mib": logs.collector_memory_mib * 2 // 10,
            }
        },
        "exporters": {"otlp_http": delivery(logs, url)},
        "service": {
            "extensions": ["health_check", "file_storage"],
            "pipelines": {
                "logs": {
                    "receivers": list(receivers),
                    "processors": ["memory_limiter"],
                    "exporters": ["otlp_http"],
                }
            },
            "telemetry": {
                "logs": {"level": "warn", "encoding": "json"},
                "metrics": {
                    "readers": [
                        {"pull": {"exporter": {"prometheus": {"host": host, "port": metrics_port} | SUFFIXES}}}
                    ],
                },
            },
        },
    }
    return yaml.safe_dump(document, sort_keys=False, width=200)


def compaction(state: str) -> dict[str, Any]:
    """A queue that has been long gives its disk back."""
    return {"directory": state, "on_start": True, "on_rebound": True}


def pods(logs: Logs, root: str) -> dict[str, Any]:
    """The path names namespace, pod and container, so nobody has to be asked. Its own log is left out: it would feed itself."""
    left_out = [f"{root}{PODS}/{namespace}_*/*/*.log" for namespace in logs.exclude_namespaces]
    names = [
        {"type": "move", "from": f'resource["k8s.{name}"]', "to": f"resource.{label}"}
        for name, label in (("namespace.name", "namespace"), ("pod.name", "pod"), ("container.name", "container"))
    ]
    unused = [
        {"type": "remove", "field": field}
        for field in (
            'resource["k8s.pod.uid"]',
            'resource["k8s.container.restart_count"]',
            'attributes["log.file.path"]',
            "attributes.logtag",
        )
    ]
    return _files(
        [f"{root}{PODS}/*/*/*.log"],
        "pods",
        [
            {"type": "container", "format": "containerd", "add_metadata_from_filepath": True},
            *names,
            *unused,
            {"type": "regex_parser", "parse_from": "resource.pod", "parse_to": "resource", "regex": APP},
        ],
        exclude=[*left_out, f"{root}{PODS}/*_log-collector-*/*/*.log"],
        include_file_path=True,
    )


def audit(root: str) -> dict[str, Any]:
    """Only control planes have it."""
    app = {"type": "add", "field": "resource.app", "value": "kube-apiserver"}
    return _files([f"{root}{AUDIT_LOG}"], "audit", [app])


def _files(include: list[str], source: str, operators: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "include": include,
        "include_file_name": False,
        "preserve_trailing_whitespaces": True,  # a long line is cut anywhere
        **reading(),
        "poll_interval": "1s",
        "max_log_size": LONGEST_LINE,
        "max_concurrent_files": 64,
        **more,
        "operators": [*operators, *for_all(source)],
    }


def reading() -> dict[str, Any]:
    """From the first line on, once, and nothing is given up."""
    return {
        "start_at": "beginning",
        "storage": "file_storage",
        "retry_on_failure": {"enabled": True, "max_elapsed_time": "0s"},
    }


def units() -> dict[str, Any]:
    """All journals below /var/log/journal and /run/log/journal are read, because the container has another machine id."""
    return {
        "units": list(UNITS),
        "merge": True,
        **reading(),
        "operators": [
            {"type": "move", "from": "body._SYSTEMD_UNIT", "to": "resource.unit"},
            {"type": "move", "from": "body.MESSAGE", "to": "body"},
            *for_all("journal"),
        ],
    }


def for_all(source: str) -> list[dict[str, Any]]:
    return [
        {"type": "add", "field": "resource.node", "value": "${env:NODE_NAME}"},
        {"type": "add", "field": "resource.source", "value": source},
        *({"type": "regex_replace", "field": "body", "regex": regex, "replace_with": by} for regex, by in MASKS),
    ]


def delivery(logs: Logs, url: str) -> dict[str, Any]:
    """Kept on disk until Loki has it, and tried for ever. A full queue holds the readers back, not the pods that write."""
    return {
        "logs_endpoint": f"{url}/otlp/v1/logs",
        "compression": "gzip",
        "timeout": "30s",
        "retry_on_failure": {
            "enabled": True,
            "initial_interval": "1s",
            "max_interval": "15s",
            "max_elapsed_time": "0s",
        },
        "sending_queue": {
            "enabled": True,
            "storage": "file_storage",
            "sizer": "bytes",
            "queue_size": logs.queue_mib << 20,
            "block_on_overflow": True,
            "num_consumers": 2,
            "batch": {"flush_timeout": "2s", "min_size": 256 << 10, "max_size": 1 << 20, "sizer": "bytes"},
        },
    }
