"""A node with pods as network namespaces of this machine, and the API that its network policy agent reads. Needs root.

The node has Flannel's bridge with its own pods; other nodes, their pods and the rest of the world are at the end of a wire.
A socket belongs to the namespace that its thread had entered when it made it.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

T = TypeVar("T")
NODE, OUTSIDE = "qwenvl-node", "qwenvl-outside"
GATEWAY, WIRE, WIRE_OUTSIDE = "10.244.1.1", "203.0.113.1", "203.0.113.2"
LISTS = {
    "/api/v1/namespaces": "Namespace",
    "/api/v1/nodes": "Node",
    "/api/v1/pods": "Pod",
    "/api/v1/services": "Service",
    "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice",
    "/apis/networking.k8s.io/v1/networkpolicies": "NetworkPolicy",
}
CLONE_NEWNET = 0x40000000
DIAL_SECONDS = 3.0  # a refusal is one at once; only what is dropped waits


def ip(*words: str, inside: str = "") -> None:
    done = subprocess.run(["ip", *(["-n", inside] if inside else []), *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)} in {inside or 'this machine'}: {done.stderr.strip()}")


def within(namespace: str, do: Callable[[], T]) -> T:
    """What `do` returns in a thread of that network namespace."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with Path("/run/netns", namespace).open() as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            found.append(do())
        except BaseException as error:  # handed to the caller
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


class PodNetwork:
    """`machines` are addresses beyond the wire; pods are added one by one. Everything listens where it is told to."""

    def __init__(self, node: str, machines: Iterable[str]) -> None:
        self.node, self._machines = node, tuple(machines)
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._inside: dict[str, str] = {}  # namespace by address

    def __enter__(self) -> Self:
        self._remove()
        for name in (NODE, OUTSIDE):
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", inside=name)
        ip("link", "add", "wire", "netns", NODE, "type", "veth", "peer", "name", "wire", "netns", OUTSIDE)
        ip("link", "add", "cni0", "type", "bridge", inside=NODE)
        for address, link, inside in (
            (f"{self.node}/24", "wire", NODE),
            (f"{WIRE}/30", "wire", NODE),
            (f"{GATEWAY}/24", "cni0", NODE),
            (f"{WIRE_OUTSIDE}/30", "wire", OUTSIDE),
            *((f"{machine}/32", "lo", OUTSIDE) for machine in self._machines),
        ):
            ip("addr", "add", address, "dev", link, inside=inside)
        for link, inside in (("wire", NODE), ("wire", OUTSIDE), ("cni0", NODE)):
            ip("link", "set", link, "up", inside=inside)
        ip("route", "add", "default", "via", WIRE_OUTSIDE, inside=NODE)
        ip("route", "add", "default", "via", WIRE, inside=OUTSIDE)
        for machine in self._machines:
            ip("route", "replace", f"{machine}/32", "via", WIRE_OUTSIDE, inside=NODE)
        # As kubernetes_packages.py sets them on a node.
        for key in ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"):
            subprocess.run(["ip", "netns", "exec", NODE, "sysctl", "-qw", f"{key}=1"], check=True)
        self._inside = {self.node: NODE} | dict.fromkeys(self._machines, OUTSIDE)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._remove()

    def _remove(self) -> None:
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            if line.startswith("qwenvl-"):
                ip("netns", "delete", line.split()[0])

    def add_pod(self, address: str) -> None:
        """A pod of the node, or, with an address that is not of its part of the network, of another node."""
        if not address.startswith(GATEWAY.rpartition(".")[0] + "."):
            ip("addr", "add", f"{address}/32", "dev", "lo", inside=OUTSIDE)
            ip("route", "add", f"{address}/32", "via", WIRE_OUTSIDE, inside=NODE)
            self._inside[address] = OUTSIDE
            return
        number = address.rpartition(".")[2]
        name = f"qwenvl-pod-{number}"
        ip("netns", "add", name)
        ip("link", "set", "lo", "up", inside=name)
        ip("link", "add", f"veth{number}", "netns", NODE, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"veth{number}", "master", "cni0", "up", inside=NODE)
        ip("addr", "add", f"{address}/24", "dev", "eth0", inside=name)
        ip("link", "set", "eth0", "up", inside=name)
        ip("route", "add", "default", "via", GATEWAY, inside=name)
        self._inside[address] = name

    def listen(self, address: str, *ports: int) -> None:
        for port in ports:
            listener = within(self._inside[address], lambda port=port: socket.create_server((address, port)))  # type: ignore[misc]
            self._selector.register(listener, selectors.EVENT_READ)

    def dial(self, source: str, target: str, port: int) -> bool:
        """Whether a connection is made. Refused and dropped are the same here."""

        def once() -> bool:
            try:
                socket.create_connection((target, port), DIAL_SECONDS, source_address=(source, 0)).close()
            except OSError:
                return False
            return True

        return within(self._inside[source], once)

    def _accept(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.2):
                connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                connection.close()


class ListsApi:
    """Lists of objects, as an API server in the node's network gives them; after a change, who watches is told to list again."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self._objects: dict[str, list[dict[str, Any]]] = {kind: [] for kind in LISTS.values()}
        self._version = 1
        self._changed = threading.Condition()
        self._running = ExitStack()

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                path, _, name = parts.path.rpartition("/") if parts.path not in LISTS else (parts.path, "", "")
                if name:
                    named = [each for each in api._objects[LISTS[path]] if each["metadata"]["name"] == name]
                    self._answer(named[0] if named else {}, 200 if named else 404)
                elif query.get("watch"):
                    api._wait_for_other_than(int(query.get("resourceVersion", ["0"])[0]))
                    status = {
                        "kind": "Status",
                        "apiVersion": "v1",
                        "status": "Failure",
                        "code": 410,
                        "reason": "Expired",
                    }
                    self._answer({"type": "ERROR", "object": status}, 200)
                else:
                    self._answer(api._list(path), 200)

            def _answer(self, body: Mapping[str, Any], code: int) -> None:
                text = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None: ...

        server = within(NODE, lambda: ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._running.callback(server.shutdown)
        cluster = {"name": "node", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
        context = {"name": "node", "context": {"cluster": "node", "user": "node"}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "current-context": "node",
        }
        self.kubeconfig.write_text(json.dumps(document | {"users": [{"name": "node", "user": {}}]}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def set(self, kind: str, objects: Iterable[dict[str, Any]]) -> None:
        with self._changed:
            self._objects[kind] = list(objects)
            self._version += 1
            self._changed.notify_all()

    def _list(self, path: str) -> dict[str, Any]:
        kind, group = LISTS[path], path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
        with self._changed:
            items = [
                {**each, "metadata": {"uid": each["metadata"]["name"], **each["metadata"]}}
                for each in self._objects[kind]
            ]
            version = str(self._version)
        return {"kind": f"{kind}List", "apiVersion": group, "metadata": {"resourceVersion": version}, "items": items}

    def _wait_for_other_than(self, version: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout=300)


def program(name: str, kubeconfig: Path, arguments: Iterable[str], node: str, log: Path) -> subprocess.Popen[bytes]:
    """The agent in the node's network."""
    command = ["ip", "netns", "exec", NODE, name, f"--kubeconfig={kubeconfig}", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(command, env={**os.environ, "NODE_NAME": node}, stdout=output, stderr=subprocess.STDOUT)
