"""The node list by itself: who is in it, twice or wrongly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from components.settings import Node, Role, Settings
from components.settings.known import ALLOWED_LABEL_PREFIXES, ALLOWED_LABELS, RESERVED_TAINT_PREFIXES
from components.settings.problem import Problem, join_path, listed

LARGEST_ETCD = 7  # https://etcd.io/docs/v3.5/faq/#what-is-maximum-cluster-size


def at(node: Node) -> str:
    return f"nodes[{node.name}]"


def duplicates(settings: Settings) -> Iterator[Problem]:
    for name, count in _repeated(node.name for node in settings.nodes):
        yield Problem(f"nodes[{name}].name", f"{count} nodes have it", "a name is one node's key", "Rename the others")
    holders = defaultdict(list)
    for node in settings.nodes:
        holders[node.address].append(node.name)
    for address, names in holders.items():
        if len(names) > 1:
            found = f"{address} is also the address of {listed(names[:-1])}"
            yield Problem(f"nodes[{names[-1]}].address", found, "an address is one machine's", "Correct one of them")


def _repeated(values: Iterable[str]) -> Iterator[tuple[str, int]]:
    counts: dict[str, int] = defaultdict(int)
    for value in values:
        counts[value] += 1
    return ((value, count) for value, count in counts.items() if count > 1)


def addresses(settings: Settings) -> Iterator[Problem]:
    for node in settings.nodes:
        address = node.address
        if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local:
            rule = "the other nodes must reach it, so it is neither loopback, link-local, multicast nor 0.0.0.0"
            yield Problem(f"{at(node)}.address", str(address), rule, "Write the address of its network card")


def control_planes(settings: Settings) -> Iterator[Problem]:
    count = len(settings.control_planes)
    if not settings.nodes:
        yield Problem(
            "nodes", "no nodes", "a cluster needs at least a control plane and a worker", "List your machines"
        )
    elif count == 0:
        remedy = "Give 1, 3 or 5 nodes `role: control-plane`"
        yield Problem("nodes", "no control plane", "a cluster has at least one", remedy)
    elif count % 2 == 0 or count > LARGEST_ETCD:
        remedy = f"Add one or remove one: {count - 1 or 1} or {count + 1}" if count < LARGEST_ETCD else "Keep 5"
        rule = "etcd keeps a majority only with an odd number, at most 7"
        yield Problem("nodes", f"{count} control planes", rule, remedy)


def members_only(settings: Settings) -> Iterator[Problem]:
    """GPUs, labels and taints mean something only where pods are scheduled."""
    for node in settings.nodes:
        if node.gpus and node.role is not Role.WORKER:
            remedy = "Remove the key or give the node `role: worker`"
            yield Problem(f"{at(node)}.gpus", f"{node.gpus} on a {node.role}", "only workers run the engine", remedy)
        for key in ("labels", "taints"):
            if node.role is Role.STORAGE and getattr(node, key):
                found = f"{key} on a storage node"
                rule = "a storage node is not a member of the cluster"
                yield Problem(f"{at(node)}.{key}", found, rule, "Remove the key")


def labels(settings: Settings) -> Iterator[Problem]:
    for node in settings.nodes:
        for label in node.labels:
            if _reserved(label) and label not in ALLOWED_LABELS and not label.startswith(ALLOWED_LABEL_PREFIXES):
                rule = "Kubernetes keeps the domain and refuses the label from a node"
                path = join_path(f"{at(node)}.labels", label)
                yield Problem(path, "a reserved prefix", rule, "Use a prefix of your own, e.g. `example.com/`")


def _reserved(key: str) -> bool:
    domain = key.rpartition("/")[0]
    return domain.endswith((".kubernetes.io", ".k8s.io")) or domain in ("kubernetes.io", "k8s.io")


def taints(settings: Settings) -> Iterator[Problem]:
    for node in settings.nodes:
        for index, taint in enumerate(node.taints):
            path = f"{at(node)}.taints[{index}]"
            if taint.key.startswith(RESERVED_TAINT_PREFIXES):
                rule = "controllers set and clear taints of this prefix by themselves"
                yield Problem(f"{path}.key", f"`{taint.key}`", rule, "Use a prefix of your own, e.g. `example.com/`")
            if any((other.key, other.effect) == (taint.key, taint.effect) for other in node.taints[:index]):
                rule = "a node has one taint of a key and effect"
                yield Problem(path, f"`{taint.key}:{taint.effect}` a second time", rule, "Remove one of the two")


def login_keys(settings: Settings) -> Iterator[Problem]:
    for key in settings.ssh.revoked_keys:
        if key in settings.ssh.authorized_keys:
            rule = "a key is let in or taken out, not both"
            yield Problem(
                "ssh.revokedKeys", f"`{key}` is also in ssh.authorizedKeys", rule, "Remove it from one of them"
            )


def host_keys(settings: Settings) -> Iterator[Problem]:
    if settings.ssh.known_hosts:
        return
    rule = "every host key is verified and ssh.knownHosts is not set"
    remedy = "Set ssh.knownHosts or list the public host keys"
    without = [node for node in settings.nodes if not node.host_keys]
    if without and len(without) == len(settings.nodes):
        yield Problem("ssh.knownHosts", "missing, and no node has hostKeys", "every host key is verified", remedy)
    elif without:
        rest = f", as at {len(without) - 1} more nodes" if len(without) > 1 else ""
        yield Problem(f"{at(without[0])}.hostKeys", f"missing{rest}", rule, remedy)
    if settings.ssh.jump and not settings.ssh.jump.host_keys:
        yield Problem("ssh.jump.hostKeys", "missing", rule, remedy)
