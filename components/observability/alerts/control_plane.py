"""What runs the cluster: API servers, etcd, controllers, kubelets, names, certificates and backups. Pure.

The service goes on answering while most of this is away; it cannot scale, move or be changed.
"""

from __future__ import annotations

from components.observability.alerts.jobs import (
    API,
    CONTROLLERS,
    ETCD,
    KUBELETS,
    NAMES,
    NODES,
    PROXY,
    SCHEDULER,
    none_found,
    none_left,
    silent,
)
from components.observability.alerts.rule import Alert, Group, Watched, share

NODE = "{{ $labels.node }}"
DAY = 24 * 3600
# A kubelet renews its certificate in the last third of a year, at the latest with a tenth (36 days) left.
KUBELET_DAYS = 14
# A bound of the API server's histogram: one week.
WEEK = 'le=~"604800(.0)?"'
# Ten times what etcd's documentation wants of a disk, and a fraction of the time after which members elect another leader.
FSYNC_SECONDS = 0.1


def groups(watched: Watched) -> list[Group]:
    return [
        Group(name="api-servers", rules=tuple(api_servers())),
        Group(name="etcd", rules=tuple(etcd())),
        Group(name="cluster-agents", rules=(*agents(), *names(), *certificates())),
        *([Group(name="backups", rules=tuple(backups(watched.backup_hours)))] if watched.backup_hours else []),
    ]


def api_servers() -> list[Alert]:
    # What stays open on purpose is no slow answer.
    request = f'{API},verb=~"GET|POST|PUT|PATCH|DELETE",subresource!~"attach|exec|log|portforward|proxy"'
    failed = f'apiserver_request_total{{{API},code=~"5.."}}'
    seconds = f"sum by (verb, le) (rate(apiserver_request_duration_seconds_bucket{{{request}}}[10m]))"
    return [
        Alert(
            name="NoApiServerUp",
            severity="critical",
            expr=none_left(API),
            for_seconds=60,
            summary="No API server answers",
            description="Nothing can be started, moved, scaled or changed. Replicas that run go on answering, but one that is"
            " lost is not replaced. Look at the control planes, then at etcd.",
        ),
        Alert(
            name="ApiServerDown",
            severity="warning",
            expr=silent(API),
            for_seconds=300,
            summary=f"The API server on {NODE} does not answer",
            description=f"Prometheus has not been able to read the API server on {NODE} for 5 minutes. The others carry on: look"
            " at the node first, then at the log of its kube-apiserver.",
        ),
        Alert(
            name="ApiErrors",
            severity="warning",
            expr=share(
                f"sum(rate({failed}[5m]))",
                f"sum(rate(apiserver_request_total{{{API}}}[5m]))",
                over=0.03,
                least=f"sum(increase({failed}[5m])) >= 10",
            ),
            for_seconds=600,
            summary="{{ $value | humanizePercentage }} of the requests to the API fail",
            description="More than 3 % of the requests to the API servers have ended with a 5xx for 10 minutes: etcd is slow or"
            " away, or an extension API (metrics-server, prometheus-adapter) does not answer.",
        ),
        Alert(
            name="ApiSlow",
            severity="warning",
            expr=f"histogram_quantile(0.99, {seconds}) > 1",
            for_seconds=900,
            summary="One {{ $labels.verb }} to the API in a hundred takes {{ $value | humanizeDuration }}",
            description="For 15 minutes single requests to the API servers have taken longer than a second. Look at etcd's disks"
            " first, then at the load of the control planes.",
        ),
    ]


def etcd() -> list[Alert]:
    fsync = f"sum by (node, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket{{{ETCD}}}[10m]))"
    size = f"etcd_mvcc_db_total_size_in_bytes{{{ETCD}}} / etcd_server_quota_backend_bytes{{{ETCD}}}"
    return [
        Alert(
            name="EtcdNoLeader",
            severity="critical",
            expr=f"sum(etcd_server_has_leader{{{ETCD}}}) * 2 <= count(up{{{ETCD}}})",
            for_seconds=60,
            summary="etcd has no leader",
            description="Not more than half of etcd's members know a leader, so nothing in the cluster can be written: two of"
            " three are away, or cannot reach each other. Bring control planes back before anything else.",
        ),
        Alert(
            name="EtcdMemberDown",
            severity="warning",
            expr=silent(ETCD),
            for_seconds=300,
            summary=f"etcd on {NODE} does not answer",
            description=f"Prometheus has not been able to read etcd on {NODE} for 5 minutes. With three members the others carry"
            " on, and one more away stops the cluster. Look at the node, then at etcd's log.",
        ),
        Alert(
            name="EtcdLeaderChanges",
            severity="warning",
            expr=f"max(increase(etcd_server_leader_changes_seen_total{{{ETCD}}}[1h])) >= 4",
            for_seconds=300,
            summary="etcd changes its leader again and again",
            description="At least four elections within an hour; each stops writing for a second or more. Slow disks or a bad"
            " network between the control planes are the usual causes.",
        ),
        Alert(
            name="EtcdDiskSlow",
            severity="warning",
            expr=f"histogram_quantile(0.99, {fsync}) > {FSYNC_SECONDS:g}",
            for_seconds=900,
            summary=f"The disk of etcd on {NODE} takes {{{{ $value | humanizeDuration }}}} to write",
            description=f"One write in a hundred has taken longer than {FSYNC_SECONDS * 1000:g} ms for 15 minutes, where etcd"
            f" wants 10. Members miss heartbeats on such a disk. Look at what else writes to it on {NODE}.",
        ),
        Alert(
            name="EtcdDatabaseFull",
            severity="warning",
            expr=f"max by (node) ({size}) > 0.8",
            for_seconds=600,
            summary=f"etcd's database on {NODE} has {{{{ $value | humanizePercentage }}}} of its quota",
            description="When the quota is reached etcd takes no more writes, and it stays so until somebody makes room."
            " Defragment, and look for what makes so many objects.",
        ),
    ]


def agents() -> list[Alert]:
    return [
        Alert(
            name="SchedulerDown",
            severity="warning",
            expr=silent(SCHEDULER),
            for_seconds=600,
            summary=f"The scheduler on {NODE} does not answer",
            description=f"The kube-scheduler of {NODE} has been silent for 10 minutes. One that is up is enough; with none, new"
            " pods stay Pending. Look at its pod in kube-system.",
        ),
        Alert(
            name="ControllerManagerDown",
            severity="warning",
            expr=silent(CONTROLLERS),
            for_seconds=600,
            summary=f"The controller manager on {NODE} does not answer",
            description=f"The kube-controller-manager of {NODE} has been silent for 10 minutes. One that is up is enough; with"
            " none, nobody scales, replaces pods or notices lost nodes. Look at its pod in kube-system.",
        ),
        Alert(
            name="KubeletDown",
            severity="warning",
            expr=f"{silent(KUBELETS)} unless on (node) {silent(NODES)}",
            for_seconds=300,
            summary=f"The kubelet of {NODE} does not answer",
            description=f"{NODE} is there, but its kubelet has been silent for 5 minutes: containers run on, nobody starts or"
            " probes them, and the node is about to be not ready. Look at its journal.",
        ),
        Alert(
            name="KubeProxyDown",
            severity="warning",
            expr=f"{silent(PROXY)} unless on (node) {silent(NODES)}",
            for_seconds=600,
            summary=f"kube-proxy on {NODE} does not answer",
            description=f"{NODE} is there, but its kube-proxy has been silent for 10 minutes, so pods on it go on talking to"
            " addresses of Services that may be gone. Look at its pod in kube-system.",
        ),
    ]


def names() -> list[Alert]:
    failed = f'coredns_dns_responses_total{{{NAMES},rcode="SERVFAIL"}}'
    return [
        Alert(
            name="DnsDown",
            severity="critical",
            expr=none_found(NAMES),
            for_seconds=120,
            summary="No DNS server of the cluster answers",
            description="Replicas find neither Redis nor each other by name: chats are not kept, and new pods do not start. Look"
            " at the pods with the label k8s-app=kube-dns in kube-system.",
        ),
        Alert(
            name="DnsErrors",
            severity="warning",
            expr=share(
                f"sum(rate({failed}[10m]))",
                f"sum(rate(coredns_dns_responses_total{{{NAMES}}}[10m]))",
                over=0.05,
                least=f"sum(increase({failed}[10m])) >= 10",
            ),
            for_seconds=600,
            summary="{{ $value | humanizePercentage }} of the names asked for cannot be resolved",
            description="CoreDNS has answered SERVFAIL for 10 minutes. Mostly the servers it passes questions on to, those of its"
            " node's /etc/resolv.conf, do not answer; names inside the cluster go on working then.",
        ),
    ]


def certificates() -> list[Alert]:
    ending = f"apiserver_client_certificate_expiration_seconds_bucket{{{API},{WEEK}}}"
    return [
        Alert(
            name="ClusterCertificateEnding",
            severity="warning",
            expr=f"sum by (node) (increase({ending}[1h])) > 0",
            for_seconds=900,
            summary=f"Clients of the API on {NODE} have certificates that end within a week",
            description="Somebody comes to the API with a client certificate that is about to end: the scheduler, the controller"
            " manager, an API server, a kubelet or an operator. `kubeadm certs check-expiration` shows which.",
        ),
        Alert(
            name="KubeletCertificateEnding",
            severity="warning",
            expr=f"min by (node) (kubelet_certificate_manager_client_ttl_seconds{{{KUBELETS}}}) < {KUBELET_DAYS * DAY}",
            for_seconds=900,
            summary=f"The certificate of the kubelet of {NODE} ends in {{{{ $value | humanizeDuration }}}}",
            description=f"It should have been renewed by itself weeks ago. Without one {NODE} is not ready and gets no pods. Look"
            " at the kubelet's journal and at CertificateSigningRequests that wait.",
        ),
    ]


def backups(every_hours: int) -> list[Alert]:
    done = f"etcd_backup_last_success_timestamp_seconds{{{NODES}}}"
    seconds = 2 * every_hours * 3600  # one may be missed: the timer tries again
    description = (
        f"Two backups, {every_hours} h apart, were missed. What the cluster has become since would be lost with its control"
        " planes. `journalctl -u etcd-backup` on the control plane has the reason."
    )
    return [
        Alert(
            name="BackupOld",
            severity="warning",
            expr=f"time() - max by (node) ({done}) > {seconds}",
            for_seconds=900,
            summary=f"The newest backup of etcd on {NODE} is {{{{ $value | humanizeDuration }}}} old",
            description=description,
        ),
        Alert(
            # None at all: a new cluster makes its first one within the time that an old one has.
            name="BackupOld",
            severity="warning",
            expr=f"absent({done}) and on () count(up{{{NODES}}} == 1)",
            for_seconds=seconds,
            summary="No control plane has a backup of etcd",
            description=description,
        ),
        Alert(
            name="BackupFailed",
            severity="warning",
            expr=f"max by (node) (etcd_backup_last_result{{{NODES}}}) == 0",
            for_seconds=1200,
            summary=f"The last backup of etcd on {NODE} failed",
            description=f"The backup on {NODE} could not be made, or nobody took its copy, and trying again for 20 minutes has"
            " not helped. `journalctl -u etcd-backup` there has the reason.",
        ),
    ]
