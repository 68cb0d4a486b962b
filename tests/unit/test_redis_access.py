"""Redis's own files, tried on a real server where one is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.services.redis_files import ACCESS, access_list, redis_conf
from components.services.redis_single import PING

PASSWORD = "quotes \" and \\ and 'more' #~&*+@ of them"


def test_the_access_list_holds_no_password() -> None:
    assert PASSWORD not in access_list([PASSWORD])
    assert access_list([PASSWORD]) != access_list([PASSWORD + "x"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[list[str]]:
    """redis-cli towards a server that runs with our files, but for the port and the folders."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "users.acl").write_text(access_list([PASSWORD]))
    text = redis_conf(16).replace("port 6379", f"port {port}\nbind 127.0.0.1")
    text = text.replace(ACCESS, str(tmp_path)).replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "redis.conf").write_text(text)
    process = subprocess.Popen(["redis-server", str(tmp_path / "redis.conf")], stdout=subprocess.DEVNULL)
    client = ["redis-cli", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + 10
    while subprocess.run([*client, "ping"], capture_output=True).returncode != 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    yield client
    process.terminate()
    process.wait(10)


def ask(client: list[str], *command: str, password: str | None = PASSWORD) -> str:
    environment = {"PATH": "/usr/bin:/bin"} | ({"REDISCLI_AUTH": password} if password else {})
    done = subprocess.run([*client, *command], env=environment, capture_output=True, text=True, timeout=10)
    return (done.stdout + done.stderr).strip()


def test_clients_with_the_password_keep_chats(server: list[str]) -> None:
    assert ask(server, "set", "chat:1", "hello", "EX", "3600") == "OK"
    assert ask(server, "get", "chat:1") == "hello"
    assert int(ask(server, "ttl", "chat:1")) > 3590


@pytest.mark.parametrize("password", [None, "wrong-password-here"])
def test_nobody_else_gets_in(server: list[str], password: str | None) -> None:
    assert "NOAUTH" in ask(server, "get", "chat:1", password=password)


@pytest.mark.parametrize(
    "command",
    [("flushall",), ("flushdb",), ("config", "set", "maxmemory", "1"), ("shutdown",), ("acl", "list")],
)
def test_no_client_empties_stops_or_reconfigures_the_server(server: list[str], command: tuple[str, ...]) -> None:
    assert "NOPERM" in ask(server, *command)


def test_a_full_server_forgets_old_chats_instead_of_refusing_new_ones(server: list[str]) -> None:
    commands = "".join(f"set chat:{number} {'x' * 100_000} ex 3600\n" for number in range(400))
    environment = {"PATH": "/usr/bin:/bin", "REDISCLI_AUTH": PASSWORD}
    done = subprocess.run(server, input=commands, env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["OK"] * 400
    assert 0 < int(ask(server, "dbsize")) < 200, "40 MB do not fit into 16"


def test_the_probe_tells_an_open_door_from_a_shut_one(server: list[str], tmp_path: Path) -> None:
    script = PING.replace(ACCESS, str(tmp_path)).replace("-h 127.0.0.1", " ".join(server[1:]))
    for password, works in ((PASSWORD, True), ("another-password", False)):
        (tmp_path / "password").write_text(password)
        done = subprocess.run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        assert (done.returncode == 0) is works
        assert password not in done.stdout + done.stderr


def test_the_probe_shows_the_password_in_no_list_of_processes(server: list[str], tmp_path: Path) -> None:
    """Each program the probe starts writes down what `ps` would show of it: its command line and its environment."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("redis-cli", "sed", "tail"):
        there = programs / program
        there.write_text(f'#!/bin/sh\n{{ echo "$0 $@"; env; }} >>{tmp_path}/seen\nexec {shutil.which(program)} "$@"\n')
        there.chmod(0o755)
    (tmp_path / "password").write_text(PASSWORD)
    script = PING.replace(ACCESS, str(tmp_path)).replace("-h 127.0.0.1", " ".join(server[1:]))
    subprocess.run(["sh", "-c", script], env={"PATH": f"{programs}:/usr/bin:/bin"}, check=True)
    seen = (tmp_path / "seen").read_text()
    assert "redis-cli" in seen
    assert PASSWORD not in seen
    assert PASSWORD.replace("\\", "\\\\").replace('"', '\\"') not in seen
