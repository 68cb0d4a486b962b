"""Nodes and ConfigMaps of a Kubernetes API on loopback, over TLS: versions, merge patches, conflicts, refusals."""

from __future__ import annotations

import copy
import datetime
import ipaddress
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

API, NODES = "/api/v1/", "nodes/"
IDLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Patch:
    node: str
    status: int
    at: float  # time.monotonic()


@dataclass(slots=True)
class FakeApi:
    """`credentials` is what a pod has mounted. `down()` and `up()` keep the port.

    `before_patch` is done once, ahead of the next patch: somebody else's taints. A node in `flickering` has so many GPUs in every
    second look.
    """

    credentials: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    config_maps: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # data by `namespaces/NAMESPACE/configmaps/NAME`
    patches: list[Patch] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    before_patch: list[dict[str, Any]] | None = None
    flickering: dict[str, int] = field(default_factory=dict)
    token: str = "first-token"
    port: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    _server: ThreadingHTTPServer | None = None
    _version: int = 1000

    def __enter__(self) -> Self:
        self.credentials.mkdir(parents=True, exist_ok=True)
        make_certificate(self.credentials)
        self.give_token(self.token)
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def give_token(self, token: str) -> None:
        """As the kubelet rotates it: the old one is no good any longer."""
        with self.lock:
            self.token = token
            (self.credentials / "token").write_text(token)

    def add(self, name: str, gpus: int | None, *, taints: list[dict[str, Any]] | None = None) -> None:
        spec = {"taints": taints} if taints is not None else {}
        self.nodes[name] = {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": {}}}
        self.report(name, gpus=gpus, ready=True)

    def report(self, name: str, *, gpus: int | None = None, ready: bool | None = None) -> None:
        """What the node's kubelet says."""
        with self.lock:
            status = self.nodes[name]["status"]
            if gpus is not None:
                status["allocatable"]["nvidia.com/gpu"] = str(gpus)
            if ready is not None:
                status["conditions"] = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
            self.changed(name)
            self.looks[name] = 0

    def set_taints(self, name: str, taints: list[dict[str, Any]]) -> None:
        """What another client does."""
        with self.lock:
            self.nodes[name]["spec"]["taints"] = taints
            self.changed(name)

    def changed(self, name: str) -> None:
        self._version += 1
        self.nodes[name]["metadata"]["resourceVersion"] = str(self._version)

    def taints(self, name: str) -> list[dict[str, Any]]:
        with self.lock:
            found: list[dict[str, Any]] = list(self.nodes[name]["spec"].get("taints", []))
            return found

    def answered(self, name: str) -> int:
        """How often the node was read since its kubelet last said something."""
        with self.lock:
            return self.looks.get(name, 0)

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def up(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.credentials / "ca.crt", self.credentials / "key.pem")
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if headers.get("Authorization") != f"Bearer {self.token}":
                return 401, {"message": "Unauthorized"}
            if path in self.config_maps:
                data = self.config_maps[path]
                for key, value in (json.loads(body)["data"] if method == "PATCH" else {}).items():
                    data.pop(key, None)
                    data |= {} if value is None else {key: value}
                return 200, {"kind": "ConfigMap", **({"data": data} if data else {})}
            name = path.removeprefix(NODES) if path.startswith(NODES) else ""
            node = self.nodes.get(name)
            if node is None:
                return 404, {"message": f'nodes "{name}" not found'}
            if method == "GET":
                self.looks[name] = self.looks.get(name, 0) + 1
                if name in self.flickering and self.looks[name] % 2:
                    node = copy.deepcopy(node)
                    node["status"]["allocatable"]["nvidia.com/gpu"] = str(self.flickering[name])
                return 200, node
            if self.before_patch is not None:
                self.set_taints(name, self.before_patch)
                self.before_patch = None
            status, answer = self._patch(node, headers, json.loads(body))
            self.patches.append(Patch(name, status, time.monotonic()))
            return status, answer

    def _patch(self, node: dict[str, Any], headers: Any, patch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if headers.get("Content-Type") != "application/merge-patch+json":
            return 415, {"message": "the body of the request was in an unknown format"}
        if patch.keys() != {"metadata", "spec"} or patch["spec"].keys() != {"taints"}:
            return 422, {"message": "more than taints"}
        if patch["metadata"] != {"resourceVersion": node["metadata"]["resourceVersion"]}:
            return 409, {"message": "the object has been modified; please apply your changes to the latest version"}
        node["spec"]["taints"] = patch["spec"]["taints"]
        self.changed(node["metadata"]["name"])
        return 200, node


class _Handler(BaseHTTPRequestHandler):
    api: FakeApi
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        self._reply(b"")

    def do_PATCH(self) -> None:
        self._reply(self.rfile.read(int(self.headers["Content-Length"])))

    def _reply(self, body: bytes) -> None:
        status, answer = self.api.answer(self.command, self.path.removeprefix(API), self.headers, body)
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests show what the controller says."""


def make_certificate(folder: Path) -> None:
    """A key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake-api")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
