"""Three Redis pods and their proxy as processes on loopback: the product's own files and programs, an address for each member."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from components.services.redis_files import (
    ACCESS,
    DATA,
    HEALTH_PORT,
    PORT,
    STATE,
    haproxy_cfg,
    member_conf,
    members_access_list,
    members_file,
    sentinel_conf,
    sentinel_users,
)
from tests.support.chat_processes import ROOT, free_port, own_network

SCRIPTS = ROOT / "components/services/scripts"
PASSWORD = 'quotes " and \\ of a client'
INTERNAL = "0123456789abcdef" * 3
PARTS = ("files", "access", "data", "state")
NAMES = ("redis-0", "redis-1", "redis-2")
NETWORK = own_network(70)


def address(name: str) -> str:
    return f"{NETWORK}.{int(name[-1]) + 1}"


def client(host: str, port: int, password: str = PASSWORD, user: str = "default", patience: float = 10) -> redis.Redis:
    """Without retries: an error is what the test wants to see."""
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return redis.Redis(host=host, port=port, username=user, password=password, socket_timeout=patience, retry=retry)


def wait(done: Callable[[], bool], seconds: float, why: Callable[[], str]) -> float:
    """Seconds it took; fails with `why` after `seconds`."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() < started + seconds, why()
        time.sleep(0.05)
    return time.monotonic() - started


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def on_loopback(text: str, port: int, health_port: int) -> str:
    """HAProxy's configuration with other ports, and nobody outside reaches them."""
    for said, here in ((PORT, port), (HEALTH_PORT, health_port)):
        assert f"bind :{said}\n" in text
        text = text.replace(f"bind :{said}\n", f"bind 127.0.0.1:{here}\n")
    return text


@dataclass(frozen=True, slots=True)
class Passwords:
    """What is taken of clients, and of members, who show the first of theirs."""

    clients: tuple[str, ...] = (PASSWORD,)
    members: tuple[str, ...] = (INTERNAL,)


class Pod:
    """One member. Its volume is new with every `create`, and kept by `restart_redis`, as a pod's is."""

    def __init__(self, name: str, folder: Path, memory_mib: int) -> None:
        self.passwords = Passwords()
        self.name, self.address = name, address(name)
        self._folder = folder / name
        self._memory_mib = memory_mib
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def create(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for part in PARTS:
            (self._folder / part).mkdir(parents=True)
        for script in SCRIPTS.glob("redis_*.sh"):
            shutil.copy(script, self._folder / "files")
        bind = f"bind {self.address}\n"
        self._write("files/members", members_file({name: address(name) for name in NAMES}))
        self._write("files/redis.conf", bind + member_conf(self._memory_mib))
        self._write("files/sentinel.conf", bind + sentinel_conf())
        self._write("access/internal", self.passwords.members[0])
        self._write("access/users.acl", members_access_list(self.passwords.clients, self.passwords.members))
        self._write("access/sentinel-users", sentinel_users(self.passwords.members))
        self.start("redis_start.sh")
        self.start("redis_sentinel.sh")

    def _write(self, path: str, text: str) -> None:
        for place, part in ((ACCESS, "access"), (DATA, "data"), (STATE, "state")):
            text = re.sub(rf" {place}(?=/|$)", f" {self._folder / part}", text, flags=re.MULTILINE)
        (self._folder / path).write_text(text)

    def environment(self) -> dict[str, str]:
        folders = {part.upper(): str(self._folder / part) for part in PARTS}
        named = {"HOSTNAME": self.name, "SELF": self.address, "LOOKUP": str(self._folder.parent / "lookup")}
        return {"PATH": os.environ["PATH"], **named, **folders}

    def run(self, script: str, *arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        argv = [str(self._folder / "files" / script), *arguments]
        return subprocess.run(argv, env=self.environment(), capture_output=True, text=True, timeout=seconds)

    def start(self, script: str) -> None:
        with (self._folder / f"{script}.log").open("ab") as log:
            self.running[script] = subprocess.Popen(
                [self._folder / "files" / script],
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def restart_redis(self) -> None:
        self.tell(signal.SIGKILL, "redis_start.sh")
        self.start("redis_start.sh")

    def tell(self, number: int, *scripts: str) -> None:
        """To all of a container's processes. SIGSTOP to both containers is a node that was cut off."""
        for script in scripts or tuple(self.running):
            process = self.running[script]
            if process.poll() is None:
                os.killpg(process.pid, number)
                if number == signal.SIGKILL:
                    process.wait(10)

    def kill(self) -> None:
        self.tell(signal.SIGKILL)

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self._folder.glob("*.log"))

    def role(self) -> str:
        """`master` or `slave`; empty when it does not answer."""
        try:
            with client(self.address, PORT, self.passwords.members[0], "probe") as asked:
                return str(asked.info("replication")["role"])
        except redis.RedisError:
            return ""


class Group:
    """The pods by name and the proxy at `port`."""

    def __init__(self, folder: Path, memory_mib: int = 64) -> None:
        self.pods = {name: Pod(name, folder, memory_mib) for name in NAMES}
        self.port, self._health = free_port(), free_port()
        self._folder = folder
        self._proxy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:  # or its processes would be in the next group's way
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _begin(self) -> None:
        lookup = self._folder / "lookup"  # what DNS is in a cluster: it knows the pods that were made
        lookup.write_text('#!/bin/sh\ntest -d "$(dirname "$0")/${1%%.*}"\n')
        lookup.chmod(0o755)
        for pod in self.pods.values():  # a StatefulSet makes the next one when the one before is ready
            pod.create()
            wait(lambda pod=pod: pod.run("redis_probe.sh", "ready").returncode == 0, 30, pod.log)  # type: ignore[misc]
        self._start_proxy(INTERNAL)
        wait(lambda: self.led_to() == ["redis-0"], 30, self.log)

    def _start_proxy(self, internal: str) -> None:
        text = haproxy_cfg({name: address(name) for name in NAMES}, internal)
        (self._folder / "haproxy.cfg").write_text(on_loopback(text, self.port, self._health))
        self._proxy = subprocess.Popen(["haproxy", "-W", "-db", "-f", self._folder / "haproxy.cfg"])

    def _end_proxy(self) -> None:
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait(10)

    def _end(self) -> None:
        for pod in self.pods.values():
            pod.tell(signal.SIGCONT)
            pod.kill()
        self._end_proxy()

    def replace(self, passwords: Passwords, patience: float) -> None:
        """Proxies and members as the cluster replaces them when their Secrets change: members the last one first, each leaving
        before it ends, the next one when the new one has been ready for five seconds."""
        self._end_proxy()
        self._start_proxy(passwords.members[0])
        for pod in reversed(self.pods.values()):
            pod.run("redis_leave.sh", seconds=patience)
            pod.kill()
            pod.passwords = passwords
            pod.create()
            wait(lambda pod=pod: pod.run("redis_probe.sh", "ready").returncode == 0, patience, self.log)  # type: ignore[misc]
            time.sleep(5)

    @contextmanager
    def unseeing_proxy(self) -> Iterator[int]:
        """Port of a second proxy that holds all members for the primary, as each does between two looks."""
        port, health = free_port(), free_port()
        text = on_loopback(haproxy_cfg({name: address(name) for name in NAMES}, INTERNAL), port, health)
        text = re.sub(rf"(:{PORT}) check$", r"\1", text, flags=re.MULTILINE)
        config = self._folder / "unseeing.cfg"
        config.write_text(text)
        with subprocess.Popen(["haproxy", "-db", "-f", config]) as proxy:
            try:
                wait(lambda: accepts(port), 30, self.log)
                yield port
            finally:
                proxy.terminate()

    def led_to(self) -> list[str]:
        """The members that the proxy sends clients to, by its own metrics."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/metrics", timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return []
        up = re.findall(r'haproxy_server_status\{proxy="redis",server="(.+?)",state="UP"\} 1', text)
        return sorted(up)

    def writable(self) -> bool:
        try:
            with client("127.0.0.1", self.port) as through:
                return bool(through.set("probe", "1"))
        except redis.RedisError:
            return False

    def primary(self) -> Pod:
        (found,) = [pod for pod in self.pods.values() if pod.role() == "master"]
        return found

    def log(self) -> str:
        return "\n".join(f"--- {name}\n{pod.log()}" for name, pod in self.pods.items())


class Writer:
    """Chats written one after another through the proxy; `acknowledged` are those that Redis said OK to, with the time."""

    def __init__(self, group: Group) -> None:
        self._group, self._port = group, group.port
        self.password = PASSWORD  # of the connections that it makes from now on
        self.refused = 0  # how often a password was not taken
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged: dict[str, float] = {}
        self.gap = 0.0  # longest time between two

    def _write(self) -> None:
        number, last, through = 0, time.monotonic(), client("127.0.0.1", self._port, self.password, patience=1)
        while not self._end.is_set():
            number += 1
            key = f"chat:{number}"
            try:
                through.set(key, "x" * 1000, ex=3600)
            except redis.RedisError as error:
                self.refused += isinstance(error, redis.AuthenticationError)
                time.sleep(0.02)
                through.close()
                through = client("127.0.0.1", self._port, self.password, patience=1)
                continue
            now = time.monotonic()
            self.acknowledged[key], self.gap, last = now, max(self.gap, now - last), now
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        time.sleep(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(10)

    def until_writes_go_on(self, seconds: float, why: Callable[[], str]) -> None:
        """Until some that were acknowledged later than now."""
        now = time.monotonic()
        wait(lambda: sum(at > now for at in list(self.acknowledged.values())) > 20, seconds, why)

    def lost(self) -> dict[str, float]:
        """Asks once the proxy knows one primary only: until it has looked, it may end a connection to the former."""
        wait(lambda: len(self._group.led_to()) == 1, 40, self._group.log)
        acknowledged = dict(self.acknowledged)
        with client("127.0.0.1", self._port, self.password) as through:
            kept = through.mget(list(acknowledged))
        return {key: at for (key, at), value in zip(acknowledged.items(), kept, strict=True) if value is None}
