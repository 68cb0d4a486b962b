"""kubeadm's configuration files (v1beta4), as text: pure functions of the settings and one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from components.cluster import api_server
from components.cluster.container_runtime import SOCKET
from components.naming import GPU_LABEL
from components.settings import Kubernetes, Node, Role
from components.traffic import ETCD_METRICS, KUBE_PROXY_METRICS_PORT

API = "kubeadm.k8s.io/v1beta4"
INIT_FILE = "/etc/kubeadm/init.yaml"
JOIN_FILE = "/etc/kubeadm/join.yaml"
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
# Prometheus comes from the pod network. Every address, because this text is the same on all nodes: the packet filter lets
# nobody else in (components/hosts/openings.py). Controller manager and scheduler ask the API server who it is, too.
METRICS = {"bind-address": "0.0.0.0"}  # noqa: S104
# A first pull of the control plane's images from afar takes minutes; kubeadm's own limits stay for everything else.
TIMEOUTS = {"controlPlaneComponentHealthCheck": "6m0s", "kubeletHealthCheck": "4m0s", "tlsBootstrap": "5m0s"}
# Replaced on the node by what a control plane mints at that moment; never written to a disk.
TOKEN, CA_HASH, CERTIFICATE_KEY = "@TOKEN@", "@CA_HASH@", "@CERTIFICATE_KEY@"


def init_yaml(kubernetes: Kubernetes, node: Node, api_host: str) -> str:
    """What `kubeadm init` reads. The same on every control plane but for the node's own name, address, labels and taints."""
    return documents(
        {
            "apiVersion": API,
            "kind": "InitConfiguration",
            # kubeadm always makes one token; nobody uses this one.
            "bootstrapTokens": [{"ttl": "1m0s"}],
            "localAPIEndpoint": local_endpoint(kubernetes, node),
            "nodeRegistration": registration(kubernetes, node),
            "timeouts": TIMEOUTS,
        },
        cluster_configuration(kubernetes, api_host),
        kubelet_configuration(kubernetes),
        kube_proxy_configuration(kubernetes),
    )


def join_yaml(kubernetes: Kubernetes, node: Node, api_host: str) -> str:
    """What `kubeadm join` reads once the placeholders are filled in."""
    join: dict[str, Any] = {
        "apiVersion": API,
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": f"{api_host}:{kubernetes.api_port}",
                "token": TOKEN,
                "caCertHashes": [CA_HASH],
            },
        },
        "nodeRegistration": registration(kubernetes, node),
        "timeouts": TIMEOUTS,
    }
    if node.role is Role.CONTROL_PLANE:
        join["controlPlane"] = {
            "localAPIEndpoint": local_endpoint(kubernetes, node),
            "certificateKey": CERTIFICATE_KEY,
        }
    return documents(join)


def local_endpoint(kubernetes: Kubernetes, node: Node) -> dict[str, Any]:
    """Where this control plane's own API server listens: the endpoint's port, because the address moves between them."""
    return {"advertiseAddress": str(node.address), "bindPort": kubernetes.api_port}


def registration(kubernetes: Kubernetes, node: Node) -> dict[str, Any]:
    """How the node presents itself to the cluster."""
    arguments = [{"name": "node-ip", "value": str(node.address)}]
    if labels := node.labels | ({GPU_LABEL: "true"} if node.gpus else {}):
        pairs = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        arguments.append({"name": "node-labels", "value": pairs})
    taints: list[dict[str, str]] = [CONTROL_PLANE_TAINT] if node.role is Role.CONTROL_PLANE else []
    taints += [
        {"key": t.key, "effect": t.effect} | ({"value": t.value} if t.value else {})
        for t in node.taints
        if (t.key, t.effect) != (CONTROL_PLANE_TAINT["key"], CONTROL_PLANE_TAINT["effect"])
    ]
    described: dict[str, Any] = {
        "name": node.name,
        "criSocket": SOCKET,
        "kubeletExtraArgs": arguments,
        "taints": taints,
    }
    if kubernetes.ignore_preflight:
        described["ignorePreflightErrors"] = list(kubernetes.ignore_preflight)
    return described


def cluster_configuration(kubernetes: Kubernetes, api_host: str) -> dict[str, Any]:
    """The cluster's own part. Each API server's certificate covers the endpoint and, by kubeadm, the node it runs on."""
    return {
        "apiVersion": API,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": f"v{kubernetes.version}",
        "controlPlaneEndpoint": f"{api_host}:{kubernetes.api_port}",
        "networking": {
            "podSubnet": str(kubernetes.pod_subnet),
            "serviceSubnet": str(kubernetes.service_subnet),
            "dnsDomain": kubernetes.dns_domain,
        },
        # localhost: for an operator who comes through an SSH tunnel.
        "apiServer": {
            "certSANs": [api_host, "localhost", "127.0.0.1"],
            "extraArgs": flags(api_server.arguments()),
            "extraVolumes": api_server.volumes(),
        },
        "controllerManager": {"extraArgs": flags(api_server.KEPT_PODS | api_server.QUIET | api_server.TLS | METRICS)},
        "scheduler": {"extraArgs": flags(api_server.QUIET | api_server.TLS | METRICS)},
        "etcd": {"local": {"extraArgs": flags({"listen-metrics-urls": f"http://0.0.0.0:{ETCD_METRICS}"})}},
    }


def flags(arguments: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in arguments.items()]


def kubelet_configuration(kubernetes: Kubernetes) -> dict[str, Any]:
    """The user's values win."""
    generated = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": kubernetes.cgroup_driver,
        "rotateCertificates": True,  # of kubelets' clients, also where somebody's defaults say otherwise
        "seccompDefault": True,  # what names no profile gets the runtime's, not none
        "tlsMinVersion": api_server.TLS["tls-min-version"],
        "tlsCipherSuites": list(api_server.CIPHERS),
    }
    return merged(generated, kubernetes.kubelet)


def kube_proxy_configuration(kubernetes: Kubernetes) -> dict[str, Any]:
    """The user's values win."""
    generated = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
    generated["metricsBindAddress"] = f"0.0.0.0:{KUBE_PROXY_METRICS_PORT}"
    return merged(generated, kubernetes.kube_proxy)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mappings key by key, everything else as a whole."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def documents(*parts: Mapping[str, Any]) -> str:
    """YAML documents in a fixed order of keys: the text's digest decides whether something changed."""
    return "---\n".join(yaml.safe_dump(dict(part), sort_keys=False, width=200) for part in parts)
