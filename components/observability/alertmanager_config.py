"""Alertmanager's configuration as text. Pure; what is secret is in files that it names."""

from __future__ import annotations

from typing import Any

import yaml

from components.settings.alerting import HEARTBEAT, NOBODY, Alerting, Email, Receiver, Route

FILES = "/etc/alertmanager"
CONFIG, SMTP_PASSWORD, HEARTBEAT_URL = "alertmanager.yml", "smtp-password", "heartbeat-url"
RELAY_PORT = 9095
# Alerts of one notification: of one name in one place.
GROUP_BY = ("alertname", "namespace", "node")
GROUP_SECONDS = 30  # in which others of the same cause come up
AGAIN_SECONDS = 300  # before what joins a group that is already told of is told
HEARTBEAT_SECONDS = 60
# What an alert is about. A label that neither has is equal.
SUBJECT = ("namespace", "pod", "node", "gpu", "image", "kind")
# What a node's own alerts say of it, the cause first. A control plane's API server speaks to its own etcd only, and its
# kubelet, scheduler and controller manager to its own API server.
ON_A_NODE = {
    "NodeDown": ".+",
    "EtcdMemberDown": "ApiServerDown|KubeletDown|NodeNotReady|SchedulerDown|ControllerManagerDown",
    "ApiServerDown": "KubeletDown|NodeNotReady|SchedulerDown|ControllerManagerDown",
    "KubeletDown": "NodeNotReady",
}
# Of a node that is not ready only the cause is told, or that it is not.
CAUSES = "|".join(["NodeNotReady", *ON_A_NODE])
# An alert that says all that those on the right would say.
INSTEAD = (
    ('alertname="NoReplicaReady"', ('alertname=~"ReplicasMissing|ReplicaNotReady|ReplicaDown|EngineDown"',)),
    ('alertname="NoGatewayUp"', ('alertname="GatewayDown"',)),
    ('alertname=~"DnsDown|RedisWithoutPrimary"', ('alertname="HistoryNotSaved"',)),
    ('alertname=~"GpuExporterDown|GpuMissing"', ('alertname="ScalingMetricMissing"', 'metric="gpu_utilization"')),
)
# What alerts of pods and their owners would say of the same thing, by the beginning of its name: no word of its own is lost,
# because each node or pod of it that is silent has the alert on the left.
PODS = "PodCrashLooping|PodPending|DaemonSetNotRunning|StatefulSetNotReady|DeploymentStuck"
OWNERS = ("daemonset", "statefulset", "deployment")
SAID = {
    "EtcdMemberDown": "etcd|kube-apiserver|kube-scheduler|kube-controller-manager",
    "ApiServerDown": "kube-apiserver|kube-scheduler|kube-controller-manager",
    "SchedulerDown": "kube-scheduler",
    "ControllerManagerDown": "kube-controller-manager",
    "KubeProxyDown": "kube-proxy",
    "DnsDown": "coredns",
    "NodeExporterDown": "node-exporter",
    "GpuExporterDown": "dcgm-exporter",
    "GpuNotOffered": "nvidia-device-plugin",
    "ModelCacheDown": "model-cache",
    "RedisProxyDown": "redis-proxy",
    "RedisMemberAway|RedisWithoutPrimary": "redis",
    "NoGatewayUp|GatewayDown": "traefik",
    "ClusterStateUnknown": "kube-state-metrics",
    "MetricsApiDown": "metrics-server|prometheus-adapter",
    "LogCollectorDown": "log-collector",
    "LogStoreDown": "loki",
    "TraceStoreDown": "jaeger",
}
TITLE = '[{{ if eq .Status "firing" }}{{ .Alerts.Firing | len }} firing{{ else }}resolved{{ end }}] {{ .CommonLabels.alertname }}'
TEXT = (
    "{{ range .Alerts }}*{{ .Labels.severity }}* {{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "{{ .Annotations.runbook_url }}\n{{ end }}"
)


def url_file(receiver: str) -> str:
    return f"url-{receiver}"


def sign_file(receiver: str) -> str:
    return f"sign-{receiver}"


def alertmanager_yaml(alerting: Alerting) -> str:
    told = [{"name": name, **receiver(name, each)} for name, each in alerting.receivers.items()]
    beat = {"url_file": f"{FILES}/{HEARTBEAT_URL}", "send_resolved": False, "timeout": "10s"}
    watched = [{"name": HEARTBEAT, "webhook_configs": [beat]}] if alerting.heartbeat else []
    document = {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": NOBODY,
            "group_by": list(GROUP_BY),
            "group_wait": f"{GROUP_SECONDS}s",
            "group_interval": f"{AGAIN_SECONDS}s",
            "routes": [watchdog(alerting), *routes(alerting)],
        },
        "inhibit_rules": inhibitions(),
        "receivers": [{"name": NOBODY}, *watched, *told],
    }
    return yaml.safe_dump(document, sort_keys=False, width=200)


def watchdog(alerting: Alerting) -> dict[str, Any]:
    """Every minute; the interval of repeating is shorter, because at its very end a notification may be just too early."""
    if not alerting.heartbeat:
        return {"matchers": ['alertname="Watchdog"'], "receiver": NOBODY}
    return {
        "matchers": ['alertname="Watchdog"'],
        "receiver": HEARTBEAT,
        "group_by": ["alertname"],
        "group_wait": "0s",
        "group_interval": f"{HEARTBEAT_SECONDS}s",
        "repeat_interval": f"{HEARTBEAT_SECONDS - 10}s",
    }


def routes(alerting: Alerting) -> list[dict[str, Any]]:
    """One for each receiver of a severity, so that one that does not answer holds up no other."""
    return [
        {
            "matchers": [f'severity="{severity}"'],
            "receiver": name,
            "repeat_interval": f"{route.repeat_hours}h",
            "continue": True,
        }
        for severity, route in by_severity(alerting)
        for name in alerting.told(route)
    ]


def by_severity(alerting: Alerting) -> list[tuple[str, Route]]:
    return [("critical", alerting.routes.critical), ("warning", alerting.routes.warning)]


def inhibitions() -> list[dict[str, Any]]:
    """Who is told of a cause is not told of what it brings along."""
    return [
        {
            "source_matchers": ['severity="critical"'],
            "target_matchers": ['severity="warning"'],
            "equal": ["alertname", *SUBJECT],
        },
        {
            "source_matchers": ['alertname=~"NodeNotReady|KubeletDown"'],
            "target_matchers": ['node=~".+"', f'alertname!~"{CAUSES}"'],
            "equal": ["node"],
        },
        *(
            {
                "source_matchers": [f'alertname="{cause}"'],
                "target_matchers": ['node=~".+"', f'alertname!="{cause}"', f'alertname=~"{effects}"'],
                "equal": ["node"],
            }
            for cause, effects in ON_A_NODE.items()
        ),
        *({"source_matchers": [cause], "target_matchers": list(effects)} for cause, effects in INSTEAD),
        *(
            {
                "source_matchers": [f'alertname=~"{alerts}"'],
                # Each of them has one of these labels, and what it has not is empty.
                "target_matchers": [
                    f'alertname=~"{PODS}"',
                    f'pod=~"(({names})-.+)?"',
                    *(f'{owner}=~"({names})?"' for owner in OWNERS),
                ],
            }
            for alerts, names in SAID.items()
        ),
    ]


def receiver(name: str, settings: Receiver) -> dict[str, Any]:
    resolved = {"send_resolved": settings.send_resolved}
    match settings.kind:
        case "webhook":
            return {"webhook_configs": [{"url_file": f"{FILES}/{url_file(name)}", "timeout": "10s", **resolved}]}
        case "slack":
            said = {"title": TITLE, "text": TEXT, "timeout": "10s"}
            return {"slack_configs": [{"api_url_file": f"{FILES}/{url_file(name)}", **said, **resolved}]}
        case "email":
            return {"email_configs": [email(settings.email) | resolved]} if settings.email else {}
        case "dingtalk" | "feishu":
            return {"webhook_configs": [{"url": f"http://127.0.0.1:{RELAY_PORT}/{name}", "timeout": "10s", **resolved}]}


def email(settings: Email) -> dict[str, Any]:
    login = {"auth_username": settings.username, "auth_password_file": f"{FILES}/{SMTP_PASSWORD}"}
    return {
        "smarthost": f"{settings.smtp_host}:{settings.smtp_port}",
        "from": settings.sender,
        "to": settings.to,
        "require_tls": settings.require_tls,
        **(login if settings.username else {}),
    }
