"""The program's policies, enforced by the real agent in this machine's kernel: every pair of pods, nodes and the world beyond."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from components import traffic
from components.cluster.network_policy_agent import arguments
from components.settings.stack_file import stack_settings
from components.traffic import Addresses, Anybody, Pods, Port, ways, workloads
from tests.policy.objects import containers, of_kind, pod_labels
from tests.policy.objects import workloads as declared
from tests.support.manifests import stack_graph
from tests.support.pod_network import ListsApi, PodNetwork, program

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SETTINGS = stack_settings("prod")
NODE = str(SETTINGS.workers[0].address)
API, OTHER_NODE, STORE = "192.168.1.11", "192.168.1.22", "192.168.1.100"
CLIENT, METADATA, PUBLIC = "198.51.100.7", "169.254.169.254", "93.184.215.14"
DNS_POD, STRANGER, STRANGER_ELSEWHERE = "10.244.1.200", "10.244.1.201", "10.244.2.201"
LATEST_SECONDS = 120.0
# Where somebody who should not come would try.
PROBED = {
    API: (6443, 10250),
    OTHER_NODE: (10250, 22),
    NODE: (10250, 22),
    STORE: (2049, 22),
    METADATA: (80,),
    PUBLIC: (443,),
}

pytestmark = pytest.mark.engine


def address_of(number: int, pods: Pods) -> str:
    """Some are another node's: one that pods here ask, and one that asks them."""
    return f"10.244.{2 if pods in (traffic.REDIS, traffic.PROMETHEUS) else 1}.{number}"


PODS = {pods: address_of(number, pods) for number, pods in enumerate(workloads(SETTINGS), 10)}


def ports_of(pods: Pods) -> tuple[int, ...]:
    """What its containers listen at, by their own description."""
    found = [
        int(port["containerPort"])
        for workload in declared(stack_graph("prod"))
        if (workload.namespace, pod_labels(workload).get("app")) == (pods.namespace, pods.app)
        for container in containers(workload)
        for port in container.get("ports", ())
    ]
    return tuple(sorted(set(found)))


def targets() -> list[tuple[str, int]]:
    pairs = [(address, port) for pods, address in PODS.items() for port in ports_of(pods)]
    pairs += [(address, port) for address, ports in PROBED.items() for port in ports]
    return [*pairs, (DNS_POD, 53), (STRANGER, 9999)]


def allowed(source: str, target: str, port: int) -> bool:
    """As the table has it: both ends, where they are pods on this node, have to agree. "Anybody" may come, but a pod goes only
    where a row of its own sends it."""

    def meant(end: Any, address: str) -> bool:
        match end:
            case Anybody():
                return address != source or not held_back(source)
            case Pods():
                return (DNS_POD if end == traffic.CLUSTER_DNS else PODS.get(end)) == address
            case Addresses(blocks, excluded):
                at = IPv4Address(address)
                return any(at in block for block in blocks) and not any(at in block for block in excluded)
        return False

    return any(
        meant(w.source, source) and meant(w.target, target) and (not w.ports or Port(port) in w.ports)
        for w in ways(SETTINGS)
    )


def held_back(address: str) -> bool:
    """Whether the agent of the node has this pod in its hands."""
    return address.startswith("10.244.1.") and address != DNS_POD


def pod(name: str, namespace: str, labels: dict[str, str], address: str) -> dict[str, Any]:
    host = NODE if address.startswith("10.244.1.") else OTHER_NODE
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": host}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": host},
        "status": status,
    }


def namespace(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}


@pytest.fixture(scope="module")
def network() -> Iterator[PodNetwork]:
    with PodNetwork(NODE, [API, OTHER_NODE, STORE, CLIENT, METADATA, PUBLIC]) as made:
        for address in (*PODS.values(), DNS_POD, STRANGER, STRANGER_ELSEWHERE):
            made.add_pod(address)
        for address, port in targets():
            made.listen(address, port)
        yield made


@pytest.fixture(scope="module")
def api(network: PodNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListsApi]:
    with ListsApi(tmp_path_factory.mktemp("api")) as lists:
        lists.set(
            "Node",
            [
                {
                    "metadata": {"name": "gpu-1"},
                    "status": {
                        "addresses": [{"type": "InternalIP", "address": NODE}, {"type": "Hostname", "address": "gpu-1"}]
                    },
                }
            ],
        )
        names = {each.namespace for each in PODS} | {"kube-system"}
        lists.set("Namespace", map(namespace, sorted(names)))
        found = [pod(each.app, each.namespace, {each.label: each.app}, address) for each, address in PODS.items()]
        found.append(pod("dns", "kube-system", {"k8s-app": "kube-dns"}, DNS_POD))
        found += [pod(f"stranger-{at[7]}", "default", {"app": "stranger"}, at) for at in (STRANGER, STRANGER_ELSEWHERE)]
        lists.set("Pod", found)
        yield lists


@pytest.fixture(scope="module")
def agent(network: PodNetwork, api: ListsApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], None]]:
    """The running agent; calling it kills and starts it again."""
    built = subprocess.run([TOOLS / "build", "kube-router"], capture_output=True, text=True, check=True, timeout=3600)
    binary = Path(built.stdout.split("\t")[1].strip()) / "kube-router"
    log = tmp_path_factory.mktemp("agent") / "log"
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        for process in running:
            process.kill()
            process.wait()
        running[:] = [program(str(binary), api.kubeconfig, arguments(SETTINGS.kubernetes.service_subnet), "gpu-1", log)]

    start()
    yield start
    for process in running:
        process.kill()
        process.wait()
    print(log.read_text()[-4000:])


def policies() -> list[dict[str, Any]]:
    return [each.body for each in of_kind(stack_graph("prod"), "NetworkPolicy")]


def eventually(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LATEST_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not {what} after {LATEST_SECONDS:g} s"
        time.sleep(0.2)


def wrong(network: PodNetwork) -> list[str]:
    """Each connection that is open and should not be, or the other way round."""
    sources = [*PODS.values(), STRANGER, STRANGER_ELSEWHERE, CLIENT, NODE]
    pairs = [
        (source, *target)
        for source in sources
        for target in targets()
        # The other ends' own nodes are not here to hold back, and a node may reach its own pods.
        if source != target[0] and (held_back(source) or held_back(target[0])) and source != NODE
    ]
    with ThreadPoolExecutor(16) as pool:
        opened = list(pool.map(lambda pair: network.dial(*pair), pairs))
    return [
        f"{source} -> {target}:{port}: {'open' if is_open else 'closed'}"
        for (source, target, port), is_open in zip(pairs, opened, strict=True)
        if is_open != allowed(source, target, port)
    ]


def test_every_connection_is_as_the_table_has_it(network: PodNetwork, api: ListsApi, agent: Callable[[], None]) -> None:
    api.set("NetworkPolicy", [])
    eventually(lambda: network.dial(STRANGER, PODS[traffic.WEBUI], 7860), "open without policies")
    assert network.dial(PODS[traffic.WEBUI], API, 6443)
    api.set("NetworkPolicy", policies())
    eventually(lambda: not network.dial(STRANGER, PODS[traffic.WEBUI], 7860), "closed with them")
    assert wrong(network) == []


def test_a_node_reaches_its_own_pods(network: PodNetwork, api: ListsApi, agent: Callable[[], None]) -> None:
    api.set("NetworkPolicy", policies())
    eventually(lambda: not network.dial(STRANGER, PODS[traffic.WEBUI], 7860), "closed")
    assert network.dial(NODE, PODS[traffic.WEBUI], 7871)


def test_an_agent_that_is_killed_leaves_everything_as_it_is(
    network: PodNetwork, api: ListsApi, agent: Callable[[], None]
) -> None:
    api.set("NetworkPolicy", policies())
    eventually(lambda: not network.dial(STRANGER, PODS[traffic.WEBUI], 7860), "closed")
    agent()
    for _ in range(20):
        assert not network.dial(STRANGER, PODS[traffic.WEBUI], 7860)
        assert network.dial(PODS[traffic.WEBUI], PODS[traffic.REDIS_PROXY], 6379)
        time.sleep(0.2)


def test_policies_that_go_leave_no_rule_that_holds_back(
    network: PodNetwork, api: ListsApi, agent: Callable[[], None]
) -> None:
    """As when the setting is switched off."""
    api.set("NetworkPolicy", [])
    eventually(lambda: network.dial(STRANGER, PODS[traffic.WEBUI], 7860), "open")
    assert network.dial(PODS[traffic.GPU_PLUGIN], METADATA, 80)
