"""Whom we talk to and as whom: host keys, keys, agent, bastion. Counted in sshd's own log."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from host.errors import HostError, Refused, Unreachable
from tests.provider.conftest import connection, run_with
from tests.support.provider import Engine
from tests.support.ssh_server import SshServer, make_key


def facts_error(engine: Engine, where: dict[str, object], kind: type[HostError] = HostError) -> str:
    with pytest.raises(kind) as caught:
        engine.create("Facts", "facts", {"connection": where})
    return str(caught.value)


def test_a_wrong_host_key_gets_one_dial_and_no_log_in(tmp_path: Path, server: SshServer, key: Path) -> None:
    other = make_key(tmp_path / "other")
    engine = run_with(key)
    where = connection(server, hostKeys=[Path(f"{other}.pub").read_text()])
    start = time.monotonic()
    message = facts_error(engine, where, Refused)
    again = facts_error(engine, where, Refused)
    assert time.monotonic() - start < 1
    assert message == again
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{server.folder}/host_ed25519.pub"], capture_output=True, text=True
    ).stdout.split()[1]
    assert message.startswith(f"n1: 127.0.0.1:{server.port} shows host key ssh-ed25519 {shown}, known is SHA256:")
    assert "nothing was sent to it" in message
    assert server.connections() == 1
    assert server.log_in_attempts() == 0


def test_a_host_key_of_another_type_is_refused(tmp_path: Path, server: SshServer, key: Path) -> None:
    other = make_key(tmp_path / "other", "ecdsa")
    message = facts_error(run_with(key), connection(server, hostKeys=[Path(f"{other}.pub").read_text()]), Refused)
    assert "offers no host key of a known type (ecdsa-sha2-nistp256)" in message
    assert server.log_in_attempts() == 0


def test_an_unknown_host_is_not_dialled(tmp_path: Path, server: SshServer, key: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("# none yet\n")
    message = facts_error(run_with(key, knownHosts=str(known)), connection(server, hostKeys=[]), Refused)
    assert f"no host key is known for [127.0.0.1]:{server.port}" in message
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in message
    assert str(known) in message
    assert server.connections() == 0


@pytest.mark.parametrize("hashed", [False, True])
def test_known_hosts_is_read_as_openssh_writes_it(tmp_path: Path, server: SshServer, key: Path, hashed: bool) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("192.0.2.7 " + server.host_key() + "\n" + server.known_hosts_line())
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
        assert "127.0.0.1" not in known.read_text()
    engine = run_with(key, knownHosts=str(known))
    engine.create("Facts", "facts", {"connection": connection(server, hostKeys=[])})


def test_the_known_key_type_is_asked_for(tmp_path: Path, key: Path) -> None:
    with SshServer(tmp_path / "sshd", key, key_types=("ed25519", "ecdsa", "rsa")) as server:
        for kind in server.key_types:
            run_with(key).create("Facts", "facts", {"connection": connection(server, hostKeys=[server.host_key(kind)])})


def test_a_refused_key_is_offered_once(tmp_path: Path, server: SshServer) -> None:
    wrong = make_key(tmp_path / "wrong")
    engine = run_with(wrong)
    start = time.monotonic()
    message = facts_error(engine, connection(server), Refused)
    facts_error(engine, connection(server), Refused)
    assert time.monotonic() - start < 1
    assert re.match(
        rf"n1: 127.0.0.1:{server.port} refused user root with SHA256:\S+ \(from the sshPrivateKey\); ", message
    )
    assert server.connections() == 1
    assert server.log().count("Failed publickey") <= 1


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_private_keys_of_all_usual_types(tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / "id", kind)
    with SshServer(tmp_path / "sshd", key) as server:
        run_with(key).create("Facts", "facts", {"connection": connection(server)})
        from_file = Engine({"privateKeyFile": str(key)})
        from_file.create("Facts", "facts", {"connection": connection(server)})


def test_a_protected_key_is_named_without_its_text(tmp_path: Path) -> None:
    key = make_key(tmp_path / "id", passphrase="opensesame")
    with pytest.raises(HostError, match="sshPrivateKey: the private key is protected by a passphrase") as caught:
        run_with(key)
    assert key.read_text().splitlines()[1] not in str(caught.value)


def test_what_is_no_key_is_named_without_its_text(tmp_path: Path) -> None:
    bad = tmp_path / "id"
    bad.write_text("canary-not-a-key")
    with pytest.raises(HostError, match="sshPrivateKey: not a private key") as caught:
        run_with(bad)
    assert "canary" not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"ssh\.privateKeyFile: cannot read .*/none"):
        Engine({"privateKeyFile": str(tmp_path / "none")})


def test_the_agent_is_asked_when_no_key_is_given(
    tmp_path: Path, key: Path, server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        while not sock.exists():
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        assert "the SSH agent holds no key" in facts_error(Engine({}), connection(server))
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(sock)})
        Engine({}).create("Facts", "facts", {"connection": connection(server)})
    finally:
        agent.terminate()
        agent.wait()


def test_without_key_and_agent_the_ways_out_are_named(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    message = facts_error(Engine({}), connection(server))
    assert "no private key and no SSH agent" in message
    assert "sshPrivateKey, ssh.privateKeyFile" in message


def test_through_a_bastion_with_its_own_host_key(tmp_path: Path, server: SshServer, key: Path) -> None:
    with SshServer(tmp_path / "bastion", key, address="127.0.0.2") as bastion:
        jump = {"address": bastion.address, "port": bastion.port, "user": "root", "hostKeys": [bastion.host_key()]}
        engine = Engine({"privateKey": key.read_text(), "jump": json.dumps(jump)})
        for node in ("n1", "n2"):
            engine.create("Facts", f"{node}-facts", {"connection": connection(server, node)})
        assert bastion.connections() == 1
        assert server.connections() == 2
        assert bastion.sessions() == 0

        imposter = {**jump, "hostKeys": [server.host_key()]}
        bastion.clear_log()
        message = facts_error(
            Engine({"privateKey": key.read_text(), "jump": json.dumps(imposter)}), connection(server), Refused
        )
        assert "shows host key" in message
        assert bastion.log_in_attempts() == 0


def test_a_node_the_bastion_cannot_reach(tmp_path: Path, server: SshServer, key: Path) -> None:
    with SshServer(tmp_path / "bastion", key, address="127.0.0.2") as bastion:
        jump = {"address": bastion.address, "port": bastion.port, "hostKeys": [bastion.host_key()]}
        engine = Engine({"privateKey": key.read_text(), "jump": json.dumps(jump)})
        server.stop()
        message = facts_error(engine, connection(server), Unreachable)
        assert f"the bastion 127.0.0.2 cannot connect to 127.0.0.1:{server.port}" in message


def test_a_server_that_says_nothing_is_unreachable(key: Path, server: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        taken: list[socket.socket] = []
        threading.Thread(target=lambda: taken.append(mute.accept()[0]), daemon=True).start()
        start = time.monotonic()
        where = connection(server, port=mute.getsockname()[1])
        message = facts_error(run_with(key, connectTimeoutSeconds="1"), where, Unreachable)
        assert time.monotonic() - start < 6
        assert "accepts connections but does not speak SSH within 4 s" in message


def test_a_black_hole_costs_the_timeout_once(server: SshServer, key: Path) -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): nothing answers there.
    where = connection(server, address="192.0.2.1")
    engine = run_with(key, connectTimeoutSeconds="1")
    start = time.monotonic()
    messages = {
        str(error)
        for error in engine.together(*(engine.create_async("Facts", f"f{i}", {"connection": where}) for i in range(20)))
    }
    assert time.monotonic() - start < 2
    assert len(messages) == 1
    assert messages.pop().startswith(f"n1: cannot connect to 192.0.2.1:{server.port}: ")
