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
    USERS,
    access_list,
    members_access_list,
    redis_conf,
)
from components.services.redis_group import RedisGroup, RedisGroupArgs, internal_password
from components.services.redis_proxy import PROXY
from components.services.redis_single import deployment_spec
from components.settings import Images, Redis

NAME = "redis"
NAMESPACE = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionStoreArgs:
    redis: Redis
    images: Images
    password: pulumi.Output[str]  # secret
    replicas: int  # 1 or 3
    dns_domain: str = "cluster.local"


class SessionStore(pulumi.ComponentResource):
    """Service `redis` and the Secret that its clients read the password from."""

    host: pulumi.Output[str]
    password_secret: pulumi.Output[str]  # name of a Secret with the key `password`; changes with the password

    def __init__(self, name: str, args: SessionStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "SessionStore"), name, None, opts)
        secret = self._one(name, args) if args.replicas == 1 else self._group(name, args)
        self.password_secret = secret.metadata.name
        service = Service(
            f"{name}-service",
            metadata=metadata(NAME),
            spec=service_spec(args.replicas),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.host = pulumi.Output.concat(service.metadata.name, ".", NAMESPACE, ".svc.", args.dns_domain)
        self.register_outputs({"host": self.host, "passwordSecret": self.password_secret})

    def _one(self, name: str, args: SessionStoreArgs) -> Secret:
        here = pulumi.ResourceOptions(parent=self)
        secret = self._secret(name, args, args.password.apply(access_list))
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata(),
            data={"redis.conf": redis_conf(args.redis.memory_mib)},
            opts=here,
        )
        Deployment(
            name,
            metadata=metadata(NAME),
            spec=deployment_spec(
                NAME,
                memory_mib=args.redis.memory_mib,
                images=args.images,
                secret=secret.metadata.name,
                config=config.metadata.name,
            ),
            opts=here,
        )
        return secret

    def _group(self, name: str, args: SessionStoreArgs) -> Secret:
        internal = internal_password(name, NAMESPACE, labels(NAME, "session-store"), self)
        users = pulumi.Output.all(args.password, internal.password).apply(lambda both: members_access_list(*both))
        secret = self._secret(name, args, users)
        RedisGroup(
            f"{name}-group",
            RedisGroupArgs(
                namespace=NAMESPACE,
                replicas=args.replicas,
                memory_mib=args.redis.memory_mib,
                images=args.images,
                users_secret=secret.metadata.name,
                internal=internal,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        return secret

    def _secret(self, name: str, args: SessionStoreArgs, users: pulumi.Output[str]) -> Secret:
        """Named by the engine, so that changed content is a new name and the pods that use it are replaced."""
        return Secret(
            f"{name}-password",
            metadata=metadata(),
            string_data={PASSWORD_KEY: args.password, USERS: users},
            opts=pulumi.ResourceOptions(parent=self),
        )


def metadata(name: str | None = None) -> ObjectMetaArgs:
    return ObjectMetaArgs(name=name, namespace=NAMESPACE, labels=labels(NAME, "session-store"))


def service_spec(replicas: int) -> ServiceSpecArgs:
    """Every node has a proxy of its own: no connection goes by another node, which may be the one that just died."""
    return ServiceSpecArgs(
        selector=selector(NAME if replicas == 1 else PROXY),
        ports=[ServicePortArgs(name="redis", port=PORT, target_port="redis")],
        internal_traffic_policy=None if replicas == 1 else "Local",
    )
