"""Pods and what owns them, by kube-state-metrics, and their volumes. Pure.

Grouped by names: kube-state-metrics runs somewhere, and that node has nothing to do with the pods it speaks of.
"""

from __future__ import annotations

from components.observability.alerts.jobs import KUBELETS, STATE, none_found
from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.targets import REPLICAS

POD, OWNER = "{{ $labels.namespace }}/{{ $labels.pod }}", "{{ $labels.namespace }}"
CONTAINER = "by (namespace, pod, container)"
LOST = (
    f'(count(max by (node) (kube_node_status_condition{{{STATE},condition="Ready",status="true"}}) == 0) or vector(0))'
)


def groups(watched: Watched) -> list[Group]:
    scaler = (scaler_at_maximum(),) if watched.scaling else ()
    return [Group(name="pods", rules=(unknown(), *pods())), Group(name="workloads", rules=(*owners(), *scaler))]


def unknown() -> Alert:
    """Nothing is known of pods, what owns them, and whether nodes are ready."""
    return Alert(
        name="ClusterStateUnknown",
        severity="warning",
        expr=none_found(STATE),
        for_seconds=600,
        summary="kube-state-metrics does not answer",
        description="No alert on pods, what owns them, or nodes that are not ready can fire. Look at the pod of the Deployment"
        " kube-state-metrics in the namespace observability.",
    )


def pods() -> list[Alert]:
    waiting = f'kube_pod_container_status_waiting_reason{{{STATE},reason="CrashLoopBackOff"}}'
    ready = f"kube_pod_container_status_ready{{{STATE}}}"
    restarts = f"kube_pod_container_status_restarts_total{{{STATE}}}"
    killed = f'kube_pod_container_status_last_terminated_reason{{{STATE},reason="OOMKilled"}}'
    # A replica may wait for a GPU: ReplicasMissing says so.
    pending = f'kube_pod_status_phase{{{STATE},phase="Pending",pod!~"{REPLICAS.app}-.+"}}'
    # While a node is away there may be no room for its pods: that is told of the node.
    no_room = f"kube_pod_status_unschedulable{{{STATE}}} and on () {LOST} > 0"
    volume = f"kubelet_volume_stats_available_bytes{{{KUBELETS}}} / kubelet_volume_stats_capacity_bytes{{{KUBELETS}}}"
    return [
        Alert(
            name="PodCrashLooping",
            severity="warning",
            # One that runs for minutes in between is remembered, but only while it does not run now.
            expr=f"count_over_time((max {CONTAINER} (max_over_time({waiting}[5m])) == 1)[11m:1m]) >= 11"
            f" and max {CONTAINER} ({ready}) == 0",
            summary=f"Container {{{{ $labels.container }}}} of {POD} ends again and again",
            description=f"For 10 minutes Kubernetes has waited longer and longer before it starts {{{{ $labels.container }}}} of"
            f" {POD} once more. The log before the restart says why it ends.",
        ),
        Alert(
            name="PodOomKilled",
            severity="warning",
            expr=f"max {CONTAINER} (increase({restarts}[15m])) > 0 and max {CONTAINER} ({killed}) == 1",
            summary=f"Container {{{{ $labels.container }}}} of {POD} needs more memory than its limit",
            description=f"The kernel killed {{{{ $labels.container }}}} of {POD} at its memory limit within the last 15 minutes,"
            " and it was started again. Give it more, or find what made it grow.",
        ),
        Alert(
            name="PodPending",
            severity="warning",
            expr=f"max by (namespace, pod) ({pending}) == 1 unless max by (namespace, pod) ({no_room})",
            for_seconds=900,
            summary=f"Pod {POD} does not start",
            description=f"{POD} has been Pending for 15 minutes: no node has room for it or may have it, its image cannot be"
            " pulled, or a volume or a Secret is not there. Its events say which.",
        ),
        Alert(
            name="VolumeFilling",
            severity="warning",
            expr=f"min by (namespace, persistentvolumeclaim) ({volume}) < 0.1",
            for_seconds=900,
            summary=f"Volume {OWNER}/{{{{ $labels.persistentvolumeclaim }}}} is nearly full",
            description="{{ $value | humanizePercentage }} of the volume is free. Its pod fails when it is full: make room, or"
            " give it more.",
        ),
    ]


def owners() -> list[Alert]:
    of_set, daemon = f"{OWNER}/{{{{ $labels.statefulset }}}}", f"{OWNER}/{{{{ $labels.daemonset }}}}"
    of_deployment = f"{OWNER}/{{{{ $labels.deployment }}}}"
    # An agent is ready when its copy is whole, which takes as long as it takes: ModelCopyMissing.
    daemons = f'{STATE},daemonset!="model-cache"'
    desired, running = (
        f"max by (namespace, daemonset) (kube_daemonset_status_{what}{{{daemons}}})"
        for what in ("desired_number_scheduled", "number_ready")
    )
    wanted, ready = (
        f"max by (namespace, statefulset) (kube_statefulset_{what}{{{STATE}}})"
        for what in ("replicas", "status_replicas_ready")
    )
    stuck = f'kube_deployment_status_condition{{{STATE},condition="Progressing",status="false"}}'
    return [
        Alert(
            name="DaemonSetNotRunning",
            severity="warning",
            # Pods of nodes that are away count as not ready, and the node has its own alert.
            expr=f"{desired} - {running} > on () group_left () {LOST}",
            for_seconds=900,
            summary=f"DaemonSet {daemon} does not run on every node",
            description=f"{{{{ $value }}}} pods of {daemon} have not been ready for 15 minutes, more than there are nodes that"
            " are away. Look at their events and logs.",
        ),
        Alert(
            name="StatefulSetNotReady",
            severity="warning",
            # A node that is away took one of each along.
            expr=f"{wanted} - {ready} > on () group_left () {LOST}",
            for_seconds=900,
            summary=f"{{{{ $value }}}} pods of StatefulSet {of_set} are missing",
            description=f"Fewer pods of {of_set} than there should be have been ready for 15 minutes, and more are missing than"
            " there are nodes that are away. Look at their events and logs.",
        ),
        Alert(
            name="DeploymentStuck",
            severity="warning",
            expr=f"max by (namespace, deployment) ({stuck}) == 1",
            for_seconds=300,
            summary=f"The new pods of {of_deployment} do not become ready",
            description=f"Kubernetes has given up waiting for the roll-out of {of_deployment}; the old pods go on as far as there"
            " are any. Look at the newest pod's events and log.",
        ),
    ]


def scaler_at_maximum() -> Alert:
    by, hpa = "max by (namespace, horizontalpodautoscaler)", "kube_horizontalpodautoscaler"
    limited = f'{hpa}_status_condition{{{STATE},condition="ScalingLimited",status="true"}}'
    now, most, fewest = (
        f"{by} ({hpa}_{what}{{{STATE}}})"
        for what in ("status_desired_replicas", "spec_max_replicas", "spec_min_replicas")
    )
    return Alert(
        name="ScalerAtMaximum",
        severity="warning",
        expr=f"{now} >= {most} and {most} > {fewest} and {by} ({limited}) == 1",
        for_seconds=1800,
        summary=f"{OWNER}/{{{{ $labels.horizontalpodautoscaler }}}} would add replicas and may not",
        description="For half an hour the load has asked for more than {{ $value }} replicas, the most there may be"
        " (autoscaling.maxReplicas). Users wait longer: add GPUs and raise it.",
    )
