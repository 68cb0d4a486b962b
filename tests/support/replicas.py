"""What the nodes of the autoscaler's test would be: pods that run on paper, and what they and their GPUs would show."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from host import certificates
from tests.support.control_plane import ControlPlane, free_port

NODES = ("gpu-1", "gpu-2", "gpu-3")
WEBUI_PORT, ENGINE_PORT, DCGM_PORT = 7860, 8000, 9400


def serve(
    address: str, port: int, text: Callable[[], str], tls: tuple[Path, Path] | None = None
) -> ThreadingHTTPServer:
    """Answers every GET with `text()`, or 503 where that is empty."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text().encode()
            self.send_response(200 if body else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Scrapes are no news."""

    server = ThreadingHTTPServer((address, port), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Replicas:
    """Runs every pod of the Deployment on a node of its own, with the load that a test sets.

    `in_flight` and `gpu_percent` are those of each replica; nodes in `silent` have a GPU exporter that does not answer.
    """

    def __init__(self, cluster: ControlPlane) -> None:
        self._cluster = cluster
        self.in_flight, self.gpu_percent = 0.0, 0.0
        self.silent: set[str] = set()
        self.cores = 0.05
        self._placed: dict[str, str] = {}  # pod -> node
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._servers: list[ThreadingHTTPServer] = []
        self._began = time.time()

    def __enter__(self) -> Replicas:
        made = certificates.make(["kubelet"])
        tls = self._cluster.folder / "kubelet.crt", self._cluster.folder / "kubelet.key"
        tls[0].write_text(made.certificate)
        tls[1].write_text(made.private_key)
        for number, node in enumerate(NODES, start=1):
            self._servers.append(serve(f"127.0.1.{number}", WEBUI_PORT, lambda node=node: self._webui(node)))  # type: ignore[misc]
            self._servers.append(serve(f"127.0.1.{number}", ENGINE_PORT, lambda: "up_is_all_that_matters 1\n"))
            self._servers.append(serve(f"127.0.2.{number}", DCGM_PORT, lambda node=node: self._gpus(node)))  # type: ignore[misc]
            kubelet = free_port(f"127.0.3.{number}")
            self._servers.append(
                serve(f"127.0.3.{number}", kubelet, lambda node=node: self._kubelet(node), tls)  # type: ignore[misc]
            )
            self._join(node, number, kubelet)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _join(self, node: str, number: int, kubelet: int) -> None:
        status = {
            "addresses": [{"type": "InternalIP", "address": f"127.0.3.{number}"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet}},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self._cluster.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}], "kubelet")
        self._patch_status("node", node, "", status)
        exporter = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"dcgm-{node}", "namespace": "kube-system", "labels": {"app": "dcgm-exporter"}},
            "spec": {
                "nodeName": node,
                "containers": [
                    {"name": "exporter", "image": "x", "ports": [{"name": "metrics", "containerPort": DCGM_PORT}]}
                ],
            },
        }
        self._cluster.apply([exporter], "kubelet")
        self._patch_status("pod", f"dcgm-{node}", "kube-system", self._running(f"127.0.2.{number}"))

    def _running(self, address: str) -> dict[str, Any]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        return {
            "phase": "Running",
            "conditions": [ready],
            "startTime": now,
            "podIP": address,
            "podIPs": [{"ip": address}],
        }

    def _patch_status(self, kind: str, name: str, namespace: str, status: dict[str, Any]) -> None:
        where = ["-n", namespace] if namespace else []
        body = json.dumps({"status": status})
        self._cluster.kubectl("patch", kind, name, *where, "--subresource=status", "--type=merge", "-p", body)

    def _loop(self) -> None:
        """The kubelets' part: a new pod runs at once, one that is told to leave has left."""
        while not self._stop.wait(0.5):
            pods = self._cluster.get("pods", "-n", "default", "-l", "app=qwen3-vl-webui")["items"]
            for pod in pods:
                name = pod["metadata"]["name"]
                if pod["metadata"].get("deletionTimestamp"):
                    self._cluster.try_kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
                    with self._lock:
                        self._placed.pop(name, None)
                elif name not in self._placed:
                    self._place(name)
            with self._lock:
                names = {pod["metadata"]["name"] for pod in pods}
                self._placed = {name: node for name, node in self._placed.items() if name in names}

    def _place(self, name: str) -> None:
        free = [node for node in NODES if node not in self._placed.values()]
        if not free:
            return  # every GPU is taken: it stays pending
        target = {"apiVersion": "v1", "kind": "Node", "name": free[0]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        path = f"/api/v1/namespaces/default/pods/{name}/binding"
        self._cluster.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(binding))
        self._patch_status("pod", name, "default", self._running(f"127.0.1.{NODES.index(free[0]) + 1}"))
        with self._lock:
            self._placed[name] = free[0]

    def _on(self, node: str) -> str | None:
        with self._lock:
            return next((pod for pod, where in self._placed.items() if where == node), None)

    def _webui(self, node: str) -> str:
        if self._on(node) is None:
            return ""
        chat, api = 0.25 * self.in_flight, 0.75 * self.in_flight
        return f'webui_requests_in_flight{{kind="chat"}} {chat}\nwebui_requests_in_flight{{kind="api"}} {api}\n'

    def _gpus(self, node: str) -> str:
        if node in self.silent:
            return ""
        pod = self._on(node)
        held = f',namespace="default",pod="{pod}",container="engine"' if pod else ""
        return f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",Hostname="{node}"{held}}} {self.gpu_percent if pod else 0}\n'

    def _kubelet(self, node: str) -> str:
        """The kubelet's resource metrics: CPU seconds of the node and of the pod's containers."""
        now = time.time()
        stamp, used = int(now * 1000), 1 + self.cores * (now - self._began)
        lines = [f"node_cpu_usage_seconds_total {used} {stamp}", f"node_memory_working_set_bytes 1e+09 {stamp}"]
        if pod := self._on(node):
            for container in ("engine", "webui"):
                labels = f'{{container="{container}",namespace="default",pod="{pod}"}}'
                lines += [
                    f"container_cpu_usage_seconds_total{labels} {used / 2} {stamp}",
                    f"container_memory_working_set_bytes{labels} 1e+08 {stamp}",
                    f"container_start_time_seconds{labels} {self._began} {stamp}",
                ]
        return "\n".join([*lines, ""])
