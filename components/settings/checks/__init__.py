"""Rules that span several settings: pure functions from sound settings to problems.

A check names the sections it reads and runs only when those are sound by themselves. `node` stands for every entry of `nodes` by
itself: such a check finds nothing false when an unsound entry is left out; one that counts nodes reads `nodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.settings import Settings
from components.settings.checks import (
    alerting,
    autoscaling,
    edge,
    endpoint,
    firewall,
    gpu,
    inference,
    logs,
    model_store,
    networks,
    nodes,
    observability,
    services,
    tls,
    webui,
)
from components.settings.problem import Problem


@dataclass(frozen=True, slots=True)
class Check:
    find: Callable[[Settings], Iterator[Problem]]
    reads: frozenset[str]


def _reading(*sections: str) -> Callable[[Callable[[Settings], Iterator[Problem]]], Check]:
    return lambda find: Check(find, frozenset(sections))


CHECKS = (
    *map(_reading("node"), (nodes.duplicates, nodes.addresses, nodes.members_only, nodes.labels, nodes.taints)),
    *map(_reading("nodes"), (nodes.control_planes,)),
    *map(_reading("node", "ssh"), (nodes.host_keys,)),
    *map(_reading("node", "firewall"), (firewall.nodes_inside,)),
    *map(_reading("ssh", "firewall"), (firewall.bastion_inside,)),
    *map(_reading("nodes", "kubernetes"), (endpoint.several_need_address, networks.pod_subnet_holds_nodes)),
    *map(_reading("node", "kubernetes"), (endpoint.address_is_free, networks.nodes_outside)),
    *map(_reading("kubernetes", "loadBalancer"), (endpoint.address_outside_pool, networks.pools_outside)),
    *map(_reading("kubernetes"), (endpoint.version, endpoint.port, endpoint.kubeadm_names, endpoint.one_place)),
    *map(_reading("kubernetes"), (networks.subnets,)),
    *map(_reading("ssh"), (nodes.login_keys,)),
    *map(_reading("ssh", "kubernetes"), (endpoint.port_is_not_ssh,)),
    *map(_reading("loadBalancer"), (networks.pools_apart,)),
    *map(_reading("node", "loadBalancer"), (networks.pools_without_nodes,)),
    *map(_reading("loadBalancer", "ingress"), (services.ingress_address,)),
    *map(_reading("observability"), (logs.log_storage,)),
    *map(_reading("ingress"), (tls.certificate_file, tls.acme)),
    *map(_reading("inference"), (inference.known_model, inference.precision, inference.flags, inference.fits)),
    *map(_reading("inference"), (inference.prompt, inference.host_memory, inference.deadlines, inference.disruption)),
    *map(_reading("inference", "ingress"), (inference.gateway,)),
    *map(_reading("inference", "ingress", "webui"), (edge.largest_body,)),
    *map(_reading("ingress"), (edge.burst,)),
    *map(_reading("nodes", "inference", "gpu"), (inference.gpus, inference.outage)),
    *map(_reading("nodes", "inference", "gpu", "autoscaling"), (inference.load,)),
    *map(_reading("nodes", "inference", "gpu", "autoscaling"), (autoscaling.replica_bounds,)),
    *map(_reading("autoscaling", "observability"), (autoscaling.windows, autoscaling.metrics)),
    *map(_reading("autoscaling", "gpu"), (autoscaling.gpu_metric,)),
    *map(_reading("inference", "observability"), (observability.objective,)),
    *map(_reading("observability"), (services.scanned_image_names, alerting.receivers, alerting.routes)),
    *map(_reading("observability", "ingress"), (observability.grafana_host,)),
    *map(_reading("observability"), (observability.operator,)),
    *map(_reading("modelStore"), (model_store.other_kinds, model_store.source, model_store.copy_apart)),
    *map(_reading("nodes", "modelStore"), (model_store.server, model_store.writer, model_store.clients)),
    *map(_reading("gpu"), (gpu.one_owner, gpu.open_module, gpu.toolkit_version)),
    *map(_reading("gpu", "inference"), (gpu.shared_memory,)),
    *map(_reading("nodes", "gpu"), (gpu.sick_nodes,)),
    *map(_reading("node", "gpu"), (gpu.own_taint,)),
    *map(_reading("nodes", "redis"), (services.redis_replicas,)),
    *map(_reading("mirrors"), (services.apt_keys,)),
    *map(_reading("images"), (services.image_names, services.image_build)),
    *map(_reading("webui"), (webui.forward_auth, webui.api_keys)),
    *map(_reading("preflight"), (services.preflight_names,)),
)
