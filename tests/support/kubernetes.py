"""etcd and API servers of the lab's own build as processes on loopback; no kubelet, no node."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.chat_processes import Process, free_port
from tests.support.engine import ROOT

TOKEN = "administrator-0123456789"
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: admin}}}}]
clusters: [{{name: it, cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
"""


def programs(*names: str) -> dict[str, Path]:
    """Program -> path; builds what is not there yet."""
    built = subprocess.run([ROOT / "tools/build", *names], check=True, capture_output=True, text=True).stdout
    folders = [Path(line.partition("\t")[2]) for line in built.splitlines()]
    return {path.name: path for folder in folders for path in folder.iterdir()}


class Etcd(Process):
    def __init__(self, program: Path, etcdctl: Path) -> None:
        super().__init__("etcd", free_port())
        self._program, self._etcdctl, self._peers = program, etcdctl, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        peers = f"http://127.0.0.1:{self._peers}"
        clients = ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        among = [
            "--listen-peer-urls",
            peers,
            "--initial-advertise-peer-urls",
            peers,
            "--initial-cluster",
            f"default={peers}",
        ]
        return [str(self._program), "--data-dir", str(self._directory / "data"), *clients, *among]

    def secrets(self) -> dict[str, bytes]:
        """What lies there, by name."""
        get = [str(self._etcdctl), "--endpoints", self.url, "get", "/registry/secrets/", "--prefix", "-w", "json"]
        found = json.loads(subprocess.run(get, check=True, capture_output=True).stdout)
        return {
            base64.b64decode(each["key"]).decode().rpartition("/")[2]: base64.b64decode(each["value"])
            for each in found.get("kvs", ())
        }


class ApiServer(Process):
    """Whoever shows TOKEN may do everything."""

    def __init__(self, program: Path, etcd: Etcd, encryption: Path, service_account: Path) -> None:
        super().__init__("kube-apiserver", free_port())
        self._program, self._etcd, self._encryption, self._service_account = program, etcd, encryption, service_account
        (self._directory / "tokens").write_text(f"{TOKEN},admin,1,system:masters\n")

    def command(self) -> list[str]:
        flags = {
            "etcd-servers": self._etcd.url,
            "secure-port": self.port,
            "bind-address": "127.0.0.1",
            "cert-dir": self._directory / "certificates",
            "token-auth-file": self._directory / "tokens",
            "authorization-mode": "RBAC",  # without it nobody may come without a name
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": "10.96.0.0/24",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._service_account,
            "service-account-signing-key-file": self._service_account,
            "disable-admission-plugins": "ServiceAccount",
            "encryption-provider-config": self._encryption,
            "encryption-provider-config-automatic-reload": "true",
        }
        return [str(self._program), *(f"--{name}={value}" for name, value in flags.items())]

    def start(self, within: float = 600) -> Self:
        """Takes ten seconds alone on a machine, minutes beside much else."""
        return super().start(within)

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/readyz") == b"ok"
        except OSError:
            return False

    def kubeconfig(self) -> str:
        return KUBECONFIG.format(port=self.port, token=TOKEN)

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """The answer's body. Raises OSError if there is none, or an error."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60, context=_anybody()) as answer:
            return bytes(answer.read())

    def make(self, path: str, body: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> None:
        """An object, and its state where one is given. Fails with the answer that refuses it."""
        try:
            made = json.loads(self.ask("POST", path, body))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {body['metadata']['name']}: {error.read().decode()}") from error
        if status is not None:
            self.ask("PUT", f"{path}/{body['metadata']['name']}/status", made | {"status": status})

    def put_secret(self, name: str, value: str) -> None:
        """Made or changed."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"value": value}}
        path = "/api/v1/namespaces/default/secrets"
        try:
            self.ask("PUT", f"{path}/{name}", body)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            self.ask("POST", path, body)

    def secret(self, name: str) -> str:
        found = json.loads(self.ask("GET", f"/api/v1/namespaces/default/secrets/{name}"))
        return base64.b64decode(found["data"]["value"]).decode()


def _anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


NOT_ENCRYPTED = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources: [{resources: [secrets], providers: [{identity: {}}]}]
"""


def service_account_key(path: Path) -> Path:
    """Makes it there."""
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
    return path


@contextmanager
def small_cluster(folder: Path) -> Iterator[tuple[Etcd, ApiServer]]:
    """One etcd and one API server that keeps Secrets in clear, with their files in `folder`."""
    found = programs("etcd", "kubernetes")
    keys = folder / "encryption.yaml"
    keys.write_text(NOT_ENCRYPTED)
    account = service_account_key(folder / "service-account.key")
    with (
        Etcd(found["etcd"], found["etcdctl"]) as etcd,
        ApiServer(found["kube-apiserver"], etcd, keys, account) as server,
    ):
        yield etcd, server


class Clients:
    """Write Secrets by one API server and read them by another, all the time; `failed` is what went wrong."""

    def __init__(self, servers: tuple[ApiServer, ...]) -> None:
        self._servers = servers
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.failed: list[str] = []
        self.done = 0

    def _work(self) -> None:
        while not self._end.is_set():
            writer, reader = self._servers[self.done % 2], self._servers[(self.done + 1) % 2]
            name, value = f"busy-{self.done % 7}", str(self.done)
            try:
                writer.put_secret(name, value)
                if (found := reader.secret(name)) != value:
                    self.failed.append(f"{name}: {found}, not {value}")
            except OSError as error:
                self.failed.append(f"{name}: {error}")
            self.done += 1
            time.sleep(0.05)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)
