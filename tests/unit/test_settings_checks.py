"""Rules across several settings: one key of a valid config broken, the exact lines expected."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from components.hosts import gpu_checks, preflight
from components.settings.known import KUBEADM_CHECKS, KUBERNETES_MINORS, PREFLIGHT_CHECKS
from components.settings.kubernetes import Kubernetes
from components.settings.parse import parse
from components.settings.problem import SettingsError
from components.versions import IMAGES
from tests.support.settings import REMOVED, VALID, with_value

GPU = ("nodes", 3)
NODES = VALID["nodes"]
OVERLAP = "networks of pods, services, nodes and load balancer must not overlap"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtYnE5yn1XOdbCzFeS1eyQ9yR9bzC2hLTLwMFpq1Vcz"
ODD = "etcd keeps a majority only with an odd number, at most 7"
KEPT = "Kubernetes keeps the domain and refuses the label from a node. Use a prefix of your own, e.g. `example.com/`."
KUBEADM = f"kubeadm's checks are {', '.join(KUBEADM_CHECKS)}, Port-N, FileAvailable-PATH and the like"
FREE = "Choose a free address of the nodes' network."


def control_planes(count: int) -> list[dict[str, Any]]:
    made = [{"name": f"cp-{n}", "address": f"192.168.1.{30 + n}", "role": "control-plane"} for n in range(count)]
    return [*made, *NODES[3:]]


CASES: list[tuple[str, tuple[str | int, ...], Any, list[str]]] = [
    (
        "a name twice",
        (*GPU, "name"),
        "gpu-2",
        ["nodes[gpu-2].name: 2 nodes have it; a name is one node's key. Rename the others."],
    ),
    (
        "an address twice",
        (*GPU, "address"),
        "192.168.1.22",
        [
            "nodes[gpu-2].address: 192.168.1.22 is also the address of `gpu-1`; an address is one machine's. "
            "Correct one of them."
        ],
    ),
    (
        "loopback",
        (*GPU, "address"),
        "127.0.0.1",
        [
            "nodes[gpu-1].address: 127.0.0.1; the other nodes must reach it, so it is neither loopback, link-local, multicast "
            "nor 0.0.0.0. Write the address of its network card."
        ],
    ),
    (
        "no nodes",
        ("nodes",),
        [],
        ["nodes: no nodes; a cluster needs at least a control plane and a worker. List your machines."],
    ),
    (
        "no control plane",
        ("nodes",),
        control_planes(0),
        ["nodes: no control plane; a cluster has at least one. Give 1, 3 or 5 nodes `role: control-plane`."],
    ),
    ("two control planes", ("nodes", 2), REMOVED, [f"nodes: 2 control planes; {ODD}. Add one or remove one: 1 or 3."]),
    (
        "four control planes",
        ("nodes",),
        control_planes(4),
        [f"nodes: 4 control planes; {ODD}. Add one or remove one: 3 or 5."],
    ),
    ("nine control planes", ("nodes",), control_planes(9), [f"nodes: 9 control planes; {ODD}. Keep 5."]),
    (
        "no worker",
        ("nodes",),
        [*NODES[:3], NODES[5]],
        ["nodes: no worker; the service runs on workers. Give a node `role: worker`."],
    ),
    (
        "GPU on a control plane",
        ("nodes", 0, "gpus"),
        1,
        [
            "nodes[master-1].gpus: 1 on a control-plane; only workers run the engine. Remove the key or give the node "
            "`role: worker`."
        ],
    ),
    (
        "labels on a storage node",
        ("nodes", 5, "labels"),
        {"disk": "ssd"},
        [
            "nodes[storage-1].labels: labels on a storage node; a storage node is not a member of the cluster. Remove the key."
        ],
    ),
    (
        "a label of kubernetes.io",
        (*GPU, "labels"),
        {"kubernetes.io/hostname": "x"},
        [f'nodes[gpu-1].labels["kubernetes.io/hostname"]: a reserved prefix; {KEPT}'],
    ),
    (
        "a role label",
        (*GPU, "labels"),
        {"node-role.kubernetes.io/gpu": ""},
        [f'nodes[gpu-1].labels["node-role.kubernetes.io/gpu"]: a reserved prefix; {KEPT}'],
    ),
    (
        "a controller's taint",
        (*GPU, "taints"),
        [{"key": "node.kubernetes.io/unreachable"}],
        [
            "nodes[gpu-1].taints[0].key: `node.kubernetes.io/unreachable`; controllers set and clear taints of this prefix by "
            "themselves. Use a prefix of your own, e.g. `example.com/`."
        ],
    ),
    (
        "a taint twice",
        (*GPU, "taints"),
        [{"key": "gpu"}, {"key": "gpu", "value": "yes"}],
        [
            "nodes[gpu-1].taints[1]: `gpu:NoSchedule` a second time; a node has one taint of a key and effect. "
            "Remove one of the two."
        ],
    ),
    (
        "a node that the others would not let in",
        ("firewall",),
        {"nodeNetworks": ["192.168.1.0/27"]},
        [
            "firewall.nodeNetworks: 192.168.1.100 of `storage-1` lies in none of them; nodes let each other in by these "
            "networks. Add its network, or remove the key."
        ],
    ),
    (
        "no host keys at all",
        ("ssh", "knownHosts"),
        REMOVED,
        [
            "ssh.knownHosts: missing, and no node has hostKeys; every host key is verified. Set ssh.knownHosts or list the "
            "public host keys."
        ],
    ),
    (
        "no address for several control planes",
        ("kubernetes", "apiAddress"),
        REMOVED,
        [
            "kubernetes.apiAddress: missing with 3 control planes; the API moves between them by an address of its own. "
            "Set a free address of the nodes' network."
        ],
    ),
    (
        "the API's address is a node's",
        ("kubernetes", "apiAddress"),
        "192.168.1.11",
        [
            "kubernetes.apiAddress: 192.168.1.11 is the address of `master-1`; the API has an address that no machine has. "
            "Choose a free one."
        ],
    ),
    (
        "the API's address in the pool",
        ("kubernetes", "apiAddress"),
        "192.168.1.205",
        [
            "kubernetes.apiAddress: 192.168.1.205 lies in loadBalancer.addresses[0]; MetalLB would give it to a service. "
            "Take it out of the range."
        ],
    ),
    (
        "the API's address among services",
        ("kubernetes", "apiAddress"),
        "10.96.0.1",
        [f"kubernetes.apiAddress: 10.96.0.1 lies in 10.96.0.0/12 of kubernetes.serviceSubnet; {OVERLAP}. {FREE}"],
    ),
    (
        "an old release",
        ("kubernetes", "version"),
        "1.29.3",
        ["kubernetes.version: 1.29.3; this program installs Kubernetes 1.33 and 1.34. Choose a release of 1.34."],
    ),
    (
        "the kubelet's port",
        ("kubernetes", "apiPort"),
        10250,
        ["kubernetes.apiPort: 10250; the kubelet listens there on the same machines. Keep 6443 or choose a free port."],
    ),
    (
        "sshd's port",
        ("kubernetes", "apiPort"),
        22,
        ["kubernetes.apiPort: 22; sshd listens there (ssh.port). Keep 6443 or choose a free port."],
    ),
    (
        "every check ignored",
        ("kubernetes", "ignorePreflight"),
        ["all"],
        ["kubernetes.ignorePreflight[0]: `all`; it would hide what nobody expected. Name the checks, e.g. `Swap`."],
    ),
    (
        "an unknown kubeadm check",
        ("kubernetes", "ignorePreflight"),
        ["swap", "Port-6443", "DirAvailable--var-lib-etcd", "NumCPUs"],
        [f"kubernetes.ignorePreflight[3]: `NumCPUs`; {KUBEADM}. Did you mean `NumCPU`?"],
    ),
    (
        "an option with a key of its own",
        ("kubernetes", "kubelet"),
        {"cgroupDriver": "systemd"},
        [
            "kubernetes.kubelet.cgroupDriver: set here; its place is kubernetes.cgroupDriver, for all who need it. "
            "Move it to kubernetes.cgroupDriver."
        ],
    ),
    (
        "kind of the kube-proxy file",
        ("kubernetes", "kubeProxy"),
        {"kind": "KubeProxyConfiguration"},
        ["kubernetes.kubeProxy.kind: set here; the program writes `apiVersion` and `kind`. Remove it."],
    ),
    (
        "services over pods",
        ("kubernetes", "podSubnet"),
        "10.96.0.0/16",
        [
            f"kubernetes.serviceSubnet: 10.96.0.0/12 overlaps 10.96.0.0/16 of kubernetes.podSubnet; {OVERLAP}. "
            "Choose another private network."
        ],
    ),
    (
        "pods over everything",
        ("kubernetes", "podSubnet"),
        "192.168.0.0/16",
        [
            f"kubernetes.podSubnet: 192.168.0.0/16 contains 192.168.1.11 of `master-1` and 5 more; {OVERLAP}. "
            "Choose another private network.",
            "loadBalancer.addresses[0]: 192.168.1.200-192.168.1.220 overlaps 192.168.0.0/16 of kubernetes.podSubnet; "
            f"{OVERLAP}. Choose free addresses of the nodes' network.",
            f"kubernetes.apiAddress: 192.168.1.10 lies in 192.168.0.0/16 of kubernetes.podSubnet; {OVERLAP}. {FREE}",
        ],
    ),
    (
        "pods without room",
        ("kubernetes", "podSubnet"),
        "10.244.0.0/22",
        [
            "kubernetes.podSubnet: 10.244.0.0/22 has room for 4 nodes of 5; each node takes a /24, and the network cannot be "
            "changed later. Choose a /21 or larger."
        ],
    ),
    (
        "few services",
        ("kubernetes", "serviceSubnet"),
        "10.96.0.0/30",
        [
            "kubernetes.serviceSubnet: 10.96.0.0/30; kube-apiserver and kubeadm take a prefix from /12 to /28. Choose a /16."
        ],
    ),
    (
        "a pool among pods",
        ("loadBalancer", "addresses"),
        ["10.244.3.0/28"],
        [
            f"loadBalancer.addresses[0]: 10.244.3.0/28 overlaps 10.244.0.0/16 of kubernetes.podSubnet; {OVERLAP}. "
            "Choose free addresses of the nodes' network."
        ],
    ),
    (
        "pools that overlap",
        ("loadBalancer", "addresses"),
        ["192.168.1.200-192.168.1.210", "192.168.1.210-192.168.1.220"],
        [
            "loadBalancer.addresses[1]: 192.168.1.210-192.168.1.220 overlaps 192.168.1.200-192.168.1.210; MetalLB refuses "
            "overlapping ranges. Join them."
        ],
    ),
    (
        "a pool with nodes",
        ("loadBalancer", "addresses"),
        ["192.168.1.20-192.168.1.30"],
        [
            "loadBalancer.addresses[0]: 192.168.1.20-192.168.1.30 contains 192.168.1.21 of `gpu-1` and 1 more; MetalLB would "
            "give a machine's address to a service. Choose addresses no machine has."
        ],
    ),
    (
        "less time for a request than its body takes",
        ("ingress", "limits"),
        {"requestSeconds": 60},
        [
            "ingress.limits.requestSeconds: 60 s; a body of 32 MiB (inference.maxBodyMib) takes 135 s at 2 Mbit/s "
            "(ingress.limits.slowestUploadMbit). Write 135 or more, or change one of these."
        ],
    ),
    (
        "a line too slow for the time",
        ("ingress", "limits"),
        {"slowestUploadMbit": 0.5},
        [
            "ingress.limits.requestSeconds: 150 s; a body of 32 MiB (inference.maxBodyMib) takes 537 s at 0.5 Mbit/s "
            "(ingress.limits.slowestUploadMbit). Write 537 or more, or change one of these."
        ],
    ),
    (
        "a body too large for the time and the gateway",
        ("inference", "maxBodyMib"),
        300,
        [
            "ingress.limits.requestSeconds: 150 s; a body of 300 MiB (inference.maxBodyMib) takes 1259 s at 2 Mbit/s "
            "(ingress.limits.slowestUploadMbit). Write 1259 or more, or change one of these.",
            "ingress.memoryMib: 2048 MiB; 1/8 of it is for the largest bodies and has to hold 1 body of 300 MiB "
            "(inference.maxBodyMib). Write 2400 or more, or lower inference.maxBodyMib.",
        ],
    ),
    (
        "a burst of nothing",
        ("ingress", "limits"),
        {"client": {"burst": 5}},
        [
            "ingress.limits.client.burst: set without requestsPerSecond; it is how many of these may come at once. "
            "Set that too or remove it."
        ],
    ),
    (
        "an ingress address outside the pool",
        ("ingress", "address"),
        "192.168.1.50",
        [
            "ingress.address: 192.168.1.50; MetalLB gives addresses of loadBalancer.addresses only "
            "(192.168.1.200-192.168.1.220). Choose one of these or remove the key."
        ],
    ),
    (
        "more replicas than GPUs",
        ("inference", "replicas"),
        3,
        [
            "inference.replicas: 3 replicas for 2 GPUs of 2 workers; each replica takes one GPU. "
            "Write 2 or add GPUs to the workers in `nodes`."
        ],
    ),
    (
        "fewer replicas at most than at least",
        ("autoscaling",),
        {"minReplicas": 2, "maxReplicas": 1},
        [
            "autoscaling.maxReplicas: 1, below the 2 of autoscaling.minReplicas; fewest <= most. "
            "Raise it or lower the other."
        ],
    ),
    (
        "fewer replicas at most than at first",
        ("autoscaling", "maxReplicas"),
        1,
        [
            "autoscaling.maxReplicas: 1, below the 2 of autoscaling.minReplicas (inference.replicas); fewest <= most. "
            "Raise it or lower the other."
        ],
    ),
    (
        "more replicas at most than GPUs",
        ("autoscaling", "maxReplicas"),
        5,
        [
            "autoscaling.maxReplicas: 5 replicas for 2 GPUs of 2 workers; each replica takes one GPU. "
            "Write 2 or less, or add GPUs to the workers in `nodes`."
        ],
    ),
    (
        "more replicas at least than GPUs",
        ("autoscaling", "minReplicas"),
        3,
        [
            "autoscaling.minReplicas: 3 replicas for 2 GPUs of 2 workers; each replica takes one GPU. "
            "Write 2 or less, or add GPUs to the workers in `nodes`."
        ],
    ),
    (
        "an average of a single reading",
        ("autoscaling", "windowSeconds"),
        20,
        [
            "autoscaling.windowSeconds: 20 s with a reading every 15 s (observability.prometheus.scrapeSeconds); "
            "the average needs two readings at least. Write 30 or more."
        ],
    ),
    (
        "NFS without a server",
        ("nodes", 5),
        REMOVED,
        [
            "modelStore.server: missing, and no node has role storage; the NFS server is modelStore.server or the node of role "
            "storage. Set it, add a storage node, or choose another `kind`."
        ],
    ),
    (
        "NFS with two servers",
        ("nodes", 6),
        {"name": "storage-2", "address": "192.168.1.101", "role": "storage"},
        ["modelStore.server: missing with 2 storage nodes; only one of them can be meant. Set it."],
    ),
    (
        "a folder with a server",
        ("modelStore",),
        {"kind": "folder", "server": "192.168.1.100"},
        ["modelStore.server: set with `kind: folder`; it belongs to `nfs`. Remove it."],
    ),
    (
        "an export with a bucket and an endpoint",
        ("modelStore",),
        {"bucket": "models", "endpoint": "https://s3.example.com"},
        [
            "modelStore.endpoint: set with `kind: nfs`; it belongs to `s3` and `huggingface`. Remove it.",
            "modelStore.bucket: set with `kind: nfs`; it belongs to `s3`. Remove it.",
        ],
    ),
    (
        "a bucket that is nowhere",
        ("modelStore",),
        {"kind": "s3"},
        [
            "modelStore.endpoint: missing; an S3-compatible store is known by its address. Write one like "
            "`https://s3.example.com`.",
            "modelStore.bucket: missing; the models lie in one. Write its name.",
        ],
    ),
    (
        "a branch of the hub",
        ("modelStore",),
        {"kind": "huggingface", "revision": "main"},
        [
            "modelStore.revision: `main`; a branch or tag may move, a commit is 40 hexadecimal digits. Copy it from the "
            "model's page, Files, History."
        ],
    ),
    (
        "a manifest of the hub, which has none",
        ("modelStore",),
        {"kind": "huggingface", "revision": "a" * 40, "manifestSha256": "0" * 64},
        ["modelStore.manifestSha256: set with `kind: huggingface`; a commit pins its content already. Remove it."],
    ),
    (
        "a copy inside of what it is copied from",
        ("modelStore",),
        {"kind": "folder", "path": "/srv/models", "cachePath": "/srv/models/cache"},
        [
            "modelStore.cachePath: `/srv/models/cache` lies inside modelStore.path; the copy and its source are two folders. "
            "Choose another one."
        ],
    ),
    (
        "a writer that nobody knows",
        ("modelStore", "writer"),
        "builder",
        [
            "modelStore.writer: `builder`; an export names machines by address, and no node has this name. Write its IPv4 "
            "address or a node's name."
        ],
    ),
    (
        "a worker that writes",
        ("modelStore", "writer"),
        "gpu-1",
        ["modelStore.writer: `gpu-1` is a worker; workers only read. Name another machine or remove the key."],
    ),
    (
        "a writer where the export is another machine's",
        ("modelStore",),
        {"server": "nfs.example.com", "writer": "192.168.1.9"},
        [
            "modelStore.writer: set with a server that is no storage node; only what this program exports has one. "
            "Remove it."
        ],
    ),
    (
        "an export to everybody",
        ("modelStore", "clients"),
        ["0.0.0.0/0"],
        ["modelStore.clients[0]: 0.0.0.0/0; models are exported to known networks only. Write the workers' network."],
    ),
    (
        "an export that a worker cannot read",
        ("modelStore", "clients"),
        ["10.9.0.0/24"],
        [
            "modelStore.clients: none of them holds 192.168.1.21 of `gpu-1`, nor 1 more; every worker reads the export. Add "
            "its network."
        ],
    ),
    (
        "a Kubernetes mirror without a key",
        ("mirrors", "kubernetes"),
        {"url": "http://10.0.0.5/kubernetes"},
        ["mirrors.kubernetes.key: missing; apt accepts signed repositories only. Set key, keyFile or keyUrl."],
    ),
    (
        "two keys",
        ("mirrors", "os"),
        {"url": "http://10.0.0.5/debian", "keyFile": "mirror.asc", "keyUrl": "https://10.0.0.5/key.asc"},
        ["mirrors.os.keyUrl: set beside keyFile; one key signs the repository. Keep one."],
    ),
    (
        "a key that is none",
        ("mirrors", "os"),
        {"url": "http://10.0.0.5/debian", "key": "0xABCD"},
        [
            "mirrors.os.key: no PUBLIC KEY BLOCK; the key is an ASCII-armoured OpenPGP public key. "
            "Export it with `gpg --armor --export`."
        ],
    ),
    (
        "a key that only the mirror's own packages could fetch",
        ("mirrors", "os"),
        {"url": "http://10.0.0.5/debian", "keyUrl": "https://10.0.0.5/key.asc"},
        [
            "mirrors.os.keyUrl: set; what a node fetches it with is a package of this mirror, which apt would not trust yet. "
            "Use keyFile or key."
        ],
    ),
    (
        "a key over http on trust",
        ("mirrors", "kubernetes"),
        {"url": "http://10.0.0.5/kubernetes", "keyUrl": "http://10.0.0.5/key.asc"},
        [
            "mirrors.kubernetes.keySha256: missing; what comes over http is trusted by its digest only. "
            "Add the SHA-256 of the key, or use keyFile or https."
        ],
    ),
    (
        "a digest of nothing",
        ("mirrors", "os"),
        {"url": "http://10.0.0.5/debian", "keySha256": "a" * 64},
        ["mirrors.os.keySha256: set without keyUrl; it checks what keyUrl delivers. Remove it."],
    ),
    (
        "an NVIDIA mirror without a key",
        ("mirrors", "nvidia"),
        {"url": "http://10.0.0.5/nvidia"},
        ["mirrors.nvidia.key: missing; apt accepts signed repositories only. Set key, keyFile or keyUrl."],
    ),
    (
        "a version of a driver that somebody else installed",
        ("gpu",),
        {"driver": {"owner": "installed", "version": "580.95.05"}},
        [
            "gpu.driver.version: set; with `owner: installed` that is decided by whoever installed the driver. "
            "Remove it, or write `owner: program`."
        ],
    ),
    (
        "two owners of everything",
        ("gpu",),
        {"driver": {"owner": "operator", "module": "open"}, "timeSlicing": {"replicas": 2}, "dcgmExporter": True},
        [
            "autoscaling.gpuUtilization: 80 with the GPU operator's exporter; Prometheus reads this program's own exporter, and "
            "without a value nothing is scaled in. Write 0; the other signals remain.",
            "gpu.driver.module: set; with `owner: operator` that is decided by the GPU operator. "
            "Remove it, or write `owner: program`.",
            *(
                f"gpu.{key}: set with `owner: operator`; the GPU operator brings its own; two of them would fight over the "
                "GPUs. Set it in the operator's ClusterPolicy."
                for key in ("timeSlicing", "dcgmExporter")
            ),
            "inference.gpuMemoryUtilization: 0.9 with 2 pods on a GPU; time slicing does not divide the memory; together they "
            "take at most 1. Write 0.5 or less.",
        ],
    ),
    (
        "a signal without its source",
        ("gpu",),
        {"dcgmExporter": False},
        [
            "autoscaling.gpuUtilization: 80 with `gpu.dcgmExporter: false`; Prometheus reads this program's own exporter, and "
            "without a value nothing is scaled in. Write 0; the other signals remain."
        ],
    ),
    (
        "a driver version that is a branch",
        ("gpu",),
        {"driver": {"version": "580"}},
        [
            "gpu.driver.version: `580`; an exact driver version is two or three numbers like `580.95.05`. "
            "Take one that NVIDIA's repository offers."
        ],
    ),
    (
        "an open module of a driver that had none",
        ("gpu",),
        {"driver": {"version": "470.256.02", "module": "open"}},
        [
            "gpu.driver.module: open with 470.256.02; open kernel modules exist from 515 on. Choose a newer version.",
        ],
    ),
    (
        "a toolkit that loses GPUs",
        ("gpu",),
        {"toolkit": {"version": "1.17.8"}},
        [
            "gpu.toolkit.version: 1.17.8; older ones use a hook, and a container loses its GPU when systemd reloads its units. "
            "Choose 1.18.0 or newer."
        ],
    ),
    (
        "three engines that each want nearly a whole GPU",
        ("gpu",),
        {"timeSlicing": {"replicas": 3}},
        [
            "inference.gpuMemoryUtilization: 0.9 with 3 pods on a GPU; time slicing does not divide the memory; together they "
            "take at most 1. Write 0.33 or less."
        ],
    ),
    (
        "a login at a service without its address",
        ("webui",),
        {"login": {"kind": "forwardAuth"}},
        [
            "webui.login.address: missing with `kind: forwardAuth`; Traefik asks the authentication service there about each "
            "request. Set it."
        ],
    ),
    (
        "a service for a login that has none",
        ("webui",),
        {"login": {"kind": "password", "address": "http://auth/", "logoutUrl": "https://auth/out"}},
        [
            f"webui.login.{key}: set with `kind: password`; only an authentication service has one. Remove it or choose "
            "`kind: forwardAuth`."
            for key in ("address", "logoutUrl")
        ],
    ),
    (
        "limits of keys for an open API",
        ("webui",),
        {"api": {"access": "open", "keys": {"batch": {}}}},
        ["webui.api.keys: set with `access: open`; an open API asks for no key. Remove it or choose `access: keys`."],
    ),
    (
        "a digest for an image that is built",
        ("images",),
        {"build": {}, "overrides": {"webui": f"r.example.com/w:v1@sha256:{'0' * 64}"}},
        [
            "images.overrides.webui: a digest beside `images.build`; what is built has no digest yet. Write the tag only; the "
            "digest is found by the push."
        ],
    ),
    (
        "docker and a registry without TLS",
        ("images", "build"),
        {"plainHttp": True},
        [
            "images.build.plainHttp: set with `tool: docker`; docker takes registries without TLS from its daemon's "
            "`insecure-registries`. List the registry there and remove it."
        ],
    ),
    (
        "an unknown image",
        ("images", "overrides"),
        {"webgui": "registry.example.com/webui:v1"},
        [
            f"images.overrides.webgui: unknown name `webgui`; the images are {', '.join(sorted(IMAGES))}. "
            "Did you mean `webui`?"
        ],
    ),
    (
        "an unknown check of the nodes",
        ("preflight", "downgrade"),
        ["memory", "Disks"],
        [
            f"preflight.downgrade[1]: unknown name `Disks`; the checks are {', '.join(sorted(PREFLIGHT_CHECKS))}. "
            "Did you mean `disk`?"
        ],
    ),
]


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(config)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("path", "value", "lines"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_broken_rule(path: tuple[str | int, ...], value: Any, lines: list[str]) -> None:
    assert problems(with_value(path, value)) == lines


ALLOWED: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("a label of our own", (*GPU, "labels"), {"example.com/gpu": "4090d", "rack": "a1"}),
    ("a label a kubelet may carry", (*GPU, "labels"), {"topology.kubernetes.io/zone": "hall-1"}),
    (
        "the same taint key with another effect",
        (*GPU, "taints"),
        [{"key": "gpu"}, {"key": "gpu", "effect": "NoExecute"}],
    ),
    ("a storage node that is named", ("modelStore", "server"), "storage-1"),
    ("a writer of its own", ("modelStore", "writer"), "192.168.1.9"),
    ("the storage network", ("modelStore", "clients"), ["192.168.1.0/24"]),
    ("a public bucket", ("modelStore",), {"kind": "s3", "endpoint": "https://s3.example.com", "bucket": "models/qwen"}),
    ("a commit of the hub", ("modelStore",), {"kind": "huggingface", "revision": "a1" * 20}),
    ("a named NFS server beside a storage node", ("modelStore", "server"), "nfs.example.com"),
    ("an address of the pool", ("ingress", "address"), "192.168.1.220"),
    ("just time enough for a request", ("ingress", "limits"), {"requestSeconds": 135}),
    (
        "limits of a client",
        ("ingress", "limits"),
        {"client": {"requestsPerSecond": 5, "burst": 5, "requestsInFlight": 8}},
    ),
    ("a small gateway", ("ingress", "memoryMib"), 512),
    ("a network as pool", ("loadBalancer", "addresses"), ["192.168.1.224/28"]),
    ("an image by digest", ("images", "overrides"), {"vllm": f"registry.example.com:5000/vllm@sha256:{'a' * 64}"}),
    (
        "a key over http with its digest",
        ("mirrors", "kubernetes"),
        {"url": "http://m/d", "keyUrl": "http://m/k", "keySha256": "0" * 64},
    ),
    ("an own Debian mirror with Debian's keys", ("mirrors", "os"), {"url": "http://m/debian", "suite": "bookworm"}),
    ("a login at a service", ("webui", "login"), {"kind": "forwardAuth", "address": "http://auth.auth.svc/verify"}),
    ("limits of one key", ("webui", "api"), {"keys": {"batch": {"requestsInFlight": 2, "requestsPerMinute": 60}}}),
    (
        "an image built with buildah",
        ("images", "build"),
        {"tool": "buildah", "plainHttp": True, "push": "10.0.0.5:5000/w:v1"},
    ),
    ("taints on sick nodes of two", ("gpu",), {"taintSickNodes": True}),
    ("the taint of sick nodes where nothing sets it", (*GPU, "taints"), [{"key": "nvidia.com/gpu-unhealthy"}]),
    ("a bastion verified by knownHosts", ("ssh", "jump"), {"address": "bastion.example.com"}),
]


@pytest.mark.parametrize(("path", "value"), [case[1:] for case in ALLOWED], ids=[case[0] for case in ALLOWED])
def test_what_is_allowed_passes(path: tuple[str | int, ...], value: Any) -> None:
    parse(with_value(path, value))


def test_the_first_size_lies_between_the_bounds() -> None:
    config = with_value(("autoscaling",), {"minReplicas": 2, "maxReplicas": 2})
    config["inference"] = {"replicas": 1}
    assert problems(config) == [
        "inference.replicas: 1; the first size lies between autoscaling.minReplicas (2) and autoscaling.maxReplicas (2). "
        "Choose one of these."
    ]
    config["autoscaling"]["enabled"] = False
    parse(config)


def test_the_autoscaler_needs_metrics() -> None:
    config = with_value(("observability",), {"enabled": False})
    assert problems(config) == [
        "autoscaling.enabled: true with `observability.enabled: false`; the number of replicas follows Prometheus' metrics. "
        "Turn one on or the other off."
    ]
    config["autoscaling"] = {"enabled": False}
    parse(config)


@pytest.mark.parametrize(("left", "nodes"), [(1, "1 node"), (0, "0 nodes")])
def test_sick_nodes_are_tainted_only_where_others_are_left(left: int, nodes: str) -> None:
    config = with_value(("gpu",), {"taintSickNodes": True})
    for node in config["nodes"][3 + left : 5]:
        node["gpus"] = 0
    assert (
        f"gpu.taintSickNodes: true with {nodes} with GPUs; at least half of them stay open to pods, so nothing would ever be "
        "tainted. Remove it." in problems(config)
    )


def test_a_taint_has_one_owner() -> None:
    config = with_value(("gpu",), {"taintSickNodes": True})
    config["nodes"][4]["taints"] = [{"key": "example.com/a"}, {"key": "nvidia.com/gpu-unhealthy"}]
    assert problems(config) == [
        "nodes[gpu-2].taints[1].key: `nvidia.com/gpu-unhealthy`; `gpu.taintSickNodes` sets and clears this taint by itself. "
        "Remove one of the two."
    ]


def test_host_keys_may_stand_at_the_nodes_instead_of_known_hosts() -> None:
    config = with_value(("ssh",), {"jump": {"address": "bastion.example.com"}})
    for node in config["nodes"]:
        node["hostKeys"] = [KEY]
    del config["nodes"][1]["hostKeys"], config["nodes"][2]["hostKeys"]
    rule = "every host key is verified and ssh.knownHosts is not set. Set ssh.knownHosts or list the public host keys."
    assert problems(config) == [
        f"nodes[master-2].hostKeys: missing, as at 1 more nodes; {rule}",
        f"ssh.jump.hostKeys: missing; {rule}",
    ]
    config["nodes"][1]["hostKeys"] = config["nodes"][2]["hostKeys"] = config["ssh"]["jump"]["hostKeys"] = [KEY]
    parse(config)


@pytest.mark.parametrize(
    ("firewall", "shut_out"),
    [
        ({"operatorNetworks": ["10.0.0.0/24"]}, True),
        ({"operatorNetworks": ["10.0.0.0/24", "203.0.113.0/24"]}, False),
        ({"operatorNetworks": ["10.0.0.0/24"], "enabled": False}, False),
        ({}, False),
    ],
)
def test_the_bastion_is_not_shut_out(firewall: dict[str, Any], shut_out: bool) -> None:
    config = with_value(("ssh", "jump"), {"address": "203.0.113.7"}) | {"firewall": firewall}
    said = [
        "firewall.operatorNetworks: 203.0.113.7 of ssh.jump lies in none of them; nodes see the bastion, and nobody else may use "
        "SSH. Add `203.0.113.7/32`."
    ]
    if shut_out:
        assert problems(config) == said
    else:
        parse(config)
    config["ssh"]["jump"]["address"] = "bastion.example.com"
    parse(config)  # what it resolves to is not known here


def test_one_control_plane_needs_no_address_of_its_own() -> None:
    config = with_value(("kubernetes",), {})
    config["nodes"] = [config["nodes"][0], *config["nodes"][3:]]
    assert parse(config).api_host == "192.168.1.11"


def test_a_thousand_nodes_share_one_line() -> None:
    workers = [
        {"name": f"w-{n}", "address": f"172.16.{n // 250}.{n % 250 + 1}", "role": "worker", "gpus": 1}
        for n in range(1000)
    ]
    config = with_value(("nodes",), [*NODES, *workers])
    assert problems(config) == [
        "kubernetes.podSubnet: 10.244.0.0/16 has room for 256 nodes of 1005; each node takes a /24, and the network cannot be "
        "changed later. Choose a /14 or larger."
    ]
    config["kubernetes"]["podSubnet"] = "172.16.0.0/12"
    assert problems(config) == [
        "kubernetes.podSubnet: 172.16.0.0/12 contains 172.16.0.1 of `w-0` and 999 more; "
        f"{OVERLAP}. Choose another private network."
    ]


def test_the_default_release_is_one_that_is_installed() -> None:
    assert Kubernetes().version.rpartition(".")[0] == KUBERNETES_MINORS[-1]


def test_the_names_of_the_checks_are_those_the_preflight_uses() -> None:
    """The foundation imports no layer, so the names are written twice; the source of the preflight decides."""
    source = inspect.getsource(preflight) + inspect.getsource(gpu_checks)
    assert set(re.findall(r'Message\(\s*"([a-z-]+)"', source)) == set(PREFLIGHT_CHECKS)


def test_a_login_at_the_gateway_makes_more_ways_in_that_need_room() -> None:
    config = with_value(("ingress", "memoryMib"), 256)
    parse(config)
    login = {"kind": "forwardAuth", "address": "http://auth.example.com/"}
    with pytest.raises(SettingsError) as failed:
        parse(config | {"webui": {"login": login}})
    assert (
        "ingress.memoryMib: 256 MiB; 1/8 of it is for the largest bodies and has to hold 2 bodies of 32 MiB "
        "(inference.maxBodyMib). Write 512 or more, or lower inference.maxBodyMib." in str(failed.value)
    )
