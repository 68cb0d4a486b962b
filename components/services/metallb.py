"""MetalLB in layer-2 mode: Services of type LoadBalancer get an address that one worker at a time answers ARP for.

Only what layer 2 needs: no webhooks (what they check, `loadBalancer` in the settings model has checked), no BGP, and of the
custom resource definitions no more than the controllers insist on seeing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apiextensions.v1 import JSONSchemaPropsArgs
from pulumi_kubernetes.apps.v1 import DaemonSet, DaemonSetSpecArgs, Deployment, DeploymentSpecArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ContainerPortArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    Namespace,
    ObjectFieldSelectorArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    SecretVolumeSourceArgs,
    ServiceAccount,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector, token
from components.network_policies import NetworkPolicies, Policies
from components.pods import (
    burstable,
    container_security,
    http_probe,
    leave_dead_nodes,
    pod_security,
    ports,
    privileged,
    root_security,
)
from components.rbac import READ, Account, grant, grant_in_cluster, rule
from components.services.crds import STRINGS, Definition, define, open_object
from components.settings import Images, LoadBalancer

NAMESPACE = "metallb-system"
CONTROLLER = "metallb-controller"
SPEAKER = "metallb-speaker"
GROUP = "metallb.io"
POOL_NAME = "default"
MEMBERLIST_SECRET = "memberlist"  # noqa: S105  the name of a Secret; the controller makes the key in it
MONITORING_PORT = 7472
MEMBERLIST_PORT = 7946
NOBODY = 65534

# Interfaces no client can reach an address on; the pattern list that MetalLB's own manifests carry.
EXCLUDED_INTERFACES = (
    *("^docker.*", "^cbr.*", "^dummy.*", "^virbr.*", "^lxcbr.*", "^veth.*", "^lo$", "^cali.*", "^tunl.*"),
    *("^flannel.*", "^kube-ipvs.*", "^cni.*", "^nodelocaldns.*"),
)


def _definition(
    kind: str, plural: str, *required: str, spec: dict[str, JSONSchemaPropsArgs] | None = None
) -> Definition:
    return Definition(
        group=GROUP,
        version="v1beta1",
        kind=kind,
        plural=plural,
        spec=open_object(spec, required=required),
        spec_required=spec is not None,
        status=True,
    )


POOL = _definition("IPAddressPool", "ipaddresspools", "addresses", spec={"addresses": STRINGS})
ADVERTISEMENT = _definition(
    "L2Advertisement", "l2advertisements", spec={"ipAddressPools": STRINGS, "interfaces": STRINGS}
)
DEFINITIONS = (
    POOL,
    ADVERTISEMENT,
    _definition("BFDProfile", "bfdprofiles"),
    _definition("BGPAdvertisement", "bgpadvertisements"),
    # The controllers look both versions up before they do anything.
    replace(_definition("BGPPeer", "bgppeers"), version="v1beta2", also_served=("v1beta1",)),
    _definition("Community", "communities"),
    _definition("ServiceBGPStatus", "servicebgpstatuses"),
    _definition("ServiceL2Status", "servicel2statuses"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetalLbArgs:
    load_balancer: LoadBalancer
    images: Images
    policies: Policies = field(default_factory=dict)


class MetalLb(pulumi.ComponentResource):
    """Controller (assigns addresses), speakers (answer for them), and one pool with the configured addresses."""

    def __init__(self, name: str, args: MetalLbArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "MetalLb"), name, None, opts)
        namespace = Namespace(
            f"{name}-namespace",
            metadata=ObjectMetaArgs(name=NAMESPACE, labels=labels("metallb", "load-balancer") | privileged()),
            opts=pulumi.ResourceOptions(parent=self),
        )
        definitions = [define(each, labels("metallb", "load-balancer"), self) for each in DEFINITIONS]
        policies = NetworkPolicies(
            f"{name}-policies", args.policies, pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        )
        here = pulumi.ResourceOptions(parent=self, depends_on=[namespace, policies, *definitions])

        allow_controller(f"{name}-controller", here)
        controller = Deployment(
            f"{name}-controller",
            metadata=ObjectMetaArgs(name="controller", namespace=NAMESPACE, labels=labels(CONTROLLER, "load-balancer")),
            spec=controller_spec(image("metallb-controller", args.images)),
            opts=here,
        )

        # The controller makes the speakers' shared key; a speaker that starts earlier waits for it with long pauses.
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace, policies, *definitions, controller])
        allow_speaker(f"{name}-speaker", after)
        excluded = ConfigMap(
            f"{name}-excluded-interfaces",
            metadata=ObjectMetaArgs(namespace=NAMESPACE, labels=labels(SPEAKER, "load-balancer")),
            data={"excludel2.yaml": json.dumps({"announcedInterfacesToExclude": EXCLUDED_INTERFACES})},
            opts=after,
        )
        DaemonSet(
            f"{name}-speaker",
            metadata=ObjectMetaArgs(name="speaker", namespace=NAMESPACE, labels=labels(SPEAKER, "load-balancer")),
            spec=speaker_spec(image("metallb-speaker", args.images), excluded.metadata.name),
            opts=after,
        )

        for definition, spec in (
            (POOL, {"addresses": list(args.load_balancer.addresses)}),
            (ADVERTISEMENT, {"ipAddressPools": [POOL_NAME], **announced_on(args.load_balancer)}),
        ):
            CustomResource(
                f"{name}-{definition.kind.lower()}",
                definition.api_version,
                definition.kind,
                metadata=ObjectMetaArgs(name=POOL_NAME, namespace=NAMESPACE),
                spec=spec,
                opts=after,
            )
        self.register_outputs({})


def announced_on(load_balancer: LoadBalancer) -> dict[str, list[str]]:
    """The advertisement's interfaces; none named means every one that is not excluded."""
    return {"interfaces": list(load_balancer.interfaces)} if load_balancer.interfaces else {}


def allow_controller(name: str, opts: pulumi.ResourceOptions) -> None:
    """Reads Services, pools and namespaces; writes a Service's status and events; makes the speakers' key."""
    account = Account(name="controller", namespace=NAMESPACE, labels=labels(CONTROLLER, "load-balancer"))
    ServiceAccount(
        name, metadata=ObjectMetaArgs(name=account.name, namespace=NAMESPACE, labels=account.labels), opts=opts
    )
    grant_in_cluster(
        name,
        account,
        [
            rule("", "services", "namespaces"),
            rule("", "services/status", verbs=("update",)),
            rule("", "events", verbs=("create", "patch")),
        ],
        opts,
    )
    grant(
        name,
        account,
        NAMESPACE,
        [
            rule("", "secrets", verbs=("create",)),
            rule("", "secrets", verbs=("list",), names=(MEMBERLIST_SECRET,)),
            rule("apps", "deployments", verbs=("get",), names=("controller",)),
            rule(GROUP, "ipaddresspools", "communities"),
            rule(GROUP, "ipaddresspools/status", verbs=("update",)),
        ],
        opts,
    )


def allow_speaker(name: str, opts: pulumi.ResourceOptions) -> None:
    """Reads Services, endpoints and nodes of the cluster and MetalLB's own objects; writes its status and events."""
    account = Account(name="speaker", namespace=NAMESPACE, labels=labels(SPEAKER, "load-balancer"))
    ServiceAccount(
        name, metadata=ObjectMetaArgs(name=account.name, namespace=NAMESPACE, labels=account.labels), opts=opts
    )
    change = (*READ, "create", "update", "patch", "delete")
    grant_in_cluster(
        name,
        account,
        [
            rule("", "services", "nodes", "namespaces"),
            rule("discovery.k8s.io", "endpointslices"),
            rule("", "events", verbs=("create", "patch")),
            rule(GROUP, "servicel2statuses", "servicel2statuses/status", verbs=change),
        ],
        opts,
    )
    kinds = [definition.plural for definition in DEFINITIONS if not definition.plural.startswith("service")]
    grant(
        name,
        account,
        NAMESPACE,
        [
            rule("", "pods", verbs=("get", "list")),
            rule(
                "", "secrets", "configmaps"
            ),  # passwords and options of BGP peers; it does not start without seeing them
            rule(GROUP, *kinds),
            rule(GROUP, "servicebgpstatuses", "servicebgpstatuses/status", verbs=change),
        ],
        opts,
    )


def controller_spec(reference: str) -> DeploymentSpecArgs:
    """One replica: while it is away addresses stay where they are, only new ones wait."""
    return DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        selector=LabelSelectorArgs(match_labels=selector(CONTROLLER)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(CONTROLLER, "load-balancer")),
            spec=PodSpecArgs(
                service_account_name="controller",
                priority_class_name="system-cluster-critical",
                node_selector={"kubernetes.io/os": "linux"},
                tolerations=leave_dead_nodes(),
                security_context=pod_security(NOBODY),
                termination_grace_period_seconds=5,
                containers=[
                    ContainerArgs(
                        name="controller",
                        image=reference,
                        args=[f"--port={MONITORING_PORT}", "--log-level=info", "--webhook-mode=disabled"],
                        env=[
                            EnvVarArgs(name="METALLB_ML_SECRET_NAME", value=MEMBERLIST_SECRET),
                            EnvVarArgs(name="METALLB_DEPLOYMENT", value="controller"),
                        ],
                        ports=ports(monitoring=MONITORING_PORT),
                        liveness_probe=http_probe("/metrics", "monitoring", period=10, timeout=5, failures=6),
                        readiness_probe=http_probe("/metrics", "monitoring", period=5, timeout=5, failures=3),
                        resources=burstable("20m", "96Mi", cpu_limit="500m"),
                        security_context=container_security(),
                    )
                ],
            ),
        ),
    )


def speaker_spec(reference: str, excluded: pulumi.Input[str]) -> DaemonSetSpecArgs:
    """One on each worker; control planes carry the label that excludes them from answering for load balancers."""
    return DaemonSetSpecArgs(
        revision_history_limit=3,
        selector=LabelSelectorArgs(match_labels=selector(SPEAKER)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(SPEAKER, "load-balancer")),
            spec=PodSpecArgs(
                service_account_name="speaker",
                priority_class_name="system-node-critical",
                node_selector={"kubernetes.io/os": "linux"},
                host_network=True,
                security_context=root_security(),
                termination_grace_period_seconds=2,
                containers=[speaker_container(reference)],
                volumes=[
                    VolumeArgs(name="memberlist", secret=SecretVolumeSourceArgs(secret_name=MEMBERLIST_SECRET)),
                    VolumeArgs(name="excluded-interfaces", config_map=ConfigMapVolumeSourceArgs(name=excluded)),
                ],
            ),
        ),
    )


def speaker_container(reference: str) -> ContainerArgs:
    """Speakers watch each other (memberlist), so an address leaves a dead node in seconds, not with its lease."""
    from_pod = {
        "METALLB_NODE_NAME": "spec.nodeName",
        "METALLB_POD_NAME": "metadata.name",
        "METALLB_HOST": "status.hostIP",
        "METALLB_ML_BIND_ADDR": "status.podIP",
    }
    given = {"METALLB_ML_LABELS": f"app={SPEAKER}", "METALLB_ML_SECRET_KEY_PATH": "/etc/ml_secret_key"}
    return ContainerArgs(
        name="speaker",
        image=reference,
        args=[f"--port={MONITORING_PORT}", "--log-level=info"],
        env=[
            *(
                EnvVarArgs(name=key, value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path=path)))
                for key, path in from_pod.items()
            ),
            *(EnvVarArgs(name=key, value=value) for key, value in given.items()),
        ],
        ports=[
            *ports(monitoring=MONITORING_PORT, memberlist=MEMBERLIST_PORT),
            ContainerPortArgs(name="memberlist-udp", container_port=MEMBERLIST_PORT, protocol="UDP"),
        ],
        liveness_probe=http_probe("/metrics", "monitoring", period=10, timeout=5, failures=6),
        readiness_probe=http_probe("/metrics", "monitoring", period=5, timeout=5, failures=3),
        resources=burstable("20m", "96Mi", cpu_limit="500m"),
        security_context=container_security(add=("NET_RAW",)),
        volume_mounts=[
            VolumeMountArgs(name="memberlist", mount_path="/etc/ml_secret_key", read_only=True),
            VolumeMountArgs(name="excluded-interfaces", mount_path="/etc/metallb", read_only=True),
        ],
    )
