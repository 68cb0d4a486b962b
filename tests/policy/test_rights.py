"""Namespaces, accounts and grants that go too far are found. Each case breaks one thing."""

from __future__ import annotations

import pytest

from tests.policy import rights
from tests.policy.breaking import STACK, Broken, forbidden, found_by, inputs, names, pod, without
from tests.policy.findings import findings
from tests.policy.program import program

CASES = (
    Broken(
        rule=rights.namespaces_enforce_restricted_pods,
        resource="Namespace traefik-namespace",
        change=inputs(lambda values: values["metadata"]["labels"].pop(rights.ENFORCE)),
    ),
    Broken(
        rule=rights.objects_are_in_a_namespace_of_ours,
        resource="ConfigMap redis-group-config",
        change=inputs(lambda values: values["metadata"].update(namespace="elsewhere")),
        part="elsewhere",
    ),
    Broken(
        rule=rights.tokens_are_mounted_only_where_the_api_is_used,
        resource="StatefulSet redis-group",
        change=pod(lambda spec: spec.update(automountServiceAccountToken=True, serviceAccountName="redis")),
    ),
    Broken(
        rule=rights.roles_name_what_they_grant,
        resource="Role traefik-default",
        change=inputs(lambda values: values["rules"][1].update(resources=["*"])),
        part="get,list,watch *",
    ),
    Broken(
        rule=rights.roles_name_what_they_grant,
        resource="ClusterRole metallb-speaker",
        change=inputs(lambda values: values["rules"][2]["verbs"].append("impersonate")),
        part="create,patch,impersonate events",
    ),
    Broken(
        rule=rights.nobody_is_made_an_administrator,
        resource="ClusterRoleBinding metallb-controller",
        change=inputs(lambda values: values["roleRef"].update(name="cluster-admin")),
    ),
    Broken(
        rule=rights.nobody_is_made_an_administrator,
        resource="RoleBinding traefik-default",
        change=inputs(lambda values: values["subjects"].append({"kind": "Group", "name": "system:authenticated"})),
    ),
    Broken(
        rule=rights.no_role_reaches_the_secrets_of_the_whole_cluster,
        resource="ClusterRole flannel-role",
        change=inputs(lambda values: values["rules"][1]["resources"].append("secrets")),
        part="get,list,watch nodes,secrets",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_alone_names_that_resource(case: Broken) -> None:
    assert found_by(case) == [case.expected]


def test_a_token_of_the_default_account_breaks_two_rules() -> None:
    """What it may do is the one, whose it is the other."""
    graph = without(
        program(STACK), "StatefulSet redis-group", pod(lambda spec: spec.pop("automountServiceAccountToken"))
    )
    found = forbidden(graph)
    wanted = (rights.tokens_are_mounted_only_where_the_api_is_used, rights.the_default_account_gets_no_token)
    assert [(each.rule, each.resource) for each in found] == [
        (rule.__name__, "StatefulSet redis-group") for rule in wanted
    ]


def test_an_account_can_keep_its_token_from_its_pods() -> None:
    graph = without(
        program(STACK),
        "ServiceAccount traefik",
        inputs(lambda values: values.update(automountServiceAccountToken=False)),
    )
    found = findings(graph, [rights.tokens_are_mounted_only_where_the_api_is_used])
    assert "Deployment traefik" not in [each.resource for each in found]


def test_every_rule_has_a_case() -> None:
    above = {rights.the_default_account_gets_no_token}
    assert {case.rule for case in CASES} | above == set(rights.RULES)
