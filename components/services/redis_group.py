"""Three Redis members with a Sentinel each, on control planes, and a proxy on every node that leads clients to the primary.

The members know each other by fixed addresses, a Service each, and keep their data as long as their pods live: over restarts
of containers and nodes. A new pod copies it from the others (scripts/redis_start.sh). ADR 0019 says what is lost when.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_kubernetes.apps.v1 import (
    DaemonSet,
    StatefulSet,
    StatefulSetSpecArgs,
    StatefulSetUpdateStrategyArgs,
)
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    PodTemplateSpecArgs,
    Secret,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs

from components.naming import labels, selector, token
from components.services.redis_files import (
    INTERNAL_KEY,
    PORT,
    SENTINEL_PORT,
    haproxy_cfg,
    member_conf,
    members_file,
    sentinel_conf,
)
from components.services.redis_member import member_pod
from components.services.redis_proxy import PROXY, proxy_spec
from components.settings import Images

APP = "redis"
MEMBERS = "redis-members"  # as in scripts/redis_members.sh
SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Internal:
    """The members' password among themselves: its Secret's name, the text, and all that are taken; the latter two are secret."""

    secret: pulumi.Output[str]
    password: pulumi.Output[str]
    taken: pulumi.Output[Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisGroupArgs:
    namespace: str
    replicas: int
    memory_mib: int
    images: Images
    users_secret: pulumi.Output[str]  # name of the Secret with `users.acl`
    internal: Internal


class RedisGroup(pulumi.ComponentResource):
    """StatefulSet `redis`, its members' Services and budget, and DaemonSet `redis-proxy`."""

    def __init__(self, name: str, args: RedisGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "RedisGroup"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        named = labels(APP, "session-store")
        addresses = self._addresses(args, here)
        # Names of the pods that there are, for a new group's first member to see that it is alone.
        Service(
            MEMBERS,
            metadata=ObjectMetaArgs(name=MEMBERS, namespace=args.namespace, labels=named),
            spec=headless(),
            opts=here,
        )
        config = ConfigMap(
            f"{name}-config",
            metadata=ObjectMetaArgs(namespace=args.namespace, labels=named),
            data=files(args.memory_mib) | {"members": addresses.apply(members_file)},
            opts=here,
        )
        PodDisruptionBudget(
            name,
            metadata=ObjectMetaArgs(name=APP, namespace=args.namespace, labels=named),
            spec=PodDisruptionBudgetSpecArgs(
                max_unavailable=1,  # two of three decide who is the primary
                selector=LabelSelectorArgs(match_labels=selector(APP)),
            ),
            opts=here,
        )
        StatefulSet(
            name,
            metadata=ObjectMetaArgs(name=APP, namespace=args.namespace, labels=named),
            spec=StatefulSetSpecArgs(
                replicas=args.replicas,
                service_name=MEMBERS,
                revision_history_limit=3,
                min_ready_seconds=5,  # in which its Sentinel gets to know the others, before the next one is replaced
                update_strategy=StatefulSetUpdateStrategyArgs(type="RollingUpdate"),
                selector=LabelSelectorArgs(match_labels=selector(APP)),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=named),
                    spec=member_pod(
                        APP,
                        memory_mib=args.memory_mib,
                        images=args.images,
                        config=config.metadata.name,
                        secrets=(args.users_secret, args.internal.secret),
                    ),
                ),
            ),
            opts=here,
        )
        self._proxy(name, args, addresses, here)
        self.register_outputs({})

    def _addresses(self, args: RedisGroupArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[Mapping[str, str]]:
        """The members' fixed addresses by name."""
        members = {
            member: Service(
                member,
                metadata=ObjectMetaArgs(name=member, namespace=args.namespace, labels=labels(APP, "session-store")),
                spec=member_service(member),
                opts=opts,
            )
            for member in (f"{APP}-{ordinal}" for ordinal in range(args.replicas))
        }
        found = {member: service.spec.cluster_ip for member, service in members.items()}
        return pulumi.Output.all(**found)

    def _proxy(
        self,
        name: str,
        args: RedisGroupArgs,
        addresses: pulumi.Output[Mapping[str, str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        named = labels(PROXY, "session-store")
        text = pulumi.Output.all(addresses, args.internal.password).apply(lambda both: haproxy_cfg(*both))
        config = Secret(
            f"{name}-proxy",
            metadata=ObjectMetaArgs(namespace=args.namespace, labels=named),
            string_data={"haproxy.cfg": text},
            opts=opts,
        )
        DaemonSet(
            f"{name}-proxy",
            metadata=ObjectMetaArgs(
                name=PROXY,
                namespace=args.namespace,
                labels=named,
                # One on a dead node is not waited for; the web UI is not ready before its own node's leads to Redis.
                annotations={"pulumi.com/skipAwait": "true"},
            ),
            spec=proxy_spec(args.images, config.metadata.name),
            opts=opts,
        )


def internal_passwords(
    name: str, namespace: str, named: Mapping[str, str], generation: int, parent: pulumi.Resource
) -> Internal:
    """Of each generation one password. The members show that of `generation`, and take that of the one before and the one after
    too: so members before and after a change of it by one follow each other while they are replaced one by one."""
    made = {
        each: internal_password(f"{name}-internal" + (f"-{each}" if each > 1 else ""), namespace, named, parent)
        for each in (generation - 1, generation, generation + 1)
        if each > 0
    }
    secret, password = made[generation]
    return Internal(secret=secret, password=password, taken=pulumi.Output.all(*(text for _, text in made.values())))


def internal_password(
    name: str, namespace: str, named: Mapping[str, str], parent: pulumi.Resource
) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """Its Secret's name and the text; drawn once, when the Secret is first made, and then kept."""
    drawn = base64.b64encode(secrets.token_hex(24).encode()).decode()
    secret = Secret(
        name,
        metadata=ObjectMetaArgs(name=name, namespace=namespace, labels=dict(named)),
        data={INTERNAL_KEY: pulumi.Output.secret(drawn)},
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=["data"]),
    )
    password = secret.data.apply(lambda data: base64.b64decode(data[INTERNAL_KEY]).decode())
    return secret.metadata.name, pulumi.Output.secret(password)


def member_service(member: str) -> ServiceSpecArgs:
    """Leads to one pod, ready or not: whether it is well is for the Sentinels to say."""
    return ServiceSpecArgs(
        selector={"statefulset.kubernetes.io/pod-name": member},
        publish_not_ready_addresses=True,
        ports=[
            ServicePortArgs(name="redis", port=PORT, target_port="redis"),
            ServicePortArgs(name="sentinel", port=SENTINEL_PORT, target_port="sentinel"),
        ],
    )


def headless() -> ServiceSpecArgs:
    return ServiceSpecArgs(
        cluster_ip="None",
        selector=selector(APP),
        publish_not_ready_addresses=True,
        ports=[ServicePortArgs(name="redis", port=PORT, target_port="redis")],
    )


def files(memory_mib: int) -> dict[str, pulumi.Input[str]]:
    """What every member reads, by file name, but for the addresses."""
    scripts = {script.name: script.read_text() for script in sorted(SCRIPTS.glob("redis_*.sh"))}
    return {"redis.conf": member_conf(memory_mib), "sentinel.conf": sentinel_conf(), **scripts}
