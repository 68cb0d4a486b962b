"""The API endpoint and what kubeadm is told."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from components.settings import Settings
from components.settings.known import KUBEADM_CHECK, KUBEADM_CHECKS, KUBERNETES_MINORS, RESERVED_PORTS
from components.settings.problem import Problem, listed
from components.settings.syntax import address_range

PATH = "kubernetes.apiAddress"


def several_need_address(settings: Settings) -> Iterator[Problem]:
    if len(settings.control_planes) > 1 and settings.kubernetes.api_address is None:
        found = f"missing with {len(settings.control_planes)} control planes"
        rule = "the API moves between them by an address of its own"
        yield Problem(PATH, found, rule, "Set a free address of the nodes' network")


def address_is_free(settings: Settings) -> Iterator[Problem]:
    for node in settings.nodes:
        if node.address == settings.kubernetes.api_address:
            found = f"{node.address} is the address of `{node.name}`"
            yield Problem(PATH, found, "the API has an address that no machine has", "Choose a free one")


def address_outside_pool(settings: Settings) -> Iterator[Problem]:
    address = settings.kubernetes.api_address
    for index, text in enumerate(settings.load_balancer.addresses):
        first, last = address_range(text)
        if address is not None and first <= address <= last:
            found = f"{address} lies in loadBalancer.addresses[{index}]"
            yield Problem(PATH, found, "MetalLB would give it to a service", "Take it out of the range")


def version(settings: Settings) -> Iterator[Problem]:
    found = settings.kubernetes.version
    if found.rpartition(".")[0] not in KUBERNETES_MINORS:
        rule = f"this program installs Kubernetes {' and '.join(KUBERNETES_MINORS)}"
        yield Problem("kubernetes.version", found, rule, f"Choose a release of {KUBERNETES_MINORS[-1]}")


def port(settings: Settings) -> Iterator[Problem]:
    found = settings.kubernetes.api_port
    if owner := RESERVED_PORTS.get(found):
        rule = f"{owner} listens there on the same machines"
        yield Problem("kubernetes.apiPort", str(found), rule, "Keep 6443 or choose a free port")


def port_is_not_ssh(settings: Settings) -> Iterator[Problem]:
    found = settings.kubernetes.api_port
    if found == settings.ssh.port:
        yield Problem(
            "kubernetes.apiPort", str(found), "sshd listens there (ssh.port)", "Keep 6443 or choose a free port"
        )


def kubeadm_names(settings: Settings) -> Iterator[Problem]:
    known = {name.lower(): name for name in KUBEADM_CHECKS}
    for index, name in enumerate(settings.kubernetes.ignore_preflight):
        path = f"kubernetes.ignorePreflight[{index}]"
        if name.lower() == "all":
            yield Problem(path, "`all`", "it would hide what nobody expected", "Name the checks, e.g. `Swap`")
        elif name.lower() not in known and not KUBEADM_CHECK.fullmatch(name):
            near = get_close_matches(name.lower(), known, n=1)
            rule = f"kubeadm's checks are {', '.join(KUBEADM_CHECKS)}, Port-N, FileAvailable-PATH and the like"
            remedy = f"Did you mean `{known[near[0]]}`?" if near else "Remove it or take a name from kubeadm's message"
            yield Problem(path, f"`{name}`", rule, remedy)


def one_place(settings: Settings) -> Iterator[Problem]:
    """Options that have a key of their own are not set a second time in the free-form ones."""
    owned = {
        "kubelet": {"cgroupDriver": "kubernetes.cgroupDriver", "clusterDomain": "kubernetes.dnsDomain"},
        "kubeProxy": {"clusterCIDR": "kubernetes.podSubnet"},
    }
    own = {"apiVersion", "kind"}
    options = {"kubelet": settings.kubernetes.kubelet, "kubeProxy": settings.kubernetes.kube_proxy}
    for section, values in options.items():
        for key in values:
            path = f"kubernetes.{section}.{key}"
            if place := owned[section].get(key):
                yield Problem(path, "set here", f"its place is {place}, for all who need it", f"Move it to {place}")
            elif key in own:
                yield Problem(path, "set here", f"the program writes {listed(sorted(own))}", "Remove it")
