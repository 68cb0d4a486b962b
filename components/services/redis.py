"""Redis at the manual's address `redis.default.svc.cluster.local:6379`: chat histories with a time to live.

With three control planes it is a group on them, whose primary the address leads to (redis_group.py); else one pod on a worker.
Losing that one's node loses the histories, nothing else: the web UI goes on answering, and a new one starts elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.naming import labels, selector, token
from components.services.redis_files import (
    PASSWORD_KEY,
    PORT,
    SENTINEL_USERS,
    USERS,
    access_list,
    members_access_list,
    redis_conf,
    sentinel_users,
)
from components.services.redis_group import RedisGroup, RedisGroupArgs, internal_passwords
from components.services.redis_proxy import PROXY
from components.services.redis_single import deployment_spec
from components.settings import Images, Redis

NAME = "redis"
NAMESPACE = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionStoreArgs:
    redis: Redis
    images: Images
    password: pulumi.Output[str]  # secret, as is the next
    previous: pulumi.Output[str] | None  # taken as well, while clients change to `password`
    replicas: int  # 1 or 3
    dns_domain: str = "cluster.local"


class SessionStore(pulumi.ComponentResource):
    """Service `redis` and the Secret that its clients read the password from.

    What the servers take is in another Secret, whose name the engine chooses: changed content is a new name, and the pods are
    replaced. What the clients show has a fixed one, so it reaches them as a file and restarts none of them.
    """

    host: pulumi.Output[str]
    password_secret: pulumi.Output[str]  # name of a Secret with the key `password`

    def __init__(self, name: str, args: SessionStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "SessionStore"), name, None, opts)
        servers = self._one(name, args) if args.replicas == 1 else self._group(name, args)
        shown = Secret(
            f"{name}-password",
            metadata=metadata(f"{NAME}-password"),
            string_data={PASSWORD_KEY: args.password},
            # Only while it changes: the first time nobody has to wait for Redis to begin.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[servers] if args.previous else None),
        )
        self.password_secret = shown.metadata.name
        service = Service(
            f"{name}-service",
            metadata=metadata(NAME),
            spec=service_spec(args.replicas),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.host = pulumi.Output.concat(service.metadata.name, ".", NAMESPACE, ".svc.", args.dns_domain)
        self.register_outputs({"host": self.host, "passwordSecret": self.password_secret})

    def _one(self, name: str, args: SessionStoreArgs) -> pulumi.Resource:
        here = pulumi.ResourceOptions(parent=self)
        # Its own probe is a client as well.
        secret = self._users(name, {USERS: taken(args).apply(access_list), PASSWORD_KEY: args.password})
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata(),
            data={"redis.conf": redis_conf(args.redis.memory_mib)},
            opts=here,
        )
        return Deployment(
            name,
            metadata=metadata(NAME),
            spec=deployment_spec(
                NAME,
                memory_mib=args.redis.memory_mib,
                images=args.images,
                secret=secret,
                config=config.metadata.name,
            ),
            opts=here,
        )

    def _group(self, name: str, args: SessionStoreArgs) -> pulumi.Resource:
        named, generation = labels(NAME, "session-store"), args.redis.internal_password_generation
        internal = internal_passwords(name, NAMESPACE, named, generation, self)
        users = pulumi.Output.all(taken(args), internal.taken).apply(lambda both: members_access_list(*both))
        secret = self._users(name, {USERS: users, SENTINEL_USERS: internal.taken.apply(sentinel_users)})
        return RedisGroup(
            f"{name}-group",
            RedisGroupArgs(
                namespace=NAMESPACE,
                replicas=args.replicas,
                memory_mib=args.redis.memory_mib,
                images=args.images,
                users_secret=secret,
                internal=internal,
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _users(self, name: str, files: dict[str, pulumi.Input[str]]) -> pulumi.Output[str]:
        opts = pulumi.ResourceOptions(parent=self)
        return Secret(f"{name}-users", metadata=metadata(), string_data=files, opts=opts).metadata.name


def taken(args: SessionStoreArgs) -> pulumi.Output[list[str]]:
    return pulumi.Output.all(args.password, *([args.previous] if args.previous else []))


def metadata(name: str | None = None) -> ObjectMetaArgs:
    return ObjectMetaArgs(name=name, namespace=NAMESPACE, labels=labels(NAME, "session-store"))


def service_spec(replicas: int) -> ServiceSpecArgs:
    """Every node has a proxy of its own: no connection goes by another node, which may be the one that just died."""
    return ServiceSpecArgs(
        selector=selector(NAME if replicas == 1 else PROXY),
        ports=[ServicePortArgs(name="redis", port=PORT, target_port="redis")],
        internal_traffic_policy=None if replicas == 1 else "Local",
    )
