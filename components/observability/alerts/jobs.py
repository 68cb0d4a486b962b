"""How rules choose what one job of Prometheus has read: selectors, by the job's name. Pure."""

from __future__ import annotations

NODES = 'job="node-exporter"'
STATE = 'job="kube-state-metrics"'
KUBELETS = 'job="kubelet"'
API = 'job="kube-apiserver"'
SCHEDULER = 'job="kube-scheduler"'
CONTROLLERS = 'job="kube-controller-manager"'
PROXY = 'job="kube-proxy"'
ETCD = 'job="etcd"'
NAMES = 'job="coredns"'


def silent(job: str) -> str:
    """Nodes on which nothing of the job answers."""
    return f"max by (node) (up{{{job}}}) == 0"


def none_found(job: str) -> str:
    """True where no pod of the job answers, or there is none any more; nothing where nodes are not read either."""
    return f"absent(up{{{job}}} == 1) and on () count(up{{{NODES}}} == 1)"


def none_left(job: str) -> str:
    """True where all of it is silent; nothing where it is not read at all."""
    return f"max(up{{{job}}}) == 0"
