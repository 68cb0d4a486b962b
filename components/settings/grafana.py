"""Grafana: pictures of what Prometheus knows."""

from __future__ import annotations

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import DnsName, HttpUrl


class Oidc(Model):
    """Log-in by a service of yours (OpenID Connect). Its secret is `grafanaOidcSecret`.

    It sends users back to `https://HOST/login/generic_oauth`.
    """

    client_id: str = Field(min_length=1, max_length=200, description="What the service calls this Grafana.")
    auth_url: HttpUrl = Field(description="Where browsers log in (`authorization_endpoint`).")
    token_url: HttpUrl = Field(description="Where Grafana gets tokens (`token_endpoint`).")
    api_url: HttpUrl = Field(description="Where Grafana asks who it is (`userinfo_endpoint`).")
    scopes: tuple[str, ...] = Field(default=("openid", "profile", "email"), description="What is asked for.")
    allowed_groups: tuple[str, ...] = Field(
        default=(),
        description="Groups of the claim `groups` that may look; none named: everybody whom the service lets in.",
    )
    admin_group: str | None = Field(
        default=None, description="Group of the claim `groups` that may change things; the others look."
    )


class Grafana(Model):
    """Dashboards that are part of this program (docs/adr/0028). It keeps nothing: what is changed in it is gone with its pod."""

    enabled: bool = Field(default=True, description="Run it. Nothing else needs it.")
    host: DnsName | None = Field(
        default=None,
        description="Its own name at the gateway, e.g. `grafana.qwen3.example.com`. None: only through"
        " `kubectl -n observability port-forward deployment/grafana 3000`.",
    )
    oidc: Oidc | None = Field(default=None, description="Log-in by a service of yours, beside the user `admin`.")
    memory_mib: int = Field(default=512, ge=256, description="Memory of its pod in MiB.")
