"""An ACME server, the name server it asks, the Secrets of a Kubernetes API and the issuer itself, as processes on loopback.

The server is Let's Encrypt's pebble and really looks at challenges: through the product's Traefik by HTTP-01, at pebble's own
name server by DNS-01.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from components.services.acme_issuer import ACCOUNT, CERTIFICATE, AcmeIssuerArgs, arguments
from components.settings import Images
from components.settings.acme import Acme
from host.authority import make_authority, make_leaf
from tests.support.chat_processes import ROOT, Process, fetch, free_port
from tests.support.fake_api import make_certificate

FIRST = "traefik-certificate"
NOTE = "qwen3-vl/acme-"
PREFIX = "/api/v1/namespaces/default/secrets/"
LOOK, FIRST_PAUSE = "200ms", "2s"
"""The issuer's minute between two looks and its pause after a failure, in tests."""


@cache
def built(name: str) -> Path:
    found = subprocess.run([ROOT / "tools/build", name], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip().partition("\t")[2])


class Names(Process):
    """pebble-challtestsrv: every name is at 127.0.0.1 until something else is said."""

    def __init__(self) -> None:
        super().__init__("names", free_port())
        self.dns = free_port()

    def command(self) -> list[str]:
        off = [f"--{challenge}=" for challenge in ("http01", "https01", "tlsalpn01", "doh")]
        places = ["--dnsserver", f"127.0.0.1:{self.dns}", "--management", f"127.0.0.1:{self.port}"]
        return [str(built("pebble") / "pebble-challtestsrv"), *off, *places, "--defaultIPv6", ""]

    def say(self, what: str, **record: Any) -> None:
        status, body = fetch(f"http://127.0.0.1:{self.port}/{what}", json.dumps(record).encode())
        assert status == 200, body


class AcmeServer(Process):
    """pebble. `short` is a profile whose certificates are valid for so many seconds."""

    def __init__(
        self, names: Names, http_port: int, short_seconds: int = 60, eab: dict[str, str] | None = None
    ) -> None:
        super().__init__("pebble", free_port())
        self.management, self._names = free_port(), names
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        own = make_authority()
        leaf = make_leaf(own, ["localhost"], ["127.0.0.1"])
        self.ca_file = self._directory / "ca.pem"
        for path, text in (("ca.pem", own.certificate), ("cert.pem", leaf.certificate), ("key.pem", leaf.private_key)):
            (self._directory / path).write_text(text)
        self._trusted = ssl.create_default_context(cadata=own.certificate)
        said = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self._directory / "cert.pem"),
            "privateKey": str(self._directory / "key.pem"),
            "httpPort": http_port,
            "tlsPort": 1,
            "keyAlgorithm": "ecdsa",
            "externalAccountBindingRequired": bool(eab),
            "externalAccountMACKeys": eab or {},
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {
                "default": {"description": "as usual", "validityPeriod": 90 * 24 * 3600},
                "short": {"description": "soon over", "validityPeriod": short_seconds},
            },
        }
        (self._directory / "pebble.json").write_text(json.dumps({"pebble": said}))

    def command(self) -> list[str]:
        config = ["-config", str(self._directory / "pebble.json")]
        return [str(built("pebble") / "pebble"), *config, "-dnsserver", f"127.0.0.1:{self._names.dns}"]

    def environment(self) -> dict[str, str]:
        # Each order is looked at anew; nonces are refused now and then, as pebble does by itself.
        return {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}

    def root(self) -> str:
        """What clients have to trust, PEM; another one after each start."""
        where = f"https://127.0.0.1:{self.management}/roots/0"
        with urllib.request.urlopen(where, context=self._trusted, timeout=10) as answer:
            text: str = answer.read().decode()
        return text


@dataclass(slots=True)
class Secrets:
    """The Secrets of one namespace, as the issuer's own account may use them: three by name, two of which it may patch.

    `changed` is called with the name of each that was changed. Versions and conflicts are those of the real API.
    """

    credentials: Path
    changed: Callable[[str], None] = lambda _: None
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _version: int = 1

    def __enter__(self) -> Self:
        self.credentials.mkdir(parents=True, exist_ok=True)
        make_certificate(self.credentials)
        (self.credentials / "token").write_text("a-token")
        for name in (CERTIFICATE, ACCOUNT, FIRST):
            self.objects[name] = {"metadata": {"name": name, "resourceVersion": "1"}}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.credentials / "ca.crt", self.credentials / "key.pem")
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def put(self, name: str, **data: str) -> None:
        with self.lock:
            encoded = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
            self.objects[name]["data"] = encoded
            self._bump(name)

    def text(self, name: str, key: str) -> str:
        with self.lock:
            return base64.b64decode(self.objects[name].get("data", {}).get(key, "")).decode()

    def note(self, name: str) -> str:
        with self.lock:
            return str(self.objects[CERTIFICATE]["metadata"].get("annotations", {}).get(f"{NOTE}{name}", ""))

    def notes(self) -> dict[str, str]:
        with self.lock:
            return dict(self.objects[CERTIFICATE]["metadata"].get("annotations", {}))

    def forget(self, name: str) -> None:
        """As `kubectl annotate secret traefik-acme qwen3-vl/acme-NAME-`."""
        with self.lock:
            self.objects[CERTIFICATE]["metadata"].get("annotations", {}).pop(f"{NOTE}{name}", None)
            self._bump(CERTIFICATE)

    def answer(self, method: str, name: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        with self.lock:
            may = {"GET": (CERTIFICATE, ACCOUNT, FIRST), "PATCH": (CERTIFICATE, ACCOUNT)}.get(method, ())
            if headers.get("Authorization") != "Bearer a-token" or name not in may:
                self.refused.append(f"{method} {name}")
                return 403, {"message": f'secrets "{name}" is forbidden'}
            found = self.objects[name]
            if method == "GET":
                return 200, found
            patch = json.loads(body)
            if patch["metadata"].pop("resourceVersion") != found["metadata"]["resourceVersion"]:
                return 409, {"message": "the object has been modified"}
            merge(found, patch)
            self._bump(name)
        self.changed(name)
        return 200, found

    def _bump(self, name: str) -> None:
        self._version += 1
        self.objects[name]["metadata"]["resourceVersion"] = str(self._version)


def merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


class _Handler(BaseHTTPRequestHandler):
    api: Secrets
    timeout = 30.0

    def do_GET(self) -> None:
        self._reply(b"")

    def do_PATCH(self) -> None:
        self._reply(self.rfile.read(int(self.headers["Content-Length"])))

    def _reply(self, body: bytes) -> None:
        name = self.path.partition("?")[0].removeprefix(PREFIX)
        status, answer = self.api.answer(self.command, name, self.headers, body)
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests show what the issuer says."""


class Issuer(Process):
    """With the Deployment's own command line, but for places and times."""

    def __init__(
        self,
        acme: Acme,
        host: str,
        secrets: Secrets,
        *,
        gateway: str = "",
        files: Path | None = None,
        port: int = 0,
        **flags: str,
    ) -> None:
        super().__init__("acme-issuer", free_port())
        self.challenges = port or free_port()
        args = AcmeIssuerArgs(
            acme=acme, host=host, namespace="default", first=FIRST, dns=None, eab_key=None, images=Images()
        )
        places = {
            "challenges": f"127.0.0.1:{self.challenges}",
            "metrics": f"127.0.0.1:{self.port}",
            "api": f"https://127.0.0.1:{secrets.port}",
            "credentials": str(secrets.credentials),
            "look": LOOK,
            "first-pause": FIRST_PAUSE,
            **({"gateway": gateway} if gateway else {}),
            **({"ca-file": acme.ca_file} if acme.ca_file else {}),
            **({"dns-folder": str(files)} if acme.dns_provider else {}),
            **({"eab-key-file": f"{files}/key"} if acme.external_account else {}),
            **flags,
        }
        said = dict(each.removeprefix("--").split("=", 1) for each in arguments(args))
        self._flags = [f"--{name}={value}" for name, value in (said | places).items()]

    def command(self) -> list[str]:
        return [str(built("acme-issuer") / "acme-issuer"), *self._flags]

    def metric(self, name: str) -> float:
        lines = fetch(f"http://127.0.0.1:{self.port}/metrics")[1].decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


class Webhook:
    """lego's `httpreq` on one side, the name server's management on the other. `asked` are the paths that were called."""

    def __init__(self, names: Names) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append(self.path)
                if self.path == "/present":
                    names.say("set-txt", host=said["fqdn"], value=said["value"])
                else:
                    names.say("clear-txt", host=said["fqdn"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
