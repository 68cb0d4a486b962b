"""Grafana's configuration as text: its settings, and what it finds at its start instead of in a database. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from components.settings.grafana import Grafana, Oidc
from components.settings.tls import Tls

PORT = 3000
DATA = "/var/lib/grafana"
CONFIG = "/etc/grafana"
DASHBOARDS = "/dashboards"
SECRETS = "/run/grafana"
TRACE_ID = r'"(?:trace_id|TraceId)":\s*"([0-9a-f]{32})"'
HOME = "qwen3-vl-start"  # uid of the dashboard that is shown first

Section = Mapping[str, str | int | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """`type` is its uid too; dashboards ask for it by that."""

    type: str
    name: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    grafana: Grafana
    tls: Tls  # of the gateway


def files(shown: Shown, sources: tuple[DataSource, ...]) -> dict[str, str]:
    """Path below `CONFIG` -> content."""
    return {
        "grafana.ini": ini(shown),
        "provisioning/datasources/sources.yaml": data_sources(sources),
        "provisioning/dashboards/dashboards.yaml": providers(),
    }


def key_of(path: str) -> str:
    """Keys of a ConfigMap have no slashes."""
    return path.rpartition("/")[2]


def data_sources(sources: tuple[DataSource, ...]) -> str:
    found = [
        {
            "name": each.name,
            "type": each.type,
            "uid": each.type,
            "url": each.url,
            "access": "proxy",
            "editable": False,
            "isDefault": each.type == "prometheus",
            "jsonData": more(each.type, {source.type for source in sources}),
        }
        for each in sources
    ]
    return _yaml({"apiVersion": 1, "datasources": found})


def more(kind: str, there: set[str]) -> dict[str, Any]:
    """How one leads to another: a slow answer to its trace, a line to its trace, a trace to its lines."""
    said: dict[str, Any] = {"httpMethod": "POST"} if kind == "prometheus" else {}
    if kind == "prometheus" and "jaeger" in there:
        said["exemplarTraceIdDestinations"] = [{"name": "trace_id", "datasourceUid": "jaeger"}]
    if kind == "loki" and "jaeger" in there:
        # As the web UI and the gateway name it. `$$`: Grafana reads variables in these files.
        found = {"matcherRegex": TRACE_ID, "url": "$${__value.raw}", "datasourceUid": "jaeger"}
        said["derivedFields"] = [{"name": "Trace", **found}]
    if kind == "jaeger" and "loki" in there:
        query = '{namespace=~"default|traefik"} |= "$${__trace.traceId}"'
        said["tracesToLogsV2"] = {
            "datasourceUid": "loki",
            "customQuery": True,
            "query": query,
            "spanStartTimeShift": "-5m",
            "spanEndTimeShift": "5m",
        }
    return said


def providers() -> str:
    """What is changed in the browser cannot be kept: the pod's files are what counts."""
    provider = {
        "name": "program",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "options": {"path": DASHBOARDS},
    }
    return _yaml({"apiVersion": 1, "providers": [provider]})


def ini(shown: Shown) -> str:
    """`grafana.ini`. What is not here is Grafana's default."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in section.items())
        for name, section in sections(shown).items()
    )


def sections(shown: Shown) -> dict[str, Section]:
    oidc = shown.grafana.oidc
    return {
        "server": server(shown),
        "security": security(shown),
        "users": {"allow_sign_up": False, "allow_org_create": False, "auto_assign_org_role": "Viewer"},
        "auth.anonymous": {"enabled": False},
        "auth": {"login_maximum_inactive_lifetime_duration": "12h", "login_maximum_lifetime_duration": "7d"},
        **({"auth.generic_oauth": generic_oauth(oidc)} if oidc else {}),
        # Nothing leaves the cluster: no counts, no questions about versions, no pictures, no plugins.
        "analytics": {
            "reporting_enabled": False,
            "check_for_updates": False,
            "check_for_plugin_updates": False,
            "feedback_links_enabled": False,
        },
        "plugins": {
            "preinstall_disabled": True,
            "plugin_admin_enabled": False,
            "public_key_retrieval_disabled": True,
        },
        "news": {"news_feed_enabled": False},
        "snapshots": {"enabled": False, "external_enabled": False},
        "public_dashboards": {"enabled": False},
        # Its numbers would be for everybody who reaches it.
        "metrics": {"enabled": False},
        # Alerts are Prometheus' (components/observability/alerts).
        "unified_alerting": {"enabled": False},
        "dashboards": {"default_home_dashboard_path": f"{DASHBOARDS}/{HOME}.json"},
        "log": {"mode": "console"},
        "log.console": {"format": "json"},
    }


def server(shown: Shown) -> Section:
    host = shown.grafana.host
    if host is None:
        return {"http_port": PORT}
    scheme = "https" if shown.tls.on else "http"
    return {"http_port": PORT, "domain": host, "root_url": f"{scheme}://{host}/"}


def security(shown: Shown) -> Section:
    """Cookies and HSTS are for browsers that come by https; through `kubectl port-forward` they do not."""
    https = shown.grafana.host is not None and shown.tls.on
    hsts: Section = (
        {
            "strict_transport_security": True,
            "strict_transport_security_max_age_seconds": shown.tls.hsts_days * 24 * 3600,
        }
        if https and shown.tls.hsts_days
        else {}
    )
    return {
        "admin_user": "admin",
        "admin_password": f"$__file{{{SECRETS}/admin-password}}",
        "secret_key": f"$__file{{{SECRETS}/secret-key}}",
        "disable_gravatar": True,
        "cookie_secure": https,
        "cookie_samesite": "lax",  # `strict` would forget who logs in on the way back from a log-in service
        "allow_embedding": False,
        "content_security_policy": True,
        "x_content_type_options": True,
        "x_xss_protection": False,  # browsers that still have it are better off without
        **hsts,
    }


def generic_oauth(oidc: Oidc) -> Section:
    groups: Section = (
        {"groups_attribute_path": "groups", "allowed_groups": " ".join(oidc.allowed_groups)}
        if oidc.allowed_groups
        else {}
    )
    role: Section = (
        {"role_attribute_path": f"contains(groups[*], '{oidc.admin_group}') && 'Admin' || 'Viewer'"}
        if oidc.admin_group
        else {}
    )
    return {
        "enabled": True,
        "name": "Single sign-on",
        "client_id": oidc.client_id,
        "client_secret": f"$__file{{{SECRETS}/oidc-secret}}",
        "scopes": " ".join(oidc.scopes),
        "auth_url": oidc.auth_url,
        "token_url": oidc.token_url,
        "api_url": oidc.api_url,
        "use_pkce": True,
        "allow_sign_up": True,  # its users are those of the service
        **groups,
        **role,
    }


def _value(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=200)
