"""A canary in every secret input appears nowhere in clear: state, preview, diff, log, error, process lists."""

from __future__ import annotations

import gzip
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import ROOT, Lab
from tests.support.stack import Stack

CANARY = "canary-5d1f0c9e77"
API_KEY = "canary-5d1f0c9e77-api-key-0001"
TOKEN = "canary-5d1f0c9e77-gateway-0001"
TOKEN_BEFORE = "canary-5d1f0c9e77-gateway-0000"
PASSWORD_BEFORE = "canary-5d1f0c9e77-before"
MODEL_STORE = "canary-5d1f0c9e77-access:canary-5d1f0c9e77-model-store"
INGRESS_KEY = "canary-5d1f0c9e77-ingress-0001"
ACME_TOKEN = "canary-5d1f0c9e77-acme-dns-0001"
ACME_KEY = "canary-5d1f0c9e77-acme-eab-0001"
USER_HASH = f"$scrypt$n=32768,r=8,p=3${'canary5d1f0c9e77000000'}${'canary5d1f0c9e77hash0' * 2}A"

# Beside `sshPrivateKey`, which has to be the real one. A test compares with the config's secrets (tests/unit/test_rotation.py).
SECRETS = {
    "redisPassword": CANARY,
    "redisPasswordPrevious": PASSWORD_BEFORE,
    "modelStoreCredential": MODEL_STORE,
    "apiKeys.canary": API_KEY,
    "webuiUsers.canary": USER_HASH,
    "gatewayToken": TOKEN,
    "gatewayTokenPrevious": TOKEN_BEFORE,
    "ingressKey": INGRESS_KEY,
    "acmeDns.CLOUDFLARE_DNS_API_TOKEN": ACME_TOKEN,
    "acmeEabKey": ACME_KEY,
    "remoteWriteCredential": f"{CANARY}-remote-write",
    "alertUrls.canary": f"https://{CANARY}.example.com/alerts",
    "alertSigningSecrets.canary": f"{CANARY}-signing",
    "alertSmtpPassword": f"{CANARY}-mail",
    "alertHeartbeatUrl": f"https://{CANARY}.example.com/heartbeat",
    "grafanaAdminPassword": f"{CANARY}-grafana",
    "grafanaOidcSecret": f"{CANARY}-oidc",
    "logsS3AccessKey": f"{CANARY}-bucket",
    "logsS3SecretKey": f"{CANARY}-bucket-secret",
}


@pytest.fixture
def with_canaries(stack: Stack, lab: Lab, tmp_path: Path) -> Iterator[tuple[Stack, list[str]]]:
    """The stack with the SSH key given as a secret, another Redis password, an API key and a user more; put back afterwards.

    Gateway tokens, a certificate's key and what an ACME server wants are set although nothing asks for them: what is not used
    must not show either.
    """
    key = (lab.state / "id_ed25519").read_text()
    path = tmp_path / f"Pulumi.{stack.name}.yaml"
    other = Stack(stack.name, tmp_path)
    other.config["config"]["qwen3-vl:ssh"].pop("privateKeyFile", None)
    other.config["config"]["qwen3-vl:webui"] = {"login": {"kind": "password"}}
    other._command("preview")  # writes the config file that `config set` edits
    for name, value in {"sshPrivateKey": key, **SECRETS}.items():
        subprocess.run(
            [str(ROOT / "tools" / "engine"), "config", "set", "--secret", "--path", name, "--config-file", str(path)],
            env=other.environment(),
            input=value,
            text=True,
            check=True,
            capture_output=True,
        )
    other.reload(path)
    # All but the SSH key begin with the canary, the hash holds it without a hyphen.
    yield other, [CANARY, CANARY.replace("-", ""), key.splitlines()[2]]
    stack.up().ok()


def watch_processes(lab: Lab, node: str, seconds: int, seen: list[str]) -> None:
    seen.append(
        lab.shell(
            node, f"timeout {seconds} sh -c 'while :; do ps axwwe; sleep 0.2; done' || true", seconds=seconds + 60
        )
    )


def engine_logs() -> list[Path]:
    """What the engine logs by itself; it compresses them."""
    return [p for p in (ROOT / ".toolchain" / "home" / "logs").rglob("*.gz") if p.stat().st_mtime > time.time() - 600]


def test_no_secret_is_seen_anywhere(with_canaries: tuple[Stack, list[str]], lab: Lab, tmp_path: Path) -> None:
    stack, canaries = with_canaries
    seen: list[str] = []
    watchers = [threading.Thread(target=watch_processes, args=(lab, node, 40, seen)) for node in ("gpu-1", "master-1")]
    for watcher in watchers:
        watcher.start()
    # Commands only: the engine itself hands the config to the program in its environment, which only the same user can read.
    operator = subprocess.Popen(
        ["timeout", "40", "sh", "-c", "while :; do ps axww; sleep 0.2; done"],
        stdout=(tmp_path / "operator.txt").open("w"),
    )
    preview = stack.preview("--diff").ok()
    up = stack.up("--diff", "--logtostderr", "-v=5").ok()
    assert up.changes(), "another password must change something, or this test sees nothing"
    # an error must not tell either: break the run on purpose, with the secrets in it
    broken = Stack(stack.name, tmp_path)
    broken.config = stack.with_nodes(
        [n | {"address": "10.77.0.99"} if n["name"] == "gpu-2" else n for n in stack.setting("nodes")]
    ).config
    failed = broken.up("--refresh=false")
    operator.wait(timeout=60)
    for watcher in watchers:
        watcher.join(timeout=120)
    assert len(seen) == 2
    assert all("systemd" in text for text in seen)

    places = {
        "preview": preview.text,
        "up": up.text,
        "failed up": failed.text,
        "operator": (tmp_path / "operator.txt").read_text(),
    }
    places |= {f"node {i}": text for i, text in enumerate(seen)}
    state = Path(lab.state / "state")
    places |= {str(p.relative_to(state)): p.read_text(errors="replace") for p in state.rglob("*") if p.is_file()}
    assert any("stacks" in name for name in places), "the state must be among the places"
    places |= {p.name: p.read_text() for p in tmp_path.glob("events-*")}
    places |= {p.name: gzip.decompress(p.read_bytes()).decode(errors="replace") for p in engine_logs()}
    found = [(place, canary) for place, text in places.items() for canary in canaries if canary in text]
    assert found == []
