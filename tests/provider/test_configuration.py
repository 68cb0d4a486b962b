"""One concern on one node: read, named, mended, adopted, taken away. Against a real sshd."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from host.errors import ConnectionLost, DeadlineExceeded, HostError
from host.kinds import PartlyCreated
from tests.provider.conftest import connection, run_with
from tests.support.provider import Engine, Refusal, Secret, file
from tests.support.ssh_server import SshServer

SCRIPTS = "tests/provider/scripts"


def script(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "path": f"{SCRIPTS}/{name}.sh",
        "environment": {},
        "deadlineSeconds": 60,
        "on": "node",
    } | fields


def processes_with(word: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in text:
            found.append(text)
    return found


def test_files_are_written_at_once_with_mode_owner_and_parents(tmp_path: Path, server: SshServer, key: Path) -> None:
    text = 'one\ttab\n\nünï `quotes\' "$(touch /tmp/no)"\n' * 50
    target = tmp_path / "a" / "b" / "x.conf"
    engine = run_with(key)
    known = engine.create(
        "Configuration",
        "n1-base",
        {
            "connection": connection(server),
            "files": {
                str(target): file(text, "0640", "daemon:adm"),
                str(tmp_path / "empty"): file(""),
                str(tmp_path / "with space"): file("no newline at the end"),
            },
        },
    )
    assert target.read_text() == text
    assert (tmp_path / "empty").read_text() == ""
    assert (tmp_path / "with space").read_text() == "no newline at the end"
    status = target.stat()
    assert (oct(status.st_mode)[-4:], target.owner(), target.group()) == ("0640", "daemon", "adm")
    assert oct(target.parent.stat().st_mode)[-3:] == "755"
    assert sorted(os.listdir(target.parent)) == ["x.conf"]
    assert engine.diff(known) == []
    assert not Path("/tmp/no").exists()


def test_the_state_holds_digests(tmp_path: Path, server: SshServer, key: Path) -> None:
    known = run_with(key).create(
        "Configuration",
        "n1-base",
        {
            "connection": connection(server),
            "files": {str(tmp_path / "x"): file("a long text " * 100), str(tmp_path / "s"): file(Secret("canary-1"))},
        },
    )
    files: Any = known.inputs["files"].value
    assert len(files[str(tmp_path / "x")].value["content"].value) == 64
    secret = files[str(tmp_path / "s")].value["content"]
    assert secret.is_secret
    assert "canary" not in str(secret)
    assert (tmp_path / "s").read_text() == "canary-1"
    assert len(known.outputs["applied"].value) == 64  # type: ignore[arg-type]
    assert not known.outputs["applied"].is_secret


def test_every_kind_of_file_drift_is_named(tmp_path: Path, server: SshServer, key: Path) -> None:
    names = ("content", "gone", "mode", "owner", "link", "fine")
    inputs = {"connection": connection(server), "files": {str(tmp_path / name): file("wanted\n") for name in names}}
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", inputs)
    (tmp_path / "content").write_text("other\n")
    (tmp_path / "gone").unlink()
    (tmp_path / "mode").chmod(0o666)
    os.chown(tmp_path / "owner", 1, 0)
    (tmp_path / "link").unlink()
    (tmp_path / "precious").write_text("not ours\n")
    (tmp_path / "link").symlink_to(tmp_path / "precious")

    engine = run_with(key)
    leaf = {"content": "content", "gone": "content", "mode": "mode", "owner": "owner", "link": "content"}
    assert engine.diff(known, inputs) == sorted(f'files["{tmp_path}/{name}"].{part}' for name, part in leaf.items())
    assert engine.texts("INFO").splitlines() == [
        f"n1: drifted: file {tmp_path}/content (other content)",
        f"n1: drifted: file {tmp_path}/gone (missing)",
        f"n1: drifted: file {tmp_path}/mode (mode 0666, wanted 0644)",
        f"n1: drifted: file {tmp_path}/owner (owner daemon:root, wanted root:root)",
        f"n1: drifted: file {tmp_path}/link (a symbolic link)",
    ]
    inode = (tmp_path / "fine").stat().st_ino, (tmp_path / "mode").stat().st_ino
    engine.update(known, inputs)
    assert all((tmp_path / name).read_text() == "wanted\n" for name in names)
    assert (tmp_path / "precious").read_text() == "not ours\n"
    assert f"{tmp_path}/link: replaced the symbolic link, its target is untouched" in engine.texts("INFO")
    # What was right, or only had another mode, was not written anew.
    assert inode == ((tmp_path / "fine").stat().st_ino, (tmp_path / "mode").stat().st_ino)
    assert engine.diff(known, inputs) == []


def test_a_folder_in_the_way_is_an_error_that_says_so(tmp_path: Path, server: SshServer, key: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(HostError, match=r"n1: .*/x is a directory; a file is wanted there"):
        run_with(key).create(
            "Configuration", "n1-base", {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}}
        )


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, key: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with SshServer(tmp_path / "sshd", key, mounts={str(small): "tmpfs 64k"}) as server:
        inputs = {"connection": connection(server), "files": {f"{small}/x": file("first\n")}}
        engine = run_with(key)
        known = engine.create("Configuration", "n1-base", inputs)
        inputs["files"] = {f"{small}/x": file("much\n" * 50_000)}
        with pytest.raises(
            HostError, match=r"(?s)n1: .*No space left on device.*it is unchanged; the disk is full. Free space"
        ):
            engine.update(known, inputs)
        inputs["files"] = {f"{small}/x": file("first\n")}
        assert run_with(key).diff(known, inputs) == []


def test_a_file_that_is_no_longer_wanted_goes_unless_changed_by_hand(
    tmp_path: Path, server: SshServer, key: Path
) -> None:
    where = connection(server)
    engine = run_with(key)
    names = ("kept", "dropped", "touched")
    known = engine.create(
        "Configuration", "n1-base", {"connection": where, "files": {str(tmp_path / n): file("x\n") for n in names}}
    )
    (tmp_path / "touched").write_text("mine\n")
    fewer = {"connection": where, "files": {str(tmp_path / "kept"): file("x\n")}}
    assert engine.diff(known, fewer) == [f'files["{tmp_path}/{name}"]' for name in ("dropped", "touched")]
    engine.update(known, fewer)
    assert [(tmp_path / name).exists() for name in names] == [True, False, True]
    assert f"{tmp_path}/touched: no longer wanted, but changed by hand; left in place" in engine.texts("INFO")


def test_a_node_that_is_already_so_is_adopted(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "files": {str(tmp_path / "x"): file("y\n")}}
    run_with(key).create("Configuration", "n1-base", inputs)
    before = (tmp_path / "x").stat().st_ino
    server.clear_log()
    engine = run_with(key)
    engine.create("Configuration", "n1-base", inputs)
    assert "n1: already as wanted; adopted without a change" in engine.texts("INFO")
    assert (tmp_path / "x").stat().st_ino == before
    assert (server.connections(), server.sessions()) == (1, 1)


def test_looking_costs_one_connection_and_one_round_trip(tmp_path: Path, server: SshServer, key: Path) -> None:
    keep = script("keep_value", environment={"TARGET": str(tmp_path / "v")}, stdin=Secret("hidden"))
    inputs = {
        "connection": connection(server),
        "files": {str(tmp_path / f"f{index}"): file(f"{index}\n") for index in range(40)},
        "scripts": [keep, script("keep_once", environment={"TARGET": str(tmp_path / "v")})],
    }
    known = run_with(key).create("Configuration", "n1-base", inputs)
    server.clear_log()
    engine = run_with(key)
    assert engine.diff(known, inputs) == []
    assert (server.connections(), server.sessions()) == (1, 1)


def test_resources_of_a_node_share_one_connection(tmp_path: Path, server: SshServer, key: Path) -> None:
    engine = run_with(key)
    where = connection(server)
    names = [f"n1-part{index}" for index in range(12)]
    work = [
        engine.create_async("Configuration", name, {"connection": where, "files": {str(tmp_path / name): file("x")}})
        for name in names
    ]
    results = engine.together(
        *work, *(engine.create_async("Facts", f"facts{i}", {"connection": where}) for i in range(12))
    )
    assert [result for result in results if isinstance(result, BaseException)] == []
    assert server.connections() == 1
    assert all((tmp_path / name).exists() for name in names)


def test_scripts_check_then_apply_with_their_secret_by_standard_input(
    tmp_path: Path, server: SshServer, key: Path
) -> None:
    target = tmp_path / "kept"
    inputs = {
        "connection": connection(server),
        "scripts": [script("keep_value", environment={"TARGET": str(target)}, stdin=Secret("canary-secret"))],
    }
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", inputs)
    assert target.read_text() == "canary-secret\n"
    assert engine.diff(known, inputs) == []
    target.write_text("other\n")
    engine = run_with(key)
    assert engine.diff(known, inputs) == ["scripts[0].sha256"]
    assert engine.texts("INFO") == f"n1: drifted: script keep_value ({target} does not hold it)"
    engine.update(known, inputs)
    assert target.read_text() == "canary-secret\n"
    inputs["scripts"] = [script("keep_value", environment={"TARGET": str(target)}, stdin=Secret("canary-new"))]
    assert "scripts[0].stdin" in engine.diff(known, inputs)
    known = engine.update(known, inputs)
    assert target.read_text() == "canary-new\n"
    stored = f"{known.inputs}{known.outputs}"
    assert "canary" not in stored
    assert "canary" not in server.log()
    assert "canary" not in str(engine.messages)


def test_material_comes_from_a_peer_only_when_it_is_needed(tmp_path: Path, server: SshServer, key: Path) -> None:
    target = tmp_path / "joined"
    inputs = {
        "connection": connection(server),
        "scripts": [script("keep_once", environment={"TARGET": str(target)}, material=f"{SCRIPTS}/mint_value.sh")],
        # The first one does not answer, the second is the node itself.
        "peers": [connection(server, "gone", port=1), connection(server), connection(server, "peer")],
    }
    engine = run_with(key)
    known = engine.create("Configuration", "n1-member", inputs)
    value = target.read_text().strip()
    assert value.startswith("minted-")
    assert value not in str(engine.messages) + str(known)
    server.clear_log()
    engine = run_with(key)
    assert engine.diff(known, inputs) == []
    assert server.connections() == 1
    target.unlink()
    inputs["peers"] = [connection(server, "gone", port=1)]
    with pytest.raises(
        HostError,
        match=r"n1: no peer can run .*mint_value.sh now; one ready control plane is needed. gone: cannot connect",
    ):
        engine.update(known, inputs)


def test_an_apply_that_fails_shows_its_reason_and_no_secret(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "scripts": [script("fail", stdin=Secret("canary-shown"))]}
    engine = run_with(key)
    with pytest.raises(PartlyCreated) as caught:
        engine.create("Configuration", "n1-base", inputs)
    shown = engine.host.secrets.redact(str(caught.value))
    assert shown == f"n1: {SCRIPTS}/fail.sh apply failed (exit 7): cannot use [secret] here"
    assert "canary" not in str(engine.messages)


def test_a_deadline_leaves_no_process_behind(tmp_path: Path, server: SshServer, key: Path) -> None:
    nap = "86399.125"
    inputs = {
        "connection": connection(server),
        "scripts": [script("hang", environment={"NAP": nap}, deadlineSeconds=2)],
    }
    start = time.monotonic()
    with pytest.raises(
        HostError,
        match=r"n1: .*hang.sh ran past its deadline of 2 s and was ended with everything it started.*before the wait",
    ):
        run_with(key).create("Configuration", "n1-base", inputs)
    assert time.monotonic() - start < 15
    assert processes_with(nap) == []


def test_a_node_that_reboots_is_waited_for(
    tmp_path: Path, server: SshServer, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.applying._SETTLE_SECONDS", 0.1)
    inputs = {
        "connection": connection(server),
        "files": {str(tmp_path / "x"): file("y")},
        "scripts": [script("reboot_once", environment={"TARGET": str(tmp_path / "rebooted")})],
    }
    engine = run_with(key, rebootTimeoutSeconds="20")
    known = engine.create("Configuration", "n1-base", inputs)
    assert (
        "the connection ended while tests/provider/scripts/reboot_once.sh ran; the node may be rebooting."
        in engine.texts("INFO")
    )
    assert server.connections() == 2
    assert engine.diff(known, inputs) == []


def test_a_node_that_does_not_come_back_is_given_up(
    tmp_path: Path, server: SshServer, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.applying._SETTLE_SECONDS", 0.1)
    stop = server.program("touch", f'#!/bin/sh\n/usr/bin/touch "$@"; kill {server._process.pid}\n')  # type: ignore[union-attr]
    assert stop.exists()
    inputs = {
        "connection": connection(server),
        "scripts": [script("reboot_once", environment={"TARGET": str(tmp_path / "rebooted")})],
    }
    engine = run_with(key, rebootTimeoutSeconds="3")
    start = time.monotonic()
    with pytest.raises(PartlyCreated, match=r"n1: cannot connect to .* connection refused"):
        engine.create("Configuration", "n1-base", inputs)
    assert 2 < time.monotonic() - start < 15


def test_away_in_preview_is_unknown_and_plans_nothing(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}}
    known = run_with(key).create("Configuration", "n1-base", inputs)
    server.stop()
    (tmp_path / "x").unlink()
    engine = run_with(key)
    assert engine.diff(known, inputs) == []
    assert engine.diff(known, {**inputs, "packages": {"new": ""}}) == ['packages["new"]']
    port = server.port
    assert engine.messages[0] == (
        "WARNING",
        f"n1: unknown: cannot connect to 127.0.0.1:{port}: connection refused; the node must be reachable over SSH. "
        "Check that it is powered on, its address and the network.",
    )
    assert engine.wait(
        engine.create_async("Facts", "n1-facts", {"connection": connection(server)}, preview=True)
    ).outputs["facts"].value == ("04da6b54-80e4-46f7-96ec-b56ff0331ba9")


def test_no_contact_means_none(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}}
    known = run_with(key).create("Configuration", "n1-base", inputs)
    server.clear_log()
    engine = Engine({"contact": "never", "knownHosts": "/nonexistent", "privateKeyFile": "/nonexistent"})
    (tmp_path / "x").unlink()
    assert engine.diff(known, inputs) == []
    assert engine.diff(known, {**inputs, "files": {str(tmp_path / "x"): file("z")}}) == [f'files["{tmp_path}/x"]']
    engine.create("Facts", "n1-facts", {"connection": connection(server)}, preview=True)
    with pytest.raises(HostError, match=r"ssh\.contact is `never`"):
        engine.create("Configuration", "n1-base", inputs)
    assert server.connections() == 0


def test_another_address_or_other_peers_are_only_recorded(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}, "peers": []}
    known = run_with(key).create("Configuration", "n1-base", inputs)
    moved = {
        **inputs,
        "connection": connection(server, address="localhost"),
        "peers": [connection(server, "peer")],
        "removal": [script("note")],
    }
    assert run_with(key).diff(known, moved) == []


def test_removal_runs_on_the_node_and_on_a_peer(tmp_path: Path, server: SshServer, key: Path) -> None:
    target = tmp_path / "notes"

    def note(text: str, **fields: Any) -> dict[str, Any]:
        return script("note", environment={"TARGET": str(target), "NOTE": text}, **fields) | {"name": text}

    inputs = {
        "connection": connection(server),
        "removal": [note("drain", on="peer"), note("reset"), note("forget", on="peer")],
        "peers": [connection(server, "peer")],
    }
    known = run_with(key).create("Configuration", "n1-member", inputs)
    run_with(key).delete(known)
    assert target.read_text().split() == ["drain", "reset", "forget"]

    target.unlink()
    inputs["connection"] = connection(server, port=1)
    dead = run_with(key)
    known.inputs = dead.wait(dead.check_async("Configuration", "n1-member", inputs)).inputs
    dead.delete(known)
    assert target.read_text().split() == ["drain", "forget"]
    assert "Skipped reset on the node." in dead.texts("WARNING")

    target.unlink()
    inputs["peers"] = []
    alone = run_with(key)
    known.inputs = alone.wait(alone.check_async("Configuration", "n1-member", inputs)).inputs
    alone.delete(known)
    assert not target.exists()
    assert alone.texts("WARNING").count("Skipped") == 3


def test_fewer_sessions_than_we_would_use_are_enough(tmp_path: Path, key: Path) -> None:
    with SshServer(tmp_path / "sshd", key, options={"MaxSessions": "1"}) as server:
        engine = run_with(key)
        results = engine.together(
            *(engine.create_async("Facts", f"f{index}", {"connection": connection(server)}) for index in range(6))
        )
        assert [result for result in results if isinstance(result, BaseException)] == []
        assert server.connections() == 1


def test_a_second_apply_waits_for_the_first(tmp_path: Path, server: SshServer, key: Path) -> None:
    lock = tmp_path / "run-lock" / "host-n1.lock"
    holder = subprocess.Popen(["flock", str(lock), "sleep", "2"])
    time.sleep(0.2)
    start = time.monotonic()
    run_with(key).create(
        "Configuration", "n1-base", {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}}
    )
    assert time.monotonic() - start > 1
    assert holder.wait(5) == 0


def test_a_sudo_user_works_as_root(tmp_path: Path, key: Path) -> None:
    # A user of another name, in an /etc that only this server's sessions see; what sudo does is the stand-in's.
    with SshServer(tmp_path / "sshd", key, mounts={"/etc": f"overlay {tmp_path}/etc"}) as server:
        server.inside("echo 'operator:x:0:0::/:/bin/sh' >>/etc/passwd; echo 'operator:*:1::::::' >>/etc/shadow")
        works = f'#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\necho "$*" >>{tmp_path}/sudo.log\n'
        server.program("sudo", works + "echo 'sudo: unable to resolve host x' >&2\nexec \"$@\"\n")
        where = connection(server, user="operator")
        inputs = {"connection": where, "files": {"/etc/written.conf": file(Secret("canary-x"), "0600")}}
        engine = run_with(key)
        known = engine.create("Configuration", "n1-base", inputs)
        assert server.inside("cat /etc/written.conf") == "canary-x"
        assert engine.diff(known, inputs) == []
        assert (tmp_path / "sudo.log").read_text().count("bash -c") == server.sessions() == 3
        assert "canary" not in (tmp_path / "sudo.log").read_text()

        server.program("sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
        refused = run_with(key)
        with pytest.raises(HostError, match=r"n1: user operator may not run sudo without a password .*NOPASSWD"):
            refused.create("Configuration", "n1-base", inputs)


def test_what_cannot_be_right_is_refused_before_any_contact(server: SshServer, key: Path) -> None:
    inputs = {
        "connection": connection(server),
        "files": {
            "relative": file("x"),
            "/a/../b": file("x"),
            "/c": file("x", mode="rw"),
            "/d": file("x", owner="root"),
        },
        "packages": {"bad name": "", "good": "1.0 2"},
        "units": {"chrony": {"enabled": True, "running": True}},
        "sysctls": {"a b": "1"},
        "scripts": [script("note", environment={"A-B": "x"}), script("note")],
    }
    with pytest.raises(Refusal) as caught:
        run_with(key).create("Configuration", "n1-base", inputs)
    assert str(caught.value).splitlines() == [
        'files["relative"]: `relative` is not an absolute plain path',
        'files["/a/../b"]: `/a/../b` is not an absolute plain path',
        'files["/c"].mode: `rw` is not an octal mode like 0644',
        'files["/d"].owner: `root` is not `user:group`',
        'sysctls["a b"]: `a b` is not a kernel parameter',
        'packages["bad name"]: `bad name` is not a package name',
        'packages["good"]: `1.0 2` is not a package version',
        'units["chrony"]: `chrony` is not a unit name with its type, like x.service',
        "scripts[0].environment: `A-B` is not a variable name",
        "scripts[1]: `note` stands twice; a script has one place in a configuration",
    ]
    assert server.connections() == 0


def test_refresh_names_drift_in_the_state(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}}
    known = run_with(key).create("Configuration", "n1-base", inputs)
    assert run_with(key).read(known)["drift"] == []
    (tmp_path / "x").unlink()
    engine = run_with(key)
    assert engine.read(known)["drift"] == [f"file {tmp_path}/x (missing)"]
    server.stop()
    away = run_with(key)
    assert away.read(known)["drift"] == []
    assert "unknown" in away.texts("WARNING")


def test_losing_the_node_while_it_is_read_is_unknown(tmp_path: Path, server: SshServer, key: Path) -> None:
    inputs = {"connection": connection(server), "files": {str(tmp_path / "x"): file("y")}}
    known = run_with(key).create("Configuration", "n1-base", inputs)
    server.program("timeout", "#!/bin/sh\nkill -KILL $PPID\nsleep 5\n")
    engine = run_with(key)
    assert engine.diff(known, inputs) == []
    assert "n1: unknown: the connection ended while read_state.sh ran" in engine.texts("WARNING")
    assert issubclass(ConnectionLost, HostError)
    assert issubclass(DeadlineExceeded, HostError)
