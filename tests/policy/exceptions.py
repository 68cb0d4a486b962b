"""What may break a rule, one line for each part of each resource, and why. The list is to become shorter.

Whoever adds a line writes the reason that the next reader would accept; CONTRIBUTING.md says how. A line that nothing needs any
longer is a finding itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from components.versions import IMAGES
from tests.policy import firewall, network, pods, rights
from tests.policy.findings import ANY, Allowed, Rule

ROOT_OF_THE_NETWORK = (
    "upstream's manifest: it sets up the node's network and files as root; less has not been tried on a cluster yet"
)
RULES_OF_THE_HOST = "iptables and ipset of the host are root's; of all capabilities it has the two that they need"
ROOT_OF_THE_KUBELET = "its socket in the kubelet's folder belongs to root; without capabilities"

# Resource, containers, rules: hardening that a few DaemonSets go without.
LOOSER: tuple[tuple[str, tuple[str, ...], tuple[Rule, ...], str], ...] = (
    (
        "DaemonSet flannel",
        ("install-cni-plugin", "install-cni", "kube-flannel"),
        (
            pods.containers_do_not_run_as_root,
            pods.containers_cannot_gain_privileges,
            pods.containers_drop_all_capabilities,
            pods.containers_use_the_default_seccomp_profile,
            pods.containers_cannot_write_their_image,
        ),
        ROOT_OF_THE_NETWORK,
    ),
    ("DaemonSet network-policy-agent", ("kube-router",), (pods.containers_do_not_run_as_root,), RULES_OF_THE_HOST),
    (
        "DaemonSet network-policy-agent",
        ("kube-router",),
        (pods.containers_cannot_write_their_image,),
        "its image links to the kind of iptables that the node uses, at each start",
    ),
    ("DaemonSet gpu-plugin", ("plugin",), (pods.containers_do_not_run_as_root,), ROOT_OF_THE_KUBELET),
    ("DaemonSet gpu-dcgm-exporter", ("exporter",), (pods.containers_do_not_run_as_root,), ROOT_OF_THE_KUBELET),
    (
        "DaemonSet log-collector",
        ("collector",),
        (pods.containers_do_not_run_as_root,),
        "logs on a node are root's; without capabilities",
    ),
    (
        "DaemonSet metallb-speaker",
        ("speaker",),
        (pods.containers_do_not_run_as_root,),
        "raw sockets: a capability that is added stays with a process of root only",
    ),
    (
        "Deployment qwen3-vl",
        ("engine",),
        (pods.containers_cannot_write_their_image,),
        "Triton, FlashInfer and the CUDA compiler write beside their own code",
    ),
)

CAPABILITIES = (
    ("DaemonSet flannel", "kube-flannel NET_ADMIN", "makes the VXLAN device and its routes on the host"),
    ("DaemonSet flannel", "kube-flannel NET_RAW", "iptables of the host"),
    ("DaemonSet network-policy-agent", "kube-router NET_ADMIN", "packet filter rules and address sets of the host"),
    ("DaemonSet network-policy-agent", "kube-router NET_RAW", "iptables of the host"),
    ("DaemonSet metallb-speaker", "speaker NET_RAW", "answers ARP"),
)

OF_THE_HOST = (
    ("DaemonSet flannel", "hostNetwork", "there is no pod network before it runs"),
    ("DaemonSet network-policy-agent", "hostNetwork", "what it filters is in the host's network"),
    ("DaemonSet metallb-speaker", "hostNetwork", "answers ARP where clients are"),
    ("DaemonSet node-exporter", "hostNetwork", "it counts the node's own interfaces and connections"),
)

COPY = "what pods claim is the node's own copy of the model (docs/adr/0011); no pod names a folder of the host"
FOLDERS = (
    ("DaemonSet flannel", "/run/flannel", "its CNI plugin reads there what network the node has"),
    ("DaemonSet flannel", "/opt/cni/bin", "the container runtime looks for CNI plugins there"),
    ("DaemonSet flannel", "/etc/cni/net.d", "the container runtime looks for the network's configuration there"),
    ("DaemonSet flannel", "/run/xtables.lock", "iptables of the host and of kube-proxy take turns by it"),
    ("DaemonSet network-policy-agent", "/run/xtables.lock", "iptables of the host, Flannel and it take turns by it"),
    ("DaemonSet gpu-plugin", "/var/lib/kubelet/device-plugins", "the kubelet's socket for device plugins"),
    ("DaemonSet gpu-plugin", "/var/run/cdi", "descriptions of the GPUs for the container runtime"),
    ("DaemonSet gpu-dcgm-exporter", "/var/lib/kubelet/pod-resources", "the kubelet's socket that says whose a GPU is"),
    ("DaemonSet log-collector", "/var/log", "logs of pods, of the API server and the journal; read-only"),
    ("DaemonSet log-collector", "/run/log", "the journal of a node that keeps it in memory; read-only"),
    (
        "DaemonSet log-collector",
        "/var/lib/qwen3-vl/log-collector",
        "what it has read and not delivered outlives its pod",
    ),
    ("DaemonSet node-exporter", "/", "file systems, /proc and /sys of the node, read-only and as nobody"),
    ("DaemonSet node-exporter", "/var/lib/node-exporter/textfile", "what scripts of the node have to say, read-only"),
    ("PersistentVolume model-cache-models-volume", "/var/lib/qwen3-vl/models", COPY),
    ("PersistentVolume model-cache-cache-volume", "/var/lib/qwen3-vl/models", COPY),
    ("PersistentVolume model-cache-source-volume", "/srv/models", "the folder that modelStore.path names"),
)

NAMESPACES = (
    ("Namespace flannel-namespace", "it changes the hosts' networks"),
    ("Namespace observability-node-agents", "node-exporter reads the host's file systems and network"),
    ("Namespace metallb-namespace", "speakers use the host's network and raw sockets"),
)
NOT_OURS = (("kube-system", "Kubernetes' own: what extends the kubelet, CoreDNS or the API lives there"),)

CLOSED = (
    (
        "DaemonSet metallb-speaker",
        "tcp 7472",
        "metrics that nothing reads yet; its own kubelet's probes come from the node itself",
    ),
)

TALK_TO_THE_API = (
    ("DaemonSet flannel", "reads nodes, writes its own node's VXLAN address"),
    ("DaemonSet network-policy-agent", "reads policies, pods and namespaces"),
    ("DaemonSet metallb-speaker", "reads Services and endpoints, writes who answers for an address"),
    ("Deployment metallb-controller", "writes the addresses of Services"),
    ("Deployment traefik", "reads routes, endpoints and certificates"),
    ("Deployment acme-issuer", "keeps the gateways' certificate in a Secret"),
    ("StatefulSet prometheus", "finds pods and nodes, and shows its token to kubelets and the control plane"),
    ("Deployment kube-state-metrics", "reads the objects that it counts"),
    ("Deployment prometheus-adapter", "serves an API of Kubernetes and looks pods up"),
    ("Deployment metrics-server", "serves an API of Kubernetes and reads nodes and pods"),
)

USED_BY_NOBODY = (
    (
        "Deployment traefik",
        "9100",
        "Prometheus reads it; where nothing scales there is no Prometheus, and no policy opens it",
    ),
    ("Deployment jaeger", "16686", "Grafana asks it; where there is none, `kubectl port-forward` does"),
)

OUR_OWN = "ours, under a name that the user chooses; `images.build` or `images.overrides` bring its digest"
UPSTREAM = (
    "its digest could not be read where this was written, and the lab serves an image of its own under the name;"
    " components/versions.py says how to pin it"
)
# By their names in components/versions.py: only the very reference that stands there may be a tag.
BY_TAG = {
    **dict.fromkeys(("webui", "model-cache", "acme-issuer", "log-collector"), OUR_OWN),
    **dict.fromkeys(
        (
            *(
                "flannel",
                "flannel-cni-plugin",
                "kube-router",
                "metallb-controller",
                "metallb-speaker",
                "traefik",
                "redis",
                "haproxy",
            ),
            *("nvidia-device-plugin", "dcgm-exporter", "metrics-server", "prometheus", "prometheus-adapter", "vllm"),
            *("node-exporter", "kube-state-metrics"),
            "trivy",
            "grafana",
            "jaeger",
            "loki",
        ),
        UPSTREAM,
    ),
}


def _each(rule: Rule, entries: Iterable[tuple[str, str, str]]) -> Iterable[Allowed]:
    return (Allowed(rule=rule, resource=resource, part=part, reason=reason) for resource, part, reason in entries)


ALLOWED: tuple[Allowed, ...] = (
    *_each(
        pods.images_are_pinned_by_digest, [(ANY, IMAGES[name].reference, reason) for name, reason in BY_TAG.items()]
    ),
    *(
        Allowed(rule=rule, resource=resource, part=container, reason=reason)
        for resource, containers, rules, reason in LOOSER
        for container in containers
        for rule in rules
    ),
    *_each(pods.containers_add_no_capabilities, CAPABILITIES),
    *_each(pods.pods_share_nothing_with_the_host, OF_THE_HOST),
    *_each(pods.no_folder_of_the_host_is_mounted, FOLDERS),
    *_each(firewall.ports_in_the_hosts_network_are_open_on_purpose, CLOSED),
    *_each(rights.namespaces_enforce_restricted_pods, [(resource, "", reason) for resource, reason in NAMESPACES]),
    *_each(rights.objects_are_in_a_namespace_of_ours, [(ANY, part, reason) for part, reason in NOT_OURS]),
    *_each(network.ports_are_for_somebody, USED_BY_NOBODY),
    *_each(
        rights.tokens_are_mounted_only_where_the_api_is_used,
        [(resource, "", reason) for resource, reason in TALK_TO_THE_API],
    ),
)
