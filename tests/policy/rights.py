"""Namespaces, accounts and what is granted to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.policy.findings import Finding, label
from tests.policy.objects import objects, of_kind, pod_spec, workloads
from tests.support.graph import Graph
from tests.support.manifests import Manifest

ENFORCE = "pod-security.kubernetes.io/enforce"
GAINING = {"*", "escalate", "bind", "impersonate"}  # each of them is as good as every right
EVERYTHING = {"cluster-admin", "admin", "edit"}
EVERYBODY = {"system:masters", "system:authenticated", "system:unauthenticated", "system:anonymous"}


def namespaces_enforce_restricted_pods(graph: Graph) -> Iterator[Finding]:
    for namespace in declared_namespaces(graph):
        level = (namespace.body["metadata"].get("labels") or {}).get(ENFORCE)
        if level != "restricted":
            yield Finding(
                resource=label(namespace.resource),
                found=f"{ENFORCE} is {level or 'absent'}",
                rule_says="every namespace of ours has Pod Security `restricted` enforced",
                remedy="Add `restricted()` of components/pods.py to its labels",
            )


def objects_are_in_a_namespace_of_ours(graph: Graph) -> Iterator[Finding]:
    ours = {each.name for each in declared_namespaces(graph)}
    for each in objects(graph):
        if each.namespace and each.namespace not in ours:
            yield Finding(
                resource=label(each.resource),
                part=each.namespace,
                found=f"is in the namespace {each.namespace}, which this program does not make",
                rule_says="objects are in a namespace of the graph, which says what its pods may do",
                remedy="Declare the namespace, with Pod Security labels",
            )


def declared_namespaces(graph: Graph) -> list[Manifest]:
    """Those that the program makes, and `default`, whose labels it sets."""
    return [each for each in objects(graph) if each.kind == "Namespace"]


def tokens_are_mounted_only_where_the_api_is_used(graph: Graph) -> Iterator[Finding]:
    for workload in workloads(graph):
        if _has_token(graph, workload):
            yield Finding(
                resource=label(workload.resource),
                found=f"mounts a token of the service account {_account(workload)}",
                rule_says="only pods that talk to the Kubernetes API hold a token for it",
                remedy="Set automount_service_account_token=False",
            )


def the_default_account_gets_no_token(graph: Graph) -> Iterator[Finding]:
    for workload in workloads(graph):
        if _account(workload) == "default" and _has_token(graph, workload):
            yield Finding(
                resource=label(workload.resource),
                found="mounts a token of the namespace's default service account",
                rule_says="what is granted to that account is granted to every pod of the namespace",
                remedy="Give it a service account of its own, or no token",
            )


def roles_name_what_they_grant(graph: Graph) -> Iterator[Finding]:
    for role in of_kind(graph, "Role", "ClusterRole"):
        for rule in role.body.get("rules", ()):
            wild = [field for field in ("apiGroups", "resources", "nonResourceURLs") if "*" in (rule.get(field) or ())]
            gaining = sorted(GAINING & set(rule["verbs"]))
            if wild or gaining:
                yield Finding(
                    resource=label(role.resource),
                    part=_words(rule),
                    found=f"grants {', '.join([*(f'any of {field}' for field in wild), *(f'the verb {v}' for v in gaining)])}",
                    rule_says="a role names groups, resources and verbs, and none of the verbs that give all others",
                    remedy="Name what is needed",
                )


def nobody_is_made_an_administrator(graph: Graph) -> Iterator[Finding]:
    for binding in of_kind(graph, "ClusterRoleBinding", "RoleBinding"):
        role = binding.body["roleRef"]["name"]
        crowd = sorted(EVERYBODY & {subject["name"] for subject in binding.body.get("subjects", ())})
        if role in EVERYTHING or crowd:
            yield Finding(
                resource=label(binding.resource),
                found=f"binds {role} to {', '.join(crowd) or 'an account'}",
                rule_says="nothing in the cluster is an administrator, and nothing is granted to everybody",
                remedy="Write a role with what is needed, for one service account",
            )


def no_role_reaches_the_secrets_of_the_whole_cluster(graph: Graph) -> Iterator[Finding]:
    """To write one is as good as to read it: it is what somebody else's pod believes."""
    for role in of_kind(graph, "ClusterRole"):
        for rule in role.body.get("rules", ()):
            if {"secrets", "*"} & set(rule.get("resources") or ()):
                yield Finding(
                    resource=label(role.resource),
                    part=_words(rule),
                    found="reaches Secrets of every namespace",
                    rule_says="Secrets are granted in the namespaces that are named",
                    remedy="Use `grant` of components/rbac.py, a Role for each namespace",
                )


def _account(workload: Manifest) -> str:
    return str(pod_spec(workload).get("serviceAccountName", "default"))


def _has_token(graph: Graph, workload: Manifest) -> bool:
    """The pod decides, then its account, then Kubernetes, which mounts one."""
    own = pod_spec(workload).get("automountServiceAccountToken")
    if own is not None:
        return bool(own)
    for account in of_kind(graph, "ServiceAccount"):
        if (account.namespace, account.name) == (workload.namespace, _account(workload)):
            return bool(account.body.get("automountServiceAccountToken", True))
    return True


def _words(rule: Mapping[str, Any]) -> str:
    subjects = rule.get("resources") or rule.get("nonResourceURLs") or ()
    return f"{','.join(rule['verbs'])} {','.join(subjects)}"


RULES = (
    namespaces_enforce_restricted_pods,
    objects_are_in_a_namespace_of_ours,
    tokens_are_mounted_only_where_the_api_is_used,
    the_default_account_gets_no_token,
    roles_name_what_they_grant,
    nobody_is_made_an_administrator,
    no_role_reaches_the_secrets_of_the_whole_cluster,
)
