"""A healthy stack as tools/doctor sees it, in the formats of the programs that are asked, and ways to break one thing in it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.settings import Settings
from components.settings.parse import parse
from tests.support.settings import VALID
from tools.doctor.report import report
from tools.doctor.row import Row
from tools.doctor.seen import Cluster, Lines, Node, Seen, Served

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC).timestamp()
DAY = 86400
AWAY = "no answer at 192.168.1.22:22 within 5 s"
YEAR = int(NOW + 300 * DAY)
PLANES, WORKERS = ("master-1", "master-2", "master-3"), ("gpu-1", "gpu-2")
# etcd 3.6 through its JSON gateway: /v3/maintenance/status, cluster/member/list, maintenance/alarm. 64-bit numbers are texts.
IDS = {"master-1": "9372538179322589801", "master-2": "10501334649042878790", "master-3": "18249187646912138824"}
STATUS = {
    "header": {
        "cluster_id": "14841639068965178418",
        "member_id": IDS["master-1"],
        "revision": "51237",
        "raft_term": "4",
    },
    "version": "3.6.5",
    "dbSize": "24879104",
    "leader": IDS["master-2"],
    "raftIndex": "61244",
    "raftTerm": "4",
    "raftAppliedIndex": "61244",
    "dbSizeInUse": "18231296",
    "storageVersion": "3.6.0",
    "downgradeInfo": {},
}
MEMBERS = {
    "header": STATUS["header"],
    "members": [
        {
            "ID": id_,
            "name": name,
            "peerURLs": [f"https://192.168.1.1{name[-1]}:2380"],
            "clientURLs": [f"https://192.168.1.1{name[-1]}:2379"],
        }
        for name, id_ in IDS.items()
    ],
}
ALARMS = {"header": STATUS["header"]}
COMMON = """\
disk	1055762868	633457720
unit	chrony.service	active
unit	containerd.service	active
firewall	unchanged: on
"""
MEMBER = f"""\
unit	kubelet.service	active
kubelet	v1.34.2
containerd	1.7.27
certificate	/var/lib/kubelet/pki/kubelet-client-current.pem	{YEAR}
api	address	200
"""
PLANE = f"""\
unit	etcd-backup.timer	active
runs	etcd	registry.k8s.io/etcd:3.6.5-0
runs	kube-apiserver	registry.k8s.io/kube-apiserver:v1.34.2
runs	kube-controller-manager	registry.k8s.io/kube-controller-manager:v1.34.2
runs	kube-scheduler	registry.k8s.io/kube-scheduler:v1.34.2
certificate	pki/apiserver.crt	{YEAR - DAY}
certificate	pki/ca.crt	{YEAR + 3000 * DAY}
certificate	admin.conf	{YEAR}
api	own	200
etcd	status	{json.dumps(STATUS)}
etcd	members	{json.dumps(MEMBERS)}
etcd	alarms	{json.dumps(ALARMS)}
"""
SNAPSHOTS = {
    plane: f"snapshot\tetcd-{plane}-20260301T0{hour}0512Z.cms\t4120334\n" for hour, plane in enumerate(PLANES, 6)
}
COPY = {"model": "Qwen3-VL-4B-Instruct", "revision": "r1", "complete": True, "bytes": 9, "of_bytes": 9, "message": ""}
WORKER = f"""\
gpu	580.95.05, GPU-7d2f1c5e-0000-4000-8000-000000000001, [N/A]
revision	r1
copy	{json.dumps(COPY)}
"""
# kubectl's jsonpath of tools/doctor/scripts/cluster.sh: what an object does not have is empty.
CLUSTER = """\
node	gpu-1	True		v1.34.2	1
node	gpu-2	True		v1.34.2	1
node	master-1	True		v1.34.2	0
node	master-2	True		v1.34.2	0
node	master-3	True		v1.34.2	0
workload	Deployment	default	qwen3-vl-webui	2	2
workload	StatefulSet	observability	prometheus	1	1
workload	Deployment	traefik	traefik	2	2
workload	StatefulSet	default	redis	3	3
workload	DaemonSet	default	redis-proxy	5	5
hpa	default	qwen3-vl-hpa	2	2	2	2
pod	observability	prometheus	gpu-1	10.244.3.7	True
pod	default	redis-proxy	master-1	10.244.0.9	True
pod	default	redis-proxy	gpu-1	10.244.3.9	True
address	192.168.1.200
announced	traefik	traefik	gpu-2
gateway	https	200
gateway	http	308
"""
# HAProxy's own exporter: each state of a server is a line.
PROXY = "".join(
    f'redis-master-1\thaproxy_server_status{{proxy="redis",server="redis-{n}",state="{state}"}} {int(up == (n == 0))}\n'
    for n in range(3)
    for state, up in (("DOWN", False), ("UP", True))
)


def alerts(*firing: tuple[str, str, str]) -> str:
    """GET /api/v1/alerts: name, severity, state."""
    listed = [
        {
            "labels": {"alertname": name, "severity": severity},
            "annotations": {"summary": f"what {name} says"},
            "state": state,
            "activeAt": "2026-03-01T11:02:00Z",
            "value": "1e+00",
        }
        for name, severity, state in firing
    ]
    return json.dumps({"status": "success", "data": {"alerts": listed}})


def facts(**changes: Any) -> dict[str, Any]:
    """As host/facts.py reads them."""
    os = {"id": "ubuntu", "versionId": "24.04", "codename": "noble"}
    return {"os": os, "kernel": "6.8.0-60-generic", "clockOffsetSeconds": 0.02, "gpus": []} | changes


def texts() -> dict[str, str]:
    """What node.sh prints on each node."""
    planes = {name: COMMON + MEMBER + PLANE + "".join(SNAPSHOTS.values()) for name in PLANES}
    planes["master-1"] += "holds\t192.168.1.10\n"
    return (
        planes | dict.fromkeys(WORKERS, COMMON + MEMBER + WORKER) | {"storage-1": COMMON + "".join(SNAPSHOTS.values())}
    )


def settings(**over: Any) -> Settings:
    return parse({**VALID, **over})


def healthy(**over: Any) -> Seen:
    return Seen(
        settings=settings(**over),
        now=NOW,
        nodes={name: Node(facts(), Lines.of(text)) for name, text in texts().items()},
        cluster=Cluster("master-1", Lines.of(CLUSTER)),
        alerts=alerts(("Watchdog", "none", "firing")),
        no_alerts="",
        redis=Lines.of(PROXY),
        served=Served(200, NOW + 350 * DAY),
    )


def found(seen: Seen) -> dict[str, Row]:
    """The report's rows by subject."""
    return {row.subject: row for row in report(seen)}


def node(seen: Seen, name: str, swap: Mapping[str, str] | str, **changed: Any) -> Seen:
    """With texts of one node's answers replaced, or the reason why it gave none."""
    text = texts()[name]
    if isinstance(swap, str):
        return replace(seen, nodes={**seen.nodes, name: swap})
    for old, new in swap.items():
        assert old in text, f"{old!r} is nothing that {name} says"
        text = text.replace(old, new)
    return replace(seen, nodes={**seen.nodes, name: Node(facts(**changed), Lines.of(text))})


def cluster(seen: Seen, swap: Mapping[str, str]) -> Seen:
    """With lines of the API's answers replaced."""
    text = CLUSTER
    for old, new in swap.items():
        assert old in text, f"{old!r} is nothing that the API says"
        text = text.replace(old, new)
    return replace(seen, cluster=Cluster("master-1", Lines.of(text)))
