"""Nodes and Kubernetes itself, by node-exporter, kube-state-metrics and the metrics of the control plane. Pure."""

from __future__ import annotations

from components.observability.dashboards.model import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row
from components.observability.dashboards.queries import WINDOW, quantiles

NODE, STATE = 'job="node-exporter"', 'job="kube-state-metrics"'
API, ETCD, DNS = 'job="kube-apiserver"', 'job="etcd"', 'job="coredns"'
# Of the machine's own disks; the rest is memory, or the same disk seen again.
DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|nsfs|rootfs",mountpoint!~"/(var/lib/(kubelet|containerd)|run)/.+"'
CARDS = 'device!~"lo|veth.*|cni.*|flannel.*|cali.*|kube.*|dummy.*"'
BY_NODE = "{{node}}"


def dashboard() -> Dashboard:
    return Dashboard(
        uid="qwen3-vl-cluster",
        title="Cluster",
        description="Machines, pods, the API and etcd.",
        rows=(
            Row(title="At a glance", panels=glance()),
            Row(title="Nodes", panels=nodes()),
            Row(title="Pods", panels=pods()),
            Row(title="API and etcd", panels=control_plane()),
        ),
    )


def count(title: str, description: str, expr: str, *, bad: float | None = 1) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit="short",
        kind="stat",
        width=4,
        height=4,
        thresholds=((bad, RED),) if bad is not None else (),
        queries=(Query(expr=expr),),
    )


def glance() -> tuple[Panel, ...]:
    ready = f'kube_node_status_condition{{{STATE},condition="Ready",status="true"}}'
    return (
        count("Nodes", "Members of the cluster.", f"count({ready})", bad=None),
        count(
            "Nodes not ready", "Their kubelets are silent, or say that they are not well.", f"sum({ready} == bool 0)"
        ),
        count(
            "Pods not ready",
            "Running, but not taking requests.",
            f'sum(kube_pod_status_phase{{{STATE},phase="Running"}}) - sum(kube_pod_status_ready{{{STATE},condition="true"}})',
        ),
        count(
            "Pods pending",
            "No node takes them, or an image is missing.",
            f'sum(kube_pod_status_phase{{{STATE},phase="Pending"}})',
        ),
        count(
            "etcd without a leader",
            "Members that know of no leader take no writes.",
            f"sum(etcd_server_has_leader{{{ETCD}}} == bool 0)",
        ),
        Panel(
            title="Youngest backup of etcd",
            description="Age of the last one that succeeded, on any control plane.",
            unit="s",
            kind="stat",
            width=4,
            height=4,
            thresholds=((26 * 3600, YELLOW), (50 * 3600, RED)),
            empty="There is none yet.",
            queries=(Query(expr=f"time() - max(etcd_backup_last_success_timestamp_seconds{{{NODE}}})"),),
        ),
    )


def nodes() -> tuple[Panel, ...]:
    reads, writes = (f"rate(node_disk_{way}_bytes_total{{{NODE}}}[{WINDOW}])" for way in ("read", "written"))
    received, sent = (
        f"rate(node_network_{way}_bytes_total{{{NODE},{CARDS}}}[{WINDOW}])" for way in ("receive", "transmit")
    )
    return (
        Panel(
            title="Processors busy",
            description="Share of all cores of a node.",
            unit="percentunit",
            least=0,
            most=1,
            thresholds=((0.9, RED),),
            queries=(
                Query(
                    expr=f'1 - avg by (node) (rate(node_cpu_seconds_total{{{NODE},mode="idle"}}[{WINDOW}]))',
                    legend=BY_NODE,
                ),
            ),
        ),
        Panel(
            title="Memory used",
            description="What is not available to new processes; caches are.",
            unit="percentunit",
            least=0,
            most=1,
            thresholds=((0.9, RED),),
            queries=(
                Query(
                    expr=f"1 - node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}",
                    legend=BY_NODE,
                ),
            ),
        ),
        Panel(
            title="Disk used",
            description="The fullest file system of each node. From 85 % the kubelet removes images, later pods.",
            unit="percentunit",
            least=0,
            most=1,
            thresholds=((0.8, YELLOW), (0.9, RED)),
            queries=(
                Query(
                    expr=f"max by (node, mountpoint) (1 - node_filesystem_avail_bytes{{{NODE},{DISKS}}}"
                    f" / node_filesystem_size_bytes{{{NODE},{DISKS}}})",
                    legend="{{node}} {{mountpoint}}",
                ),
            ),
        ),
        Panel(
            title="Load for each core",
            description="Processes that run or wait, of the last 5 minutes. Above 1 they wait for each other.",
            unit="short",
            least=0,
            thresholds=((1, YELLOW), (2, RED)),
            queries=(
                Query(
                    expr=f"max by (node) (node_load5{{{NODE}}})"
                    f' / count by (node) (node_cpu_seconds_total{{{NODE},mode="idle"}})',
                    legend=BY_NODE,
                ),
            ),
        ),
        Panel(
            title="Network",
            description="Bytes a second of the node's own cards, received and sent.",
            unit="Bps",
            least=0,
            queries=(
                Query(expr=f"sum by (node) ({received})", legend="to {{node}}"),
                Query(expr=f"sum by (node) ({sent})", legend="from {{node}}"),
            ),
        ),
        Panel(
            title="Disk traffic",
            description="Bytes a second, read and written.",
            unit="Bps",
            least=0,
            queries=(
                Query(expr=f"sum by (node) ({reads})", legend="read {{node}}"),
                Query(expr=f"sum by (node) ({writes})", legend="written {{node}}"),
            ),
        ),
    )


def pods() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Memory of pods",
            description="The ten that use most.",
            unit="bytes",
            least=0,
            queries=(
                Query(
                    expr='topk(10, sum by (namespace, pod) (container_memory_working_set_bytes{job="cadvisor",container!=""}))',
                    legend="{{namespace}}/{{pod}}",
                ),
            ),
        ),
        Panel(
            title="Processors of pods",
            description="The ten that use most, in cores.",
            unit="short",
            least=0,
            queries=(
                Query(
                    expr="topk(10, sum by (namespace, pod)"
                    f' (rate(container_cpu_usage_seconds_total{{job="cadvisor",container!=""}}[{WINDOW}])))',
                    legend="{{namespace}}/{{pod}}",
                ),
            ),
        ),
        Panel(
            title="Restarts",
            description="Of containers, within the last hour.",
            unit="short",
            kind="table",
            empty="None restarted.",
            queries=(
                Query(
                    expr="round(sum by (namespace, pod, container)"
                    f" (increase(kube_pod_container_status_restarts_total{{{STATE}}}[1h]))) > 0"
                ),
            ),
        ),
    )


def control_plane() -> tuple[Panel, ...]:
    calls = "apiserver_request_total"
    return (
        Panel(
            title="Requests to the API",
            description="A second, by code.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(Query(expr=f"sum by (code) (rate({calls}{{{API}}}[{WINDOW}]))", legend="{{code}}"),),
        ),
        Panel(
            title="Errors of the API",
            description="Share of 5xx.",
            unit="percentunit",
            least=0,
            thresholds=((0.01, RED),),
            queries=(
                Query(
                    expr=f'(sum(rate({calls}{{{API},code=~"5.."}}[{WINDOW}])) or vector(0))'
                    f" / sum(rate({calls}{{{API}}}[{WINDOW}]))",
                    legend="5xx",
                ),
            ),
        ),
        Panel(
            title="How long the API takes",
            description="For reads and writes, without the ones that stay open.",
            unit="s",
            least=0,
            thresholds=((1, RED),),
            queries=quantiles("apiserver_request_duration_seconds", f'{API},verb!~"WATCH|CONNECT"'),
        ),
        Panel(
            title="etcd writes to disk",
            description="How long 99 of 100 take. Above 25 ms leaders change; above 100 ms nothing works well.",
            unit="s",
            least=0,
            thresholds=((0.025, YELLOW), (0.1, RED)),
            queries=(
                Query(
                    expr="histogram_quantile(0.99, sum by (le, node)"
                    f" (rate(etcd_disk_wal_fsync_duration_seconds_bucket{{{ETCD}}}[{WINDOW}])))",
                    legend=BY_NODE,
                ),
            ),
        ),
        Panel(
            title="etcd's database",
            description="Its limit is 2 GiB unless told otherwise; behind it the cluster takes no changes.",
            unit="bytes",
            least=0,
            thresholds=((1.6 * 2**30, RED),),
            queries=(Query(expr=f"etcd_mvcc_db_total_size_in_bytes{{{ETCD}}}", legend=BY_NODE),),
        ),
        Panel(
            title="Changes of etcd's leader",
            description="Within an hour. More than a few: slow disks, or a bad network between control planes.",
            unit="short",
            least=0,
            thresholds=((3, RED),),
            queries=(
                Query(
                    expr=f"max by (node) (increase(etcd_server_leader_changes_seen_total{{{ETCD}}}[1h]))",
                    legend=BY_NODE,
                ),
            ),
        ),
        Panel(
            title="Names asked for",
            description="Answers of the cluster's DNS a second, by code. NXDOMAIN is usual: search domains are tried in turn.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (rcode) (rate(coredns_dns_responses_total{{{DNS}}}[{WINDOW}]))", legend="{{rcode}}"
                ),
            ),
        ),
        Panel(
            title="Work that waits",
            description="In the controller manager's queues.",
            unit="short",
            least=0,
            queries=(
                Query(
                    expr='topk(5, max by (name) (workqueue_depth{job="kube-controller-manager"}))', legend="{{name}}"
                ),
            ),
        ),
        Panel(
            title="Pods that no node takes",
            description="In the scheduler's queues.",
            unit="short",
            least=0,
            start=GREEN,
            thresholds=((1, YELLOW),),
            queries=(Query(expr='max by (queue) (scheduler_pending_pods{job="kube-scheduler"})', legend="{{queue}}"),),
        ),
    )
