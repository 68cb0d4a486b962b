"""Names of metrics that the alerts on the cluster ask for and no code of this repository says, by where they are said."""

from __future__ import annotations

NODE_EXPORTER = {  # its collectors cpu, filesystem, meminfo, netdev, stat, timex and vmstat, 1.9
    "node_boot_time_seconds",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_vmstat_oom_kill",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_filesystem_files",
    "node_filesystem_files_free",
    "node_filesystem_readonly",
    "node_timex_offset_seconds",
    "node_timex_sync_status",
    "node_timex_maxerror_seconds",
    "node_network_receive_errs_total",
    "node_network_transmit_errs_total",
    "node_network_receive_packets_total",
    "node_network_transmit_packets_total",
}
STATE = {  # docs/metrics of kube-state-metrics
    "kube_node_status_condition",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_container_status_ready",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_status_phase",
    "kube_pod_status_unschedulable",
    "kube_node_status_allocatable",
    "kube_daemonset_status_desired_number_scheduled",
    "kube_daemonset_status_number_ready",
    "kube_statefulset_replicas",
    "kube_statefulset_status_replicas_ready",
    "kube_deployment_status_condition",
    "kube_horizontalpodautoscaler_status_condition",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
}
KUBERNETES = {  # https://kubernetes.io/docs/reference/instrumentation/metrics/
    "apiserver_request_total",
    "apiserver_request_duration_seconds_bucket",
    "aggregator_unavailable_apiservice",
    "apiserver_client_certificate_expiration_seconds_bucket",
    "kubelet_certificate_manager_client_ttl_seconds",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
}
ETCD = {  # https://etcd.io/docs/v3.6/metrics/
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_server_quota_backend_bytes",
}
COREDNS = {"coredns_dns_responses_total"}  # its plugin `metrics`
# What a control plane's backup writes for node-exporter to read.
BACKUP = {"etcd_backup_last_success_timestamp_seconds", "etcd_backup_last_result"}
CLUSTER = NODE_EXPORTER | STATE | KUBERNETES | ETCD | COREDNS | BACKUP
