"""The wait for an ACME server's certificate, and what it says when there is none; a real sshd, a stand-in for kubectl."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from host import asking
from host.errors import HostError
from host.issued import Noted, parse
from host.values import UNKNOWN, plain
from tests.provider.conftest import ControlPlane, connection, run_with
from tests.support.ssh_server import SshServer

REQUEST = "chat.example.org https://acme.example.org/directory"
REMEDY = "Mend it."
# Answers from a folder: one file for each note, which the next look finds changed.
KUBECTL = """\
#!/bin/sh
case "$*" in
*"-n default annotate secret traefik-acme qwen3-vl/acme-next-attempt-"*) echo retried >>{notes}/retries ;;
*"-n default get secret traefik-acme"*)
  note=$(echo "$*" | sed 's/.*acme-//; s/}}.*//')
  cat {notes}/$note 2>/dev/null
  [ "$note" != message ] || {{ echo x >>{notes}/looks; [ ! -e {notes}/then.sh ] || sh {notes}/then.sh {notes}; }} ;;
*) exit 9 ;;
esac
"""


@pytest.fixture
def notes(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    control_plane.server.program("kubectl", KUBECTL.format(notes=folder))
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.05)
    return folder


def note(folder: Path, **values: str) -> None:
    for name, value in values.items():
        (folder / name).write_text(value)


def inputs(server: SshServer, deadline: float = 120) -> dict[str, Any]:
    return {
        "namespace": "default",
        "secretName": "traefik-acme",
        "request": REQUEST,
        "peers": [connection(server, "gone", port=1), connection(server)],
        "deadlineSeconds": deadline,
        "remedy": REMEDY,
    }


def test_what_the_script_prints() -> None:
    text = "state\tfailed\nrequest\t\nfailures\t2\nmessage\tdns: no such name\n"
    assert parse(text) == Noted("failed", "", 2, "dns: no such name")
    assert str(parse("state\t\nrequest\t\nfailures\t\nmessage\t\n")) == "the issuer has not begun"


def test_it_is_waited_for_once_for_each_request(control_plane: ControlPlane, key: Path, notes: Path) -> None:
    server = control_plane.server
    note(notes, state="waiting", message="ordering a certificate")
    (notes / "then.sh").write_text(f"printf issued >$1/state; printf '{REQUEST}' >$1/request; printf '' >$1/message")
    preview = run_with(key).create("CertificateIssued", "acme", inputs(server), preview=True)
    assert preview.outputs["issuedFor"].value == UNKNOWN
    known = run_with(key).create("CertificateIssued", "acme", inputs(server))
    assert plain(known.outputs)["issuedFor"] == REQUEST
    assert (notes / "looks").read_text().count("x") == 2
    assert (notes / "retries").read_text() == "retried\n", (
        "one that pauses after a failure is asked to try at once, and once"
    )
    assert run_with(key).diff(known, inputs(server) | {"remedy": "other", "deadlineSeconds": 9}) == []
    assert run_with(key).diff(known, inputs(server) | {"request": "other.example.org"}) == ["request"]


def test_a_certificate_for_something_else_is_not_it(control_plane: ControlPlane, key: Path, notes: Path) -> None:
    note(notes, state="issued", request="other.example.org https://acme.example.org/directory")
    with pytest.raises(HostError, match=r"no certificate yet: issued\. Mend it"):
        run_with(key).create("CertificateIssued", "acme", inputs(control_plane.server, deadline=0.5))


def test_the_second_failure_is_said_in_the_servers_words(control_plane: ControlPlane, key: Path, notes: Path) -> None:
    """Not those of former runs: what stands there already may be mended."""
    note(notes, state="failed", failures="5", message="old news")
    (notes / "then.sh").write_text(
        "printf $(($(cat $1/failures) + 1)) >$1/failures; printf 'dns: no such name' >$1/message"
    )
    with pytest.raises(HostError, match=re.escape(f"{REQUEST}: no certificate yet: dns: no such name. {REMEDY}")):
        run_with(key).create("CertificateIssued", "acme", inputs(control_plane.server))
    assert (notes / "failures").read_text() == "8"
