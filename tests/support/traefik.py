"""Traefik as the product runs it: the Deployment's command line on loopback ports, with routes out of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.inference.deployment import RETRY, backends, gates, kept_bodies, retry, route
from components.services.traefik import PORTS, go_memory, static_configuration
from components.settings import Inference, Ingress
from components.settings.tls import Tls, TlsKind
from components.settings.webui import Login
from components.tracing import Tracing
from tests.support.chat_processes import ROOT, Process, fetch, free_port

TRAEFIK = ROOT / ".venv/bin/traefik"
LOADED = "/loaded"
PLAIN = Tls(kind=TlsKind.NONE)
"""One entry point less to speak TLS with; what is tested with these routes is not TLS (tests/webui/test_gateway_tls.py)."""
OF_THE_CLUSTER = ("kind", "name", "port", "middlewares")
"""Keys of a Kubernetes service in a TraefikService that a file says in other words."""


class Traefik(Process):
    """`dynamic` is the file provider's content; what only makes sense in a cluster is left out of the flags."""

    def __init__(
        self,
        dynamic: dict[str, Any],
        ingress: Ingress | None = None,
        program: Path = TRAEFIK,
        tracing: Tracing | None = None,
    ) -> None:
        self.ports = {name: free_port() for name in PORTS}
        super().__init__("traefik", self.ports["web"])
        self.url = f"http://127.0.0.1:{self.port}"
        self._ingress = (ingress or Ingress()).model_copy(update={"tls": PLAIN})
        self._program = program
        self._tracing = tracing
        self._file = self._directory / "dynamic.yml"
        loaded = {"rule": f"Path(`{LOADED}`)", "entryPoints": ["traefik"], "service": "ping@internal"}
        http = dynamic["http"] | {"routers": dynamic["http"]["routers"] | {"loaded": loaded}}
        self._file.write_text(
            json.dumps(dynamic | {"http": http})
        )  # JSON is YAML, and the name has to end like one of its kinds

    def command(self) -> list[str]:
        flags = [
            flag
            for flag in static_configuration(self._ingress, ("default",), tracing=self._tracing)
            if ".address=" not in flag and not flag.startswith("--providers.")
        ]
        places = [f"--entryPoints.{name}.address=127.0.0.1:{port}" for name, port in self.ports.items()]
        return [str(self._program), *flags, *places, f"--providers.file.filename={self._file}"]

    def environment(self) -> dict[str, str]:
        return {"GOMEMLIMIT": go_memory(self._ingress)}

    def answers(self) -> bool:
        """Once it has read the routes too."""
        return super().answers() and fetch(f"http://127.0.0.1:{self.ports['traefik']}{LOADED}")[0] == 200


def product_routes(
    server: str, ingress: Ingress | None = None, inference: Inference | None = None, login: Login | None = None
) -> dict[str, Any]:
    """The product's own routes, all to one replica."""
    ingress, login = (ingress or Ingress()).model_copy(update={"tls": PLAIN}), login or Login()
    kept = kept_bodies(ingress, inference or Inference(), login)
    middlewares = {RETRY: retry()} | gates(ingress, kept)
    return in_a_file(route(ingress, kept, login), backends(kept, tls=False), middlewares, server)


def in_a_file(
    ingress_route: dict[str, Any],
    backends: dict[str, dict[str, Any]],
    middlewares: dict[str, dict[str, Any]],
    server: str,
) -> dict[str, Any]:
    """What an IngressRoute, its TraefikServices and Middlewares say, in the file provider's words; all lead to `server`."""
    services: dict[str, Any] = {}
    for backend, spec in backends.items():
        failover = dict(spec["failover"])
        for role in ("service", "fallback"):
            said = failover[role]
            kept = {key: value for key, value in said.items() if key not in OF_THE_CLUSTER}
            name = failover[role] = f"{backend}-{role}"
            services[name] = {"loadBalancer": {"servers": [{"url": server}], **kept}}
            if "middlewares" in said:
                services[name]["middlewares"] = names(said["middlewares"])
        services[backend] = {"failover": failover}
    routers = {
        f"route-{number}": {
            "rule": each["match"],
            "entryPoints": ingress_route["entryPoints"],
            "service": each["services"][0]["name"],
            "middlewares": names(each.get("middlewares", [])),
        }
        for number, each in enumerate(ingress_route["routes"])
    }
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


def names(references: list[dict[str, str]]) -> list[str]:
    return [each["name"] for each in references]
