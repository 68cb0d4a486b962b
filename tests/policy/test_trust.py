"""Unverified hosts, secrets in clear and data that would be lost are found. Each case breaks one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.settings.stack_file import plain_values
from tests.policy import trust
from tests.policy.breaking import STACK, Broken, container, forbidden, found_by, inputs, names, without
from tests.policy.program import program
from tests.support.graph import Graph, Resource, Secret

CASES = (
    Broken(
        rule=trust.host_keys_are_verified,
        resource="host ssh",
        change=inputs(lambda values: values.pop("knownHosts")),
    ),
    Broken(
        rule=trust.objects_name_their_provider,
        resource="StatefulSet redis-group",
        change=lambda resource: replace(resource, provider=""),
    ),
    Broken(
        rule=trust.the_kubernetes_provider_knows_its_cluster,
        resource="kubernetes cluster",
        change=inputs(lambda values: values.pop("clusterIdentifier")),
        part="clusterIdentifier",
    ),
    Broken(
        rule=trust.secrets_are_marked,
        resource="host ssh",
        change=inputs(lambda values: values.update(privateKey=values["privateKey"].value)),
        part="privateKey",
    ),
    Broken(
        rule=trust.secrets_are_marked,
        resource="Deployment qwen3-vl",
        change=container(lambda each: each["env"].append({"name": "REDIS_PASSWORD", "value": "in clear"})),
        part="spec.template.spec.containers.0.env.4.REDIS_PASSWORD",
    ),
    Broken(
        rule=trust.secrets_are_marked,
        resource="Deployment qwen3-vl",
        change=container(lambda each: each["args"].insert(0, "--gateway-token=in clear")),
        part="spec.template.spec.containers.0.args.--gateway-token",
    ),
    Broken(
        rule=trust.secrets_are_marked,
        resource="Configuration master-1-member",
        change=inputs(lambda values: values["files"].update({"/etc/ssl/ca.key": {"content": "in clear"}})),
        part="files./etc/ssl/ca.key",
    ),
    Broken(
        rule=trust.secrets_are_marked,
        resource="Secret redis-password",
        change=inputs(lambda values: values.update(stringData={"users.acl": "in clear", "password": Secret("x")})),
        part="stringData.users.acl",
    ),
    Broken(
        rule=trust.data_outlives_destroy,
        resource="PersistentVolume model-cache-cache-volume",
        change=inputs(lambda values: values["spec"].pop("persistentVolumeReclaimPolicy")),
    ),
    Broken(
        rule=trust.data_outlives_destroy,
        resource="Configuration master-3-member",
        change=inputs(
            lambda values: [step["environment"].update({trust.RESET: "yes"}) for step in values["removal"][3:4]]
        ),
        part="reset_node",
    ),
    Broken(
        rule=trust.every_object_has_one_field_manager,
        resource="Service redis-service",
        change=inputs(lambda values: values["metadata"].pop("annotations")),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_alone_names_that_resource(case: Broken) -> None:
    assert found_by(case) == [case.expected]


def test_keys_of_every_connection_do_as_well_as_known_hosts() -> None:
    def verified(resource: Resource) -> Resource:
        def edit(values: dict[str, Any]) -> None:
            for connection in (values.get("connection"), *(values.get("peers") or ())):
                if connection and connection["node"] != "gpu-2":
                    connection["hostKeys"] = ["ssh-ed25519 A"]

        return inputs(edit)(resource) if resource.type.startswith("host:") else resource

    unknown = without(program(STACK), "host ssh", inputs(lambda values: values.pop("knownHosts")))
    assert all(node["name"] in str(forbidden(unknown)) for node in plain_values(STACK)["nodes"])
    (left,) = forbidden(Graph([verified(each) for each in unknown.resources]))
    assert left.found == "no knownHosts, and no hostKeys of gpu-2"


@pytest.mark.parametrize(
    ("jump", "verified"),
    [
        ('{"address": "bastion.example.com"}', False),
        ('{"address": "bastion.example.com", "host_keys": ["ssh-ed25519 A"]}', True),
    ],
)
def test_a_jump_host_is_verified_too(jump: str, verified: bool) -> None:
    edited = inputs(lambda values: [values.pop("knownHosts"), values.update(jump=jump)])
    (found,) = forbidden(without(program(STACK), "host ssh", edited))
    assert ("bastion.example.com" not in found.found) == verified


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(trust.RULES)
