"""A Kubernetes control plane without nodes, as processes on loopback: etcd, API server, and a few controllers."""

from __future__ import annotations

import datetime
import json
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.lab import ROOT

LOOPBACK = "127.0.0.1"
START_SECONDS = 180


def built(name: str) -> Path:
    """Folder of the programs of one Go build; built now if nobody has needed it yet (minutes)."""
    done = subprocess.run([ROOT / "tools/build", name], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip().split("\t")[1])


def free_port(address: str = LOOPBACK) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Program:
    """A process with a log, ended by the end of the `with` block or by `stop`."""

    def __init__(self, folder: Path, name: str, command: Sequence[str | Path]) -> None:
        self.log = folder / f"{name}.log"
        self._command = [str(word) for word in command]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        (self._process.kill if kill else self._process.terminate)()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


class Authority:
    """Signs for servers and clients alike."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        self.file = folder / "ca.crt"
        self.file.write_bytes(self._sign(self._name, self._key.public_key(), (), authority=True))

    def issue(self, name: str, group: str | None = None, addresses: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        subject = x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        stem = name.replace(":", "-")
        certificate, private = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        certificate.write_bytes(self._sign(subject, key.public_key(), addresses))
        private.write_bytes(pem(key))
        return certificate, private

    def _sign(self, subject: x509.Name, public: Any, addresses: tuple[str, ...], *, authority: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, subject, public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if addresses:
            names = [x509.IPAddress(ip_address(each)) for each in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class ControlPlane:
    """`controllers` look every two seconds; nothing schedules or runs a pod."""

    def __init__(self, folder: Path, controllers: Sequence[str]) -> None:
        self.folder = folder
        self._controllers = controllers
        self._kubernetes = built("kubernetes")
        self._port = free_port()
        self._running = ExitStack()

    def __enter__(self) -> ControlPlane:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> None:
        authority = Authority(self.folder)
        self._ca = authority.file
        self.admin = self.kubeconfig("admin", certificate=authority.issue("admin", "system:masters"))
        signing, verifying = self.folder / "accounts.key", self.folder / "accounts.pub"
        key = ec.generate_private_key(ec.SECP256R1())
        # The one form of a private key that the API server reads here.
        form, none = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        signing.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        verifying.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
        etcd, peer = free_port(), free_port()
        client = f"http://{LOOPBACK}:{etcd}"
        self.run(
            "etcd",
            [
                built("etcd") / "etcd",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls=http://{LOOPBACK}:{peer}",
                "--unsafe-no-fsync",
            ],
        )
        tls = authority.issue("kube-apiserver", addresses=(LOOPBACK,))
        proxy = authority.issue("front-proxy")
        server = self.run(
            "kube-apiserver",
            [
                self._kubernetes / "kube-apiserver",
                f"--etcd-servers={client}",
                f"--bind-address={LOOPBACK}",
                f"--secure-port={self._port}",
                "--advertise-address=192.0.2.1",
                "--endpoint-reconciler-type=none",
                "--service-cluster-ip-range=10.97.0.0/24",
                "--authorization-mode=RBAC",
                f"--client-ca-file={self._ca}",
                f"--tls-cert-file={tls[0]}",
                f"--tls-private-key-file={tls[1]}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={signing}",
                f"--service-account-key-file={verifying}",
                "--disable-admission-plugins=ServiceAccount",
                f"--requestheader-client-ca-file={self._ca}",
                "--requestheader-allowed-names=front-proxy",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={proxy[0]}",
                f"--proxy-client-key-file={proxy[1]}",
            ],
        )
        end = time.monotonic() + START_SECONDS
        while self.try_kubectl("get", "--raw", "/readyz").returncode:
            if time.monotonic() > end or not server.runs:
                raise AssertionError(f"the API server is not ready: {server.said()}")
            time.sleep(0.5)
        manager = self.kubeconfig(
            "controller-manager", certificate=authority.issue("system:kube-controller-manager", "system:masters")
        )
        self.run(
            "kube-controller-manager",
            [
                self._kubernetes / "kube-controller-manager",
                f"--kubeconfig={manager}",
                f"--bind-address={LOOPBACK}",
                f"--secure-port={free_port()}",
                f"--controllers={','.join(self._controllers)}",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                "--horizontal-pod-autoscaler-sync-period=2s",
            ],
        )

    def run(self, name: str, command: Sequence[str | Path]) -> Program:
        """A further program that ends with the control plane."""
        return self._running.enter_context(Program(self.folder, name, command))

    def kubeconfig(self, name: str, *, token: str = "", certificate: tuple[Path, Path] | None = None) -> Path:
        user = (
            {"client-certificate": str(certificate[0]), "client-key": str(certificate[1])}
            if certificate
            else {"token": token}
        )
        cluster = {"server": f"https://{LOOPBACK}:{self._port}", "certificate-authority": str(self._ca)}
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": user}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return path

    def embedded(self, kubeconfig: Path) -> str:
        """The text of a kubeconfig with the files it names in it."""
        words = ["config", "view", "--kubeconfig", str(kubeconfig), "--flatten"]
        return self.kubectl(*words)

    def account(self, name: str, namespace: str) -> Path:
        """The kubeconfig of a service account: its rights and no others."""
        return self.kubeconfig(
            name, token=self.kubectl("create", "token", name, "-n", namespace, "--duration=1h").strip()
        )

    def try_kubectl(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._kubernetes / "kubectl", "--kubeconfig", self.admin, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def kubectl(self, *words: str, text: str = "") -> str:
        done = self.try_kubectl(*words, text=text)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def apply(self, objects: list[dict[str, Any]], manager: str = "pulumi-qwen3-vl") -> None:
        """Server-side, as the Kubernetes provider applies."""
        text = yaml.safe_dump_all(objects)
        self.kubectl("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-", text=text)
