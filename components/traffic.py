"""Who in the cluster talks to whom: the one table that its NetworkPolicies are made of. Pure.

Names and numbers only, because other layers own the pods; that they agree is a rule of tests/policy. Ports are numbers and not
names, because the agent that enforces the policies does not look for names in sidecars.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from urllib.parse import urlsplit

from components.settings import Settings
from components.settings.webui import LoginKind
from components.tracing import JAEGER_METRICS_PORT, OTLP_HTTP_PORT, jaeger_runs, tracing

DEFAULT, SYSTEM, FLANNEL = "default", "kube-system", "kube-flannel"
GATEWAY, BALANCER, METRICS, AGENTS = "traefik", "metallb-system", "observability", "node-agents"
# Addresses that are nobody's on the internet (IANA's special-purpose registry, RFC 6890).
NOT_PUBLIC = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *(
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
LINK_LOCAL = IPv4Network("169.254.0.0/16")
EVERYTHING = IPv4Network("0.0.0.0/0")
KUBELET_PORT = 10250
NODE_EXPORTER_PORT = 9110
KUBE_PROXY_METRICS_PORT = 10249
ETCD_METRICS = 2381
CONTROL_PLANE_METRICS_PORTS = (ETCD_METRICS, 10257, 10259)  # and controller manager, scheduler
NFS_PORT = 2049
HUB_PORT = 443


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of one namespace by the value of a label."""

    namespace: str
    app: str
    label: str = "app"


@dataclass(frozen=True, slots=True)
class Anybody:
    """Every address, as far as the other end is concerned; a pod of this program also needs a row of its own to get there."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """All pods of a namespace that is not ours."""

    name: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses outside the pod network: all of `blocks` but those in `excluded`."""

    blocks: tuple[IPv4Network, ...]
    excluded: tuple[IPv4Network, ...] = ()


End = Pods | Anybody | Namespace | Addresses


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Way:
    """`source` opens connections to `ports` of `target`; no ports: to all of them."""

    source: End
    target: End
    ports: tuple[Port, ...]


WEBUI = Pods(DEFAULT, "qwen3-vl-webui")  # and the engine, in the same pod
REDIS = Pods(DEFAULT, "redis")
REDIS_PROXY = Pods(DEFAULT, "redis-proxy")
MODEL_CACHE = Pods(DEFAULT, "model-cache")
ISSUER = Pods(DEFAULT, "acme-issuer")
TRAEFIK = Pods(GATEWAY, "traefik")
METALLB = Pods(BALANCER, "metallb-controller")  # its speakers are in the nodes' network, where no policy reaches
PROMETHEUS = Pods(METRICS, "prometheus")
STATE_METRICS = Pods(METRICS, "kube-state-metrics")
ADAPTER = Pods(METRICS, "prometheus-adapter")
ALERTMANAGER = Pods(METRICS, "alertmanager")
METRICS_SERVER = Pods(METRICS, "metrics-server")
JAEGER = Pods(METRICS, "jaeger")
SCAN, SCAN_RESULTS = Pods(METRICS, "image-scan-trivy"), Pods(METRICS, "image-scan")
LOKI, LOG_COLLECTOR = Pods(METRICS, "loki"), Pods(AGENTS, "log-collector")
GRAFANA = Pods(METRICS, "grafana")
GPU_PLUGIN = Pods(SYSTEM, "nvidia-device-plugin")
GPU_EXPORTER = Pods(SYSTEM, "dcgm-exporter")
GPU_HEALTH = Pods(SYSTEM, "gpu-health")
CLUSTER_DNS = Pods(SYSTEM, "kube-dns", label="k8s-app")  # kubeadm's


def tcp(*numbers: int) -> tuple[Port, ...]:
    return tuple(Port(number) for number in numbers)


DNS = (Port(53, "UDP"), Port(53))


def reader(settings: Settings) -> Pods:
    """The Prometheus that reads the stack. An operator gives its pods that label."""
    operator = settings.observability.operator
    return Pods(operator.namespace, "prometheus", label="app.kubernetes.io/name") if operator else PROMETHEUS


def workloads(settings: Settings) -> tuple[Pods, ...]:
    """The pods of this program that are in the pod network, in a stack like this."""
    scaling, watched, gpu = settings.autoscaling.enabled, settings.observability.enabled, settings.gpu
    ours = gpu.driver.owner != "operator"
    scanned = watched and settings.observability.image_scan.enabled
    there = {
        WEBUI: True,
        REDIS: True,
        REDIS_PROXY: settings.redis_replicas > 1,
        MODEL_CACHE: True,
        TRAEFIK: True,
        ISSUER: settings.ingress.tls.acme is not None,
        METALLB: True,
        PROMETHEUS: watched and settings.observability.operator is None,
        STATE_METRICS: watched,
        ADAPTER: scaling,
        ALERTMANAGER: settings.observability.told.on,
        METRICS_SERVER: scaling,
        JAEGER: jaeger_runs(settings),
        SCAN: scanned,
        SCAN_RESULTS: scanned,
        LOKI: settings.observability.collected.enabled,
        LOG_COLLECTOR: settings.observability.collected.enabled,
        GRAFANA: watched and settings.observability.grafana.enabled,
        GPU_PLUGIN: ours,
        GPU_EXPORTER: ours and gpu.dcgm_exporter,
        GPU_HEALTH: gpu.taint_sick_nodes,
    }
    return tuple(pods for pods, are in there.items() if are)


def ways(settings: Settings) -> tuple[Way, ...]:
    """The table. Whoever is not named in it talks to nobody and hears from nobody but the node's own kubelet.

    API servers come to the two extension APIs from addresses of the pod network that nodes have there, which are not known here;
    both ask for a certificate of the API server's.
    """
    api, kubelets = api_servers(settings), members(settings)
    api_port, anybody = tcp(settings.kubernetes.api_port), Anybody()
    sessions = REDIS_PROXY if settings.redis_replicas > 1 else REDIS
    table = (
        # chats
        Way(anybody, TRAEFIK, tcp(8000, 8443)),
        Way(TRAEFIK, WEBUI, tcp(7860)),
        Way(WEBUI, sessions, tcp(6379)),
        *redis_group(settings),
        # models
        Way(MODEL_CACHE, MODEL_CACHE, tcp(7870)),
        # metrics
        Way(PROMETHEUS, WEBUI, tcp(7860, 8000)),
        Way(PROMETHEUS, TRAEFIK, tcp(9100)),
        Way(PROMETHEUS, REDIS_PROXY, tcp(8404)),
        *model_copies(),
        Way(PROMETHEUS, GPU_EXPORTER, tcp(9400)),
        Way(ADAPTER, PROMETHEUS, tcp(9090)),
        *nodes_and_cluster(settings),
        Way(METRICS_SERVER, kubelets, tcp(KUBELET_PORT)),
        Way(anybody, METRICS_SERVER, tcp(6443)),
        Way(anybody, ADAPTER, tcp(6443)),
        *traces(settings),
        *certificates(settings),
        *logs(settings),
        *grafana(settings),
        *alerting(settings),
        # images; registries have any port
        Way(SCAN, outside(settings), ()),
        Way(PROMETHEUS, SCAN_RESULTS, tcp(7873)),
        # the API of Kubernetes
        Way(TRAEFIK, api, api_port),
        Way(METALLB, api, api_port),
        Way(PROMETHEUS, api, api_port),
        Way(ADAPTER, api, api_port),
        Way(METRICS_SERVER, api, api_port),
        Way(GPU_HEALTH, api, api_port),
        Way(SCAN, api, api_port),
        # names
        Way(WEBUI, CLUSTER_DNS, DNS),
        Way(MODEL_CACHE, CLUSTER_DNS, DNS),
        Way(ADAPTER, CLUSTER_DNS, DNS),
        Way(SCAN, CLUSTER_DNS, DNS),
    )
    there = {*workloads(settings), CLUSTER_DNS, *((reader(settings),) if settings.observability.operator else ())}
    everything = (*table, *model_source(settings), *pictures(settings), *login_service(settings))
    return tuple(
        way
        for way in map(partial(operated, settings), everything)
        if all(end in there for end in (way.source, way.target) if isinstance(end, Pods))
    )


def operated(settings: Settings, way: Way) -> Way:
    """With somebody else's Prometheus in the place of ours; what that asks for elsewhere is its owner's to allow."""
    operator = settings.observability.operator
    if operator and way.target == PROMETHEUS:
        return to_url(way.source, operator.url, settings) if isinstance(way.source, Pods) else way
    return replace(way, source=reader(settings)) if way.source == PROMETHEUS else way


def nodes_and_cluster(settings: Settings) -> tuple[Way, ...]:
    """What Prometheus reads of the nodes and of Kubernetes itself; node-exporter is in the nodes' network."""
    everywhere = tcp(KUBELET_PORT, NODE_EXPORTER_PORT, KUBE_PROXY_METRICS_PORT)
    write = settings.observability.prometheus.remote_write
    elsewhere = (to_url(PROMETHEUS, write.url, settings), Way(PROMETHEUS, CLUSTER_DNS, DNS)) if write else ()
    return (
        Way(PROMETHEUS, members(settings), everywhere),
        Way(PROMETHEUS, api_servers(settings), tcp(*CONTROL_PLANE_METRICS_PORTS)),
        Way(PROMETHEUS, CLUSTER_DNS, tcp(9153)),
        Way(PROMETHEUS, STATE_METRICS, tcp(8080)),
        Way(STATE_METRICS, api_servers(settings), tcp(settings.kubernetes.api_port)),
        *elsewhere,
    )


def model_copies() -> tuple[Way, ...]:
    """How far the copies of the model are."""
    return (Way(PROMETHEUS, MODEL_CACHE, tcp(7870)),)


def grafana(settings: Settings) -> tuple[Way, ...]:
    """Through the gateway only where it has a name there; the gateway looks that Service up, as it is in another namespace."""
    wanted = settings.observability.grafana
    asked = (
        Way(GRAFANA, PROMETHEUS, tcp(9090)),
        Way(GRAFANA, LOKI, tcp(3100)),
        Way(GRAFANA, Pods(METRICS, "jaeger"), tcp(16686)),
        Way(GRAFANA, CLUSTER_DNS, DNS),
    )
    shown = (Way(TRAEFIK, GRAFANA, tcp(3000)), Way(TRAEFIK, CLUSTER_DNS, DNS)) if wanted.host else ()
    service = (wanted.oidc.token_url, wanted.oidc.api_url) if wanted.oidc else ()
    return (*asked, *shown, *dict.fromkeys(to_url(GRAFANA, url, settings) for url in service))


def redis_group(settings: Settings) -> tuple[Way, ...]:
    if settings.redis_replicas == 1:
        return ()
    return (
        Way(REDIS_PROXY, REDIS, tcp(6379)),
        Way(REDIS, REDIS, tcp(6379, 26379)),
        Way(REDIS, CLUSTER_DNS, DNS),
    )


def api_servers(settings: Settings) -> Addresses:
    """Where a connection to the Service `kubernetes` arrives: policies look at it behind its translation."""
    return Addresses(tuple(IPv4Network(node.address) for node in settings.control_planes))


def members(settings: Settings) -> Addresses:
    return Addresses(tuple(IPv4Network(node.address) for node in (*settings.control_planes, *settings.workers)))


def model_source(settings: Settings) -> tuple[Way, ...]:
    """From where copies of the model are filled; the hub sends readers on to hosts of its own choice."""
    store = settings.model_store
    match store.kind:
        case "nfs":
            server = settings.nfs_server
            return (Way(MODEL_CACHE, host(server, settings), tcp(NFS_PORT)),) if server else ()
        case "s3" if store.endpoint:
            return (to_url(MODEL_CACHE, store.endpoint, settings),)
        case "huggingface":
            hub = to_url(MODEL_CACHE, store.endpoint, settings) if store.endpoint else None
            others = Way(MODEL_CACHE, outside(settings), tcp(HUB_PORT))
            return (others, hub) if hub else (others,)
    return ()


def certificates(settings: Settings) -> tuple[Way, ...]:
    """The ACME server, a DNS provider's API and its name servers can be anywhere; a request by HTTP-01 comes through the gateway,
    and so does the issuer's own look at it."""
    acme = settings.ingress.tls.acme
    if acme is None:
        return ()
    return (
        Way(ISSUER, outside(settings), ()),
        Way(ISSUER, TRAEFIK, tcp(8000)),
        Way(TRAEFIK, ISSUER, tcp(8080)),
        Way(PROMETHEUS, ISSUER, tcp(9090)),
        Way(ISSUER, CLUSTER_DNS, DNS),
        Way(ISSUER, api_servers(settings), tcp(settings.kubernetes.api_port)),
    )


def logs(settings: Settings) -> tuple[Way, ...]:
    """Collectors bring them; several Lokis, which a bucket allows, know each other."""
    storage = settings.observability.logs.storage
    table = (
        Way(LOG_COLLECTOR, LOKI, tcp(3100)),
        Way(LOG_COLLECTOR, CLUSTER_DNS, DNS),
        Way(PROMETHEUS, LOKI, tcp(3100)),
        Way(PROMETHEUS, LOG_COLLECTOR, tcp(8888)),
    )
    if storage.endpoint is None:
        return table
    return (
        *table,
        Way(LOKI, LOKI, tcp(7946, 9095)),
        Way(LOKI, CLUSTER_DNS, DNS),
        to_url(LOKI, storage.endpoint, settings),
    )


def alerting(settings: Settings) -> tuple[Way, ...]:
    """Receivers' URLs are secrets, so they can be anywhere outside the pod network. 9094: who of the two sends."""
    return (
        Way(PROMETHEUS, ALERTMANAGER, tcp(9093, 9095)),
        Way(ALERTMANAGER, ALERTMANAGER, (Port(9094), Port(9094, "UDP"))),
        Way(ALERTMANAGER, outside(settings), ()),
        Way(ALERTMANAGER, CLUSTER_DNS, DNS),
    )


def traces(settings: Settings) -> tuple[Way, ...]:
    """Gateway, web UI and engine (in the web UI's pod) tell their spans, to our Jaeger or a collector elsewhere."""
    told = tracing(settings)
    if told is None:
        return ()
    names = Way(TRAEFIK, CLUSTER_DNS, DNS)
    if not jaeger_runs(settings):
        return (to_url(TRAEFIK, told.url, settings), to_url(WEBUI, told.url, settings), names)
    return (
        Way(TRAEFIK, JAEGER, tcp(OTLP_HTTP_PORT)),
        Way(WEBUI, JAEGER, tcp(OTLP_HTTP_PORT)),
        Way(PROMETHEUS, JAEGER, tcp(JAEGER_METRICS_PORT)),
        names,
    )


def pictures(settings: Settings) -> tuple[Way, ...]:
    """What engines fetch from addresses in requests: from the internet and nowhere else, whatever a name is resolved to."""
    if not settings.inference.allowed_media_domains:
        return ()
    return (Way(WEBUI, Addresses((EVERYTHING,), not_public(settings)), tcp(80, 443)),)


def login_service(settings: Settings) -> tuple[Way, ...]:
    login = settings.webui.login
    if login.kind is not LoginKind.FORWARD_AUTH or login.address is None:
        return ()
    return (to_url(TRAEFIK, login.address, settings), Way(TRAEFIK, CLUSTER_DNS, DNS))


def to_url(source: Pods, url: str, settings: Settings) -> Way:
    """A Service's pods may have other ports than the Service, so a namespace is opened as a whole."""
    parts = urlsplit(url)
    target = host(parts.hostname or "", settings)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return Way(source, target, () if isinstance(target, Namespace) else tcp(port))


def host(name: str, settings: Settings) -> End:
    """An address, a Service's namespace, or else any address outside the pod network: a policy knows no names."""
    try:
        return Addresses((IPv4Network(IPv4Address(name)),))
    except ValueError:
        labels = name.rstrip(".").removesuffix(f".{settings.kubernetes.dns_domain}").split(".")
        return Namespace(labels[1]) if len(labels) == 3 and labels[2] == "svc" else outside(settings)


def outside(settings: Settings) -> Addresses:
    return Addresses((EVERYTHING,), (settings.kubernetes.pod_subnet, LINK_LOCAL))


def not_public(settings: Settings) -> tuple[IPv4Network, ...]:
    """Special-purpose addresses, and those of this cluster's own machines and networks where they are public ones."""
    kubernetes = settings.kubernetes
    own = [kubernetes.pod_subnet, kubernetes.service_subnet, *(IPv4Network(node.address) for node in settings.nodes)]
    if kubernetes.api_address is not None:
        own.append(IPv4Network(kubernetes.api_address))
    return (*NOT_PUBLIC, *(net for net in own if not any(net.subnet_of(known) for known in NOT_PUBLIC)))
