"""Facts, the gate and the kubeconfig, against a real sshd."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from host.errors import HostError, Unreachable
from host.values import UNKNOWN, plain
from tests.provider.conftest import ControlPlane, connection, run_with
from tests.support.provider import Engine, Refusal
from tests.support.ssh_server import SshServer


def test_facts_are_the_nodes(server: SshServer, key: Path) -> None:
    engine = run_with(key)
    known = engine.create("Facts", "n1-facts", {"connection": connection(server)}, preview=True)
    facts = plain(known.outputs)["facts"]
    assert facts["hostname"] == platform.node()
    assert facts["kernel"] == platform.release()
    assert facts["architecture"] == platform.machine()
    assert facts["cpus"] == len(os.sched_getaffinity(0))
    assert facts["machineId"] == Path("/etc/machine-id").read_text().strip()
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    assert facts["memoryMib"] == memory
    release = dict(
        line.strip().split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    assert facts["os"]["id"] == release["ID"].strip('"')
    assert facts["os"]["versionId"] == release["VERSION_ID"].strip('"')
    assert server.port in facts["listening"]
    assert abs(facts["clockOffsetSeconds"]) < 0.1
    disk = os.statvfs("/")
    assert abs(facts["rootDiskGib"] - disk.f_blocks * disk.f_frsize / 1024**3) < 1
    assert facts["sudo"] is True
    assert facts["secureBoot"] in ("off", "on", "enrolled")
    assert facts["reachable"] is True
    assert not facts["joined"]
    assert (server.connections(), server.sessions()) == (1, 1)


def test_a_clock_that_is_off_is_told(server: SshServer, key: Path) -> None:
    server.program("date", f"#!/bin/sh\necho {time.time() + 3600:.3f}\n")
    facts = plain(run_with(key).create("Facts", "f", {"connection": connection(server)}).outputs)["facts"]
    assert 3500 < facts["clockOffsetSeconds"] < 3600.1


def test_only_lasting_facts_are_a_change(server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server)}
    known = run_with(key).create("Facts", "n1-facts", inputs)
    server.program("df", "#!/bin/sh\n/usr/bin/df -Pk / | awk 'NR == 2 { $4 = 1 } 1'\n")
    server.program("ip", "#!/bin/sh\necho '1: eth9 inet 10.9.9.9/24 x'\n")
    assert run_with(key).diff(known, inputs) == []
    server.program("nproc", "#!/bin/sh\necho 64\n")
    engine = run_with(key)
    assert engine.diff(known, inputs) == ["facts"]
    assert f"n1: changed: cpus {len(os.sched_getaffinity(0))} -> 64" in engine.texts("INFO")
    server.clear_log()
    assert plain(engine.update(known, inputs).outputs)["facts"]["cpus"] == 64
    assert server.sessions() == 0  # what the diff read is what the update records


def test_facts_of_a_node_that_is_away(server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server)}
    known = run_with(key).create("Facts", "n1-facts", inputs)
    server.stop()
    engine = run_with(key)
    assert engine.create("Facts", "n1-facts", inputs, preview=True).outputs["facts"].value == UNKNOWN
    assert engine.diff(known, inputs) == []
    assert engine.texts("WARNING").count("n1: unknown: cannot connect") == 2
    with pytest.raises(Unreachable):
        engine.create("Facts", "n1-facts", inputs)


def test_the_gate_stops_with_all_findings_and_passes_warnings(key: Path) -> None:
    engine = run_with(key)
    with pytest.raises(Refusal, match=r"(?s)n1: one; rule\. do.*n2: two; rule\. do"):
        engine.create(
            "Gate", "gate", {"findings": ["n1: one; rule. do", "n2: two; rule. do"], "warnings": []}, preview=True
        )
    assert engine.create("Gate", "gate", {"findings": [], "warnings": ["n3: three"]})
    assert engine.texts("WARNING") == "n3: three"
    # Findings about nodes that could not be read stop nothing.
    engine.create("Gate", "gate", {"findings": UNKNOWN, "warnings": UNKNOWN}, preview=True)


class Authority:
    """A certificate authority that signs client certificates like kubeadm's."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("kubernetes", self.key.public_key(), 3650)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def _sign(self, name: str, public: Any, days: float) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        start = now - datetime.timedelta(days=400)
        return (
            builder.not_valid_before(start)
            .not_valid_after(now + datetime.timedelta(days=days))
            .sign(self.key, hashes.SHA256())
        )

    def admin_conf(self, days: float) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("kubernetes-admin", key.public_key(), days).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        data = {
            name: base64.b64encode(value).decode()
            for name, value in (("ca", self.pem), ("crt", certificate), ("key", private))
        }
        return yaml.safe_dump(
            {
                "clusters": [
                    {
                        "name": "k",
                        "cluster": {"certificate-authority-data": data["ca"], "server": "https://10.0.0.1:6443"},
                    }
                ],
                "users": [
                    {"name": "a", "user": {"client-certificate-data": data["crt"], "client-key-data": data["key"]}}
                ],
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "a"}}],
                "current-context": "c",
            }
        )


@pytest.fixture
def control_plane(tmp_path: Path, key: Path) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path, key)
    with made.server:
        yield made


def test_the_kubeconfig_points_at_the_endpoint_and_stays_secret(control_plane: ControlPlane, key: Path) -> None:
    authority, server = Authority(), control_plane.server
    control_plane.put(authority.admin_conf(300))
    inputs = {"peers": [connection(server, "gone", port=1), connection(server)], "server": "https://10.77.0.10:6443"}
    engine = run_with(key)
    preview = engine.create("Kubeconfig", "kubeconfig", inputs, preview=True).outputs
    assert preview["kubeconfig"].is_secret
    assert preview["kubeconfig"].value == UNKNOWN
    known = engine.create("Kubeconfig", "kubeconfig", inputs)
    assert known.outputs["kubeconfig"].is_secret
    config = yaml.safe_load(str(known.outputs["kubeconfig"].value))
    assert config["clusters"][0]["cluster"]["server"] == "https://10.77.0.10:6443"
    assert config["users"] == yaml.safe_load(control_plane.conf.read_text())["users"]
    assert known.outputs["clusterId"].value == hashlib.sha256(authority.pem).hexdigest()
    assert run_with(key).diff(known, inputs) == []
    assert run_with(key).diff(known, {**inputs, "server": "https://other:6443"}) == ["server"]

    # kubeadm renews the client certificate: nobody's business until ours comes to its end.
    control_plane.put(authority.admin_conf(365))
    assert run_with(key).diff(known, inputs) == []
    control_plane.put(Authority().admin_conf(365))
    engine = run_with(key)
    assert engine.diff(known, inputs) == ["clusterId", "kubeconfig"]
    renewed = engine.update(known, inputs)
    assert renewed.outputs["clusterId"].value != known.outputs["clusterId"].value
    control_plane.put(None)
    away = run_with(key)
    assert away.diff(renewed, inputs) == []
    assert "kubeconfig: no control plane could give it" in away.texts("WARNING")
    with pytest.raises(HostError, match=r"gone: cannot connect.*n1: no /etc/kubernetes/admin\.conf"):
        run_with(key).create("Kubeconfig", "kubeconfig", inputs)


def test_a_kubeconfig_near_its_end_is_renewed(control_plane: ControlPlane, key: Path) -> None:
    authority = Authority()
    control_plane.put(authority.admin_conf(10))
    inputs = {"peers": [connection(control_plane.server)], "server": "https://10.77.0.10:6443"}
    known = run_with(key).create("Kubeconfig", "kubeconfig", inputs)
    engine = run_with(key)
    assert engine.diff(known, inputs) == []
    assert "Run `kubeadm certs renew admin.conf`" in engine.texts("WARNING")
    control_plane.put(authority.admin_conf(365))
    engine = run_with(key)
    assert engine.diff(known, inputs) == ["kubeconfig"]
    assert run_with(key).diff(engine.update(known, inputs), inputs) == []


def test_no_contact_judges_nothing(control_plane: ControlPlane, key: Path) -> None:
    control_plane.put(Authority().admin_conf(300))
    inputs = {"peers": [connection(control_plane.server)], "server": "https://10.77.0.10:6443"}
    known = run_with(key).create("Kubeconfig", "kubeconfig", inputs)
    control_plane.server.clear_log()
    assert Engine({"contact": "never"}).diff(known, inputs) == []
    assert control_plane.server.connections() == 0
