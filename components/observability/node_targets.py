"""What Prometheus reads at the nodes' own addresses: the nodes and Kubernetes itself. Pure.

Only what alerts, dashboards and people ask for is kept. On a node with 30 pods that are some 900 series: 350 of node-exporter,
250 of the containers, 200 of the kubelet, 30 of kube-proxy; on a control plane 600 more. All would be some 15 000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.traffic import KUBE_PROXY_METRICS_PORT, KUBELET_PORT, NODE_EXPORTER_PORT

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
# Of the API servers' times of requests; left are 0.05, 0.1, 0.4, 1, 2, 5, 10, 30, 60 and all.
UNREAD_SECONDS = "0[.](005|025|2|6|8)|1[.](25|5)|(3|4|6|8|15|20|45)([.]0)?"
PROCESS = "process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds|open_fds)"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTarget:
    job: str
    port: int  # 0: the API server's
    keep: str  # only metrics whose names match this regular expression
    path: str = "/metrics"
    control_planes: bool = False  # on these only
    tls: bool = False  # with the service account's token
    verified: bool = False  # its certificate is the cluster's; others sign theirs themselves
    drop: tuple[dict[str, Any], ...] = ()  # further rules on what is kept


NODES = NodeTarget(
    job="node-exporter",
    port=NODE_EXPORTER_PORT,
    keep="node_(cpu_seconds_total|load(1|5|15)|memory_(MemTotal|MemAvailable|MemFree|Cached|Buffers|Swap.*)_bytes|vmstat_oom_kill"
    "|filesystem_(avail_bytes|size_bytes|files|files_free|readonly|device_error)|disk_(io_time|read_time|write_time)_seconds_total"
    "|disk_(read|written)_bytes_total|disk_(reads|writes)_completed_total|network_(receive|transmit)_(bytes|packets|errs|drop)_total"
    "|network_up|nf_conntrack_entries(_limit)?|filefd_(allocated|maximum)|timex_(offset_seconds|sync_status|maxerror_seconds)"
    "|time_seconds|boot_time_seconds|uname_info|edac_.*|hwmon_temp_(celsius|crit_celsius)|pressure_.*|textfile_.*|reboot_required"
    "|netstat_Tcp_(CurrEstab|RetransSegs|OutSegs)|md_disks.*|exporter_build_info)"
    "|etcd_backup_.*",
)
KUBELETS = NodeTarget(
    job="kubelet",
    port=KUBELET_PORT,
    tls=True,
    keep="kubelet_(running_(pods|containers)|node_name|volume_stats_(available|capacity)_bytes|volume_stats_inodes(_free)?"
    "|runtime_operations_errors_total|evictions|certificate_manager_client_(expiration_renew_errors|ttl_seconds)"
    "|pleg_relist_duration_seconds_(sum|count)|pod_start_duration_seconds_(sum|count)|started_pods_errors_total)"
    f"|{PROCESS}",
)
# Containers, not the groups above them, which would count everything twice.
CONTAINERS = NodeTarget(
    job="cadvisor",
    port=KUBELET_PORT,
    path="/metrics/cadvisor",
    tls=True,
    keep="container_(cpu_usage_seconds_total|cpu_cfs_(throttled_)?periods_total|memory_(working_set_bytes|rss)|oom_events_total"
    "|network_(receive|transmit)_bytes_total|start_time_seconds|spec_memory_limit_bytes)",
    drop=(
        # Not "", which is lost on the way through an operator.
        {"source_labels": ["pod"], "regex": "^$", "action": "drop"},
        {"regex": "name|image", "action": "labeldrop"},
    ),
)
PROXIES = NodeTarget(
    job="kube-proxy",
    port=KUBE_PROXY_METRICS_PORT,
    keep="kubeproxy_(sync_proxy_rules_(last_timestamp_seconds|last_queued_timestamp_seconds|duration_seconds_(sum|count)"
    f"|nftables_sync_failures_total|iptables_restore_failures_total)|network_programming_duration_seconds_(sum|count))|{PROCESS}",
)
API_SERVERS = NodeTarget(
    job="kube-apiserver",
    port=0,
    control_planes=True,
    tls=True,
    verified=True,
    keep="apiserver_(request_total|request_duration_seconds_bucket|request_terminations_total|current_inflight_requests|storage_size_bytes|audit_error_total"
    "|client_certificate_expiration_seconds_(bucket|count)|flowcontrol_rejected_requests_total)"
    "|aggregator_unavailable_apiservice"
    f"|{PROCESS}",
    drop=(  # some 20 000 series otherwise: what stays open on purpose, and limits that nobody looks at
        {
            "source_labels": ["__name__", "verb"],
            "regex": "apiserver_request_duration_seconds_bucket;(WATCH|CONNECT)",
            "action": "drop",
        },
        {
            "source_labels": ["__name__", "le"],
            "regex": f"apiserver_request_duration_seconds_bucket;({UNREAD_SECONDS})",
            "action": "drop",
        },
    ),
)
CONTROLLERS = NodeTarget(
    job="kube-controller-manager",
    port=10257,
    control_planes=True,
    tls=True,
    keep=f"workqueue_(depth|adds_total|retries_total)|node_collector_.*|leader_election_master_status|{PROCESS}",
)
SCHEDULERS = NodeTarget(
    job="kube-scheduler",
    port=10259,
    control_planes=True,
    tls=True,
    keep=f"scheduler_(pending_pods|schedule_attempts_total|preemption_attempts_total)|leader_election_master_status|{PROCESS}",
)
ETCD = NodeTarget(
    job="etcd",
    port=2381,
    control_planes=True,
    keep="etcd_(server_(has_leader|is_leader|leader_changes_seen_total|proposals_(failed_total|pending|committed_total)"
    "|slow_apply_total|health_failures|quota_backend_bytes)|mvcc_db_total_size(_in_use)?_in_bytes"
    "|disk_(wal_fsync|backend_commit)_duration_seconds_(bucket|sum|count)"
    f"|network_peer_round_trip_time_seconds_(bucket|sum|count)|network_peer_sent_failures_total)|{PROCESS}",
)
NODE_TARGETS = (NODES, KUBELETS, CONTAINERS, PROXIES, API_SERVERS, CONTROLLERS, SCHEDULERS, ETCD)
