"""Asks all nodes at once, and the cluster through one of its control planes; whatever cannot be learnt becomes a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components import traffic
from components.services.redis_files import HEALTH_PORT
from components.settings import Node as Machine
from components.settings import Role, Settings
from host.errors import HostError
from host.facts import read_facts
from host.remote import Command
from tools.doctor import gateway
from tools.doctor.seen import Cluster, Lines, Node, Seen, Served
from tools.machines import Machines

SCRIPTS = Path(__file__).with_name("scripts")
COMMAND_SECONDS = 20  # for one script on one node
STAGGER_SECONDS = 2.0  # without an answer, after which the next control plane is asked too
QUESTION_SECONDS = 70.0
PROXIES = 2  # that are asked who Redis' primary is
PROMETHEUS_PORT = 9090

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asker:
    settings: Settings
    machines: Machines
    seconds: float  # for everything but the question

    async def look(self, question: str | None) -> Seen:
        """Everything. Raises nothing that has to do with what is asked."""
        authority = asyncio.create_task(self._in_time(asyncio.to_thread(gateway.authority, self.settings)))
        nodes = {
            node.name: asyncio.create_task(self._in_time(self._node(node)), name=node.name)
            for node in self.settings.nodes
        }
        cluster = await self._in_time(self._cluster())
        pages, (served, answer, no_answer) = await asyncio.gather(
            self._pages(cluster), self._edge(cluster, authority, question)
        )
        found = {name: await task for name, task in nodes.items()}
        return Seen(
            settings=self.settings,
            now=time.time(),
            nodes=found,
            cluster=cluster,
            alerts=pages.one("alerts"),
            no_alerts=pages.one("reason"),
            redis=Lines({key: lines for key, lines in pages.by_key.items() if key.startswith("redis")}),
            served=served,
            answer=answer,
            no_answer=no_answer,
        )

    async def _in_time(self, work: Coroutine[None, None, T]) -> T | str:
        """What comes of it, or why nothing does: this is a report on what may be broken, and it is not to break with it."""
        try:
            return await asyncio.wait_for(work, self.seconds)
        except TimeoutError:
            return f"no answer within {self.seconds:.0f} s"
        except HostError as error:
            return str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    async def _run(self, node: str, script: str, stdin: bytes = b"", **environment: str) -> str:
        """What a script of ours prints on a node. Raises HostError."""
        body = (SCRIPTS / script).read_text()
        command = Command(script, body, "look", environment, stdin, COMMAND_SECONDS)
        result = await self.machines.connections.run(self.machines.ways[node], command)
        if result.status:
            raise HostError(f"{node}: {result.reason(1)}")
        return result.text

    async def _node(self, node: Machine) -> Node:
        store, kubernetes = self.settings.model_store, self.settings.kubernetes
        text = await self._run(
            node.name,
            "node.sh",
            NODE_ADDRESS=str(node.address),
            API_HOST=self.settings.api_host if node.role is not Role.STORAGE else "",
            API_PORT=str(kubernetes.api_port),
            API_SERVER="yes" if node.role is Role.CONTROL_PLANE else "",
            MODEL_CACHE=store.cache_path if node.role is Role.WORKER else "",
        )
        # After it, so that the connection is there already: the less time it takes, the nearer the clock is known.
        facts = await read_facts(self.machines.connections, self.machines.ways[node.name])
        return Node(facts, Lines.of(text))

    async def _cluster(self) -> Cluster:
        """The first answer; each control plane is given a moment before the next one is asked too. Raises HostError."""
        waiting = list(self.settings.control_planes)
        running: set[asyncio.Task[Cluster | str]] = set()
        reasons: list[str] = []
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(self._cluster_through(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=STAGGER_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                if not isinstance(answer := each.result(), str):
                    for other in running:
                        other.cancel()
                    return answer
                reasons.append(answer)
        raise HostError(f"no control plane gave an answer of its API server: {' '.join(reasons)}")

    async def _cluster_through(self, node: Machine) -> Cluster | str:
        address, port = str(node.address), str(self.settings.kubernetes.api_port)
        host = self.settings.ingress.host
        try:
            said = await self._run(node.name, "cluster.sh", NODE_ADDRESS=address, API_PORT=port, INGRESS_HOST=host)
            return Cluster(node.name, Lines.of(said))
        except HostError as error:
            return str(error)

    async def _pages(self, cluster: Cluster | str) -> Lines:
        """Alerts and Redis' proxies, each from the node its pod runs on; `reason` is why there are no alerts."""
        if isinstance(cluster, str):
            return Lines({"reason": [(cluster,)]})
        alerts = [
            ("alerts", node, f"http://{ip}:{PROMETHEUS_PORT}/api/v1/alerts")
            for node, ip in cluster.pods(traffic.reader(self.settings))
        ]
        proxies = [
            (f"redis-{node}", node, f"http://{ip}:{HEALTH_PORT}/metrics")
            for node, ip in cluster.pods(traffic.REDIS_PROXY)
            if node in self.machines.ways
        ]
        # One on a node that is off is Ready in the API for a while; those that answered the API first.
        proxies.sort(key=lambda each: each[1] != cluster.through)
        asked = (*alerts, *proxies[:PROXIES])
        found = await asyncio.gather(*(self._in_time(self._page(*each)) for each in asked))
        lines: dict[str, Sequence[tuple[str, ...]]] = {"reason": [("no pod of Prometheus is ready",)]}
        for page, (key, *_) in zip(found, asked, strict=True):
            told = page.all(key) if isinstance(page, Lines) else []
            if key == "alerts" and not any(line.startswith('{"status":"success"') for (line, *_) in told):
                lines["reason"] = [(page if isinstance(page, str) else "; ".join(line for (line, *_) in told),)]
            else:
                lines[key] = told
        return Lines(lines)

    async def _page(self, key: str, node: str, url: str) -> Lines:
        if node not in self.machines.ways:
            raise HostError(f"{node}: not a node of the settings")
        return Lines.of(await self._run(node, "fetch.sh", f"{key} {url}\n".encode()))

    async def _edge(
        self, cluster: Cluster | str, authority: asyncio.Task[str | None], question: str | None
    ) -> tuple[Served | str, str | None, str | None]:
        """The gateway from this machine, and the answer to a question, or why there is none."""
        address = cluster.address if isinstance(cluster, Cluster) else ""
        address = address or str(self.settings.ingress.address or "")
        if not address:
            return "its address is not known", None, "the gateway's address is not known"
        believed = await authority
        pem = believed if believed and believed.startswith("-----BEGIN") else None  # else it is why there is none
        place = gateway.Gateway(self.settings, address, pem)
        served = await self._in_time(asyncio.to_thread(place.look))
        if question is None:
            return served, None, None
        try:
            text = await asyncio.wait_for(asyncio.to_thread(place.ask, question), QUESTION_SECONDS)
            return served, text, None
        except TimeoutError:
            return served, None, f"no answer within {QUESTION_SECONDS:.0f} s"
        except Exception as error:
            return served, None, f"{type(error).__name__}: {error}"
