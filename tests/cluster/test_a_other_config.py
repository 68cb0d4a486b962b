"""Another stack config, from bare nodes: other names, networks, login. First every mistake: one message, nothing half done."""

from __future__ import annotations

import copy
import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.lab import Lab
from tests.support.stack import Result, Stack
from tools import ask


@pytest.fixture(scope="module")
def bare(small: Lab) -> Lab:
    small.run("up", seconds=3600)
    small.run("reset")
    small.deliver_model()
    return small


@pytest.fixture
def stack(bare: Lab, tmp_path: Path) -> Stack:
    return Stack("small", tmp_path)


def node(stack: Stack, name: str) -> dict[str, object]:
    found: dict[str, object] = next(n for n in stack.setting("nodes") if n["name"] == name)
    return found


def refused(result: Result, *words: str) -> None:
    """The run failed, said why in one message, and showed no traceback."""
    assert result.code != 0, result.text[-3000:]
    assert "Traceback" not in result.text
    lines = [line for line in result.text.splitlines() if all(word in line for word in words)]
    assert lines, f"no line with {words}:\n{result.text[-3000:]}"
    assert not [op for op in result.changes().values() if op == "update"]


@contextmanager
def edited(lab: Lab, name: str, command: str, undo: str) -> Iterator[None]:
    lab.shell(name, f"sudo sh -c '{command}'")
    try:
        yield
    finally:
        lab.shell(name, f"sudo sh -c '{undo}'")


def test_a_missing_secret_stops_before_any_contact(stack: Stack) -> None:
    del stack.config["config"]["qwen3-vl:redisPassword"]
    refused(stack.preview(), "redisPassword", "missing", "pulumi config set --secret redisPassword")


def test_a_wrong_host_key_is_refused(stack: Stack, bare: Lab, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    text = (bare.state / "known_hosts").read_text()
    other = (Lab("lab").state / "known_hosts").read_text().split()[2]
    known.write_text("\n".join(" ".join([*line.split()[:2], other]) for line in text.splitlines()))
    stack.config["config"]["qwen3-vl:ssh"]["knownHosts"] = str(known)
    refused(stack.preview(), "head", "host key")


def test_a_wrong_key_is_refused(stack: Stack) -> None:
    stack.config["config"]["qwen3-vl:ssh"]["privateKeyFile"] = str(Lab("lab").state / "id_ed25519")
    refused(stack.preview(), "head", "ops")


def test_an_unsupported_system_is_named(stack: Stack, bare: Lab) -> None:
    with edited(
        bare,
        "box",
        'sed -i s/VERSION_ID=.*/VERSION_ID=\\"8\\"/ /etc/os-release',
        'sed -i s/VERSION_ID=.*/VERSION_ID=\\"12\\"/ /etc/os-release',
    ):
        refused(stack.preview(), "[os] box", "Debian 12")


def test_a_duplicate_machine_id_is_named(stack: Stack, bare: Lab) -> None:
    own = bare.shell("box", "cat /etc/machine-id").strip()
    head = bare.shell("head", "cat /etc/machine-id").strip()
    with edited(bare, "box", f"echo {head} > /etc/machine-id", f"echo {own} > /etc/machine-id"):
        refused(stack.preview(), "[machine-id]", "box", "head")


def test_a_wrong_address_is_unknown_in_preview_and_stops_up(stack: Stack, bare: Lab) -> None:
    wrong = copy.deepcopy(stack)
    lines = (bare.state / "known_hosts").read_text().splitlines()
    key = next(" ".join(line.split()[1:3]) for line in lines if "10.78.0.21" in line.split()[0])
    node(wrong, "box").update(address="10.78.0.99", hostKeys=[key])
    preview = wrong.preview()
    assert [line for line in preview.messages if line.startswith("box: unknown")], preview.text[-3000:]
    refused(wrong.up(), "box", "10.78.0.99")


def test_a_full_disk_is_named(stack: Stack, bare: Lab) -> None:
    with edited(
        bare, "box", "mount -t tmpfs -o size=1m tmpfs /var/cache/apt/archives", "umount /var/cache/apt/archives"
    ):
        refused(stack.up(), "box", "space")


@pytest.mark.chaos
def test_a_held_package_lock_is_waited_for_and_the_build_completes(stack: Stack, bare: Lab) -> None:
    # fcntl(2) as apt does it; the holder ends by itself after 20 seconds
    hold = (
        'perl -e "use Fcntl; open F, q(>>), q(/var/lib/dpkg/lock-frontend);'
        " fcntl(F, F_SETLK, pack(q(s s l! l! i), F_WRLCK, 0, 0, 0, 0));"
        ' sleep 20"'
    )
    bare.shell("box", f"sudo sh -c '{hold} >/dev/null 2>&1 &'")
    stack.up().ok()
    assert stack.preview("--expect-no-changes").ok().changes() == {}
    outputs = stack.outputs()
    assert "64x48" in ask.ask(ask.Service.of(outputs), "What do you see?", stack.name)


def answered(service: ask.Service, stack: Stack, seconds: float = 120) -> str:
    """The one gateway is replaced in place, and its address follows it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask.ask(service, "What do you see?", stack.name)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


@pytest.mark.chaos
def test_users_come_by_https_unless_somebody_wants_plain_http(stack: Stack) -> None:
    host = stack.setting("ingress")["host"]
    plain = copy.deepcopy(stack)
    plain.config["config"]["qwen3-vl:ingress"]["tls"] = {"kind": "none"}
    planned = plain.preview().ok()
    assert planned.changes()["traefik-tls-certificate"] == "delete"
    assert any("ingress.tls.kind: `none`; " in message for message in planned.messages)
    plain.up().ok()
    outputs = plain.outputs()
    assert (outputs["url"], "ingressCa" in outputs) == (f"http://{host}/", False)
    assert "64x48" in answered(ask.Service.of(outputs), plain)

    stack.up().ok()
    outputs = stack.outputs()
    assert outputs["url"] == f"https://{host}/"
    assert "64x48" in answered(ask.Service.of(outputs), stack)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        ask.ask(ask.Service.of(outputs | {"ingressCa": None}), "Who are you?", stack.name)
    connection = http.client.HTTPConnection(outputs["ingressAddress"], timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    response = connection.getresponse()
    assert (response.status, response.getheader("Location")) == (301, f"https://{host}/")
    connection.close()
    assert stack.preview("--expect-no-changes").ok().changes() == {}


@pytest.mark.chaos
def test_destroy_keeps_the_last_control_planes_data(stack: Stack, bare: Lab) -> None:
    stack.run("destroy", "--yes", "--skip-preview").ok()
    assert "member" in bare.shell("head", "sudo ls /var/lib/etcd")
    assert "no" in bare.shell("box", "sudo test -e /etc/kubernetes/kubelet.conf && echo yes || echo no")
