"""Roles and their bindings, written so that a grant reads as one line."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRuleArgs,
    Role,
    RoleBinding,
    RoleRefArgs,
    SubjectArgs,
)

READ = ("get", "list", "watch")
RBAC_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A service account by name, with the labels that what is granted to it carries."""

    name: str
    namespace: str
    labels: dict[str, str]
    role: str | None = None  # name of what is granted to it; None: the account's

    @property
    def called(self) -> str:
        return self.role or self.name

    @property
    def subject(self) -> SubjectArgs:
        return SubjectArgs(kind="ServiceAccount", name=self.name, namespace=self.namespace)


def rule(group: str, *resources: str, verbs: tuple[str, ...] = READ, names: tuple[str, ...] = ()) -> PolicyRuleArgs:
    """`verbs` on `resources` of an API group ("" = core), on the objects called `names` only if any are given."""
    return PolicyRuleArgs(
        api_groups=[group], resources=list(resources), verbs=list(verbs), resource_names=list(names) or None
    )


def paths(*urls: str) -> PolicyRuleArgs:
    """Reading pages of the API server, or of others that ask it, which are no objects."""
    return PolicyRuleArgs(non_resource_urls=list(urls), verbs=["get"])


def grant(
    name: str, account: Account, namespace: str, rules: list[PolicyRuleArgs], opts: pulumi.ResourceOptions
) -> None:
    """A Role in `namespace` called as the account, bound to it."""
    metadata = ObjectMetaArgs(name=account.called, namespace=namespace, labels=account.labels)
    role = Role(name, metadata=metadata, rules=rules, opts=opts)
    RoleBinding(
        name,
        metadata=metadata,
        role_ref=RoleRefArgs(api_group=RBAC_GROUP, kind="Role", name=role.metadata.name),
        subjects=[account.subject],
        opts=opts,
    )


def delegate_authorization(name: str, account: Account, opts: pulumi.ResourceOptions) -> None:
    """Lets a server of an aggregated API ask Kubernetes who its callers are and what they may do."""
    ClusterRoleBinding(
        f"{name}-auth-delegator",
        metadata=ObjectMetaArgs(name=f"{account.namespace}:{account.name}:auth-delegator", labels=account.labels),
        role_ref=RoleRefArgs(api_group=RBAC_GROUP, kind="ClusterRole", name="system:auth-delegator"),
        subjects=[account.subject],
        opts=opts,
    )
    RoleBinding(
        f"{name}-auth-reader",
        metadata=ObjectMetaArgs(
            name=f"{account.namespace}-{account.name}-auth-reader", namespace="kube-system", labels=account.labels
        ),
        role_ref=RoleRefArgs(api_group=RBAC_GROUP, kind="Role", name="extension-apiserver-authentication-reader"),
        subjects=[account.subject],
        opts=opts,
    )


def grant_in_cluster(name: str, account: Account, rules: list[PolicyRuleArgs], opts: pulumi.ResourceOptions) -> None:
    """A ClusterRole called `<namespace>:<account>`, bound to the account in the whole cluster."""
    metadata = ObjectMetaArgs(name=f"{account.namespace}:{account.called}", labels=account.labels)
    role = ClusterRole(name, metadata=metadata, rules=rules, opts=opts)
    ClusterRoleBinding(
        name,
        metadata=metadata,
        role_ref=RoleRefArgs(api_group=RBAC_GROUP, kind="ClusterRole", name=role.metadata.name),
        subjects=[account.subject],
        opts=opts,
    )
