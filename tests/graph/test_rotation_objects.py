"""What a changed secret changes, and in which order: servers first, clients then, nobody who need not be."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from components.settings import Settings
from components.settings.stack_file import stack_settings
from components.settings.webui import Login, LoginKind
from tests.support.cluster import build, provider
from tests.support.cluster import settings as nodes_settings
from tests.support.graph import Graph, Secret, record
from tests.support.manifests import PASSWORD, TOKEN, Manifest, graph, manifests
from tests.support.settings import VALID

OLD = "canary-of-the-password-before"
OLD_TOKEN = "canary-of-the-token-before"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


def one(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in objects if (each.kind, each.name) == (kind, name)]
    return found


def nodes_graph(over: dict[str, Any] | None = None) -> Graph:
    return record(lambda: build(nodes_settings(over)), provider)


def content(found: Graph, name: str) -> dict[str, str]:
    """What a Secret holds."""
    inputs = found.named(name).inputs
    held = inputs["stringData"] if "stringData" in inputs else inputs["data"]
    assert isinstance(held, Secret)
    opened: dict[str, str] = held.value
    return opened


def taken(access_list: str, user: str) -> set[str]:
    (line,) = [line for line in access_list.splitlines() if line.startswith(f"user {user} ")]
    return {word.removeprefix("#") for word in line.split() if word.startswith("#")}


def digests(*passwords: str) -> set[str]:
    return {hashlib.sha256(password.encode()).hexdigest() for password in passwords}


def with_redis(**changes: Any) -> Settings:
    settings = stack_settings("prod")
    return settings.model_copy(update={"redis": settings.redis.model_copy(update=changes)})


@pytest.mark.parametrize("replicas", [1, 3])
def test_redis_takes_both_passwords_before_its_clients_are_given_the_new_one(replicas: int) -> None:
    found = graph(with_redis(replicas=replicas), redis_password_previous=OLD)
    assert taken(content(found, "redis-users")["users.acl"], "default") == digests(PASSWORD, OLD)
    assert content(found, "redis-password") == {"password": PASSWORD}
    assert ("redis" if replicas == 1 else "redis-group") in found.dependency_names("redis-password")


@pytest.mark.parametrize("replicas", [1, 3])
def test_without_a_change_nobody_waits_and_one_password_is_taken(replicas: int) -> None:
    found = graph(with_redis(replicas=replicas))
    assert taken(content(found, "redis-users")["users.acl"], "default") == digests(PASSWORD)
    assert not found.dependency_names("redis-password") & {"redis", "redis-group"}


def test_another_password_restarts_redis_and_none_of_its_clients() -> None:
    """Names that the engine chooses change with the content."""
    objects = manifests(graph(with_redis()))
    redis, webui = one(objects, "StatefulSet", "redis"), one(objects, "Deployment", "qwen3-vl-webui")
    (access,) = [each for each in redis.pod["spec"]["volumes"] if each["name"] == "access"]
    (password,) = [each for each in webui.pod["spec"]["volumes"] if each["name"] == "redis-password"]
    assert [source["secret"]["name"].startswith("redis-users-") for source in access["projected"]["sources"]] == [
        True,
        False,
    ]
    assert password["secret"]["secretName"] == "redis-password"
    (mount,) = [each for each in webui.containers() if each["name"] == "webui"]
    (folder,) = [each for each in mount["volumeMounts"] if each["name"] == "redis-password"]
    assert "subPath" not in folder, "the kubelet renews whole folders only"


@pytest.mark.parametrize(("generation", "names"), [(1, ["", "-2"]), (2, ["", "-2", "-3"]), (3, ["-2", "-3", "-4"])])
def test_members_take_their_neighbours_passwords(generation: int, names: list[str]) -> None:
    found = graph(with_redis(internal_password_generation=generation))
    secrets = {
        each.name for each in found.of_type("kubernetes:core/v1:Secret") if each.name.startswith("redis-internal")
    }
    assert secrets == {f"redis-internal{name}" for name in names}
    assert all(found.named(name).ignore_changes == ("data",) for name in secrets), "drawn once"
    users = content(found, "redis-users")
    assert len(taken(users["users.acl"], "replica")) == len(names)
    for name in ("sentinel", "probe"):
        assert taken(users["users.acl"], name) == taken(users["users.acl"], "replica")
    assert taken(users["sentinel-users"], "default") == taken(users["users.acl"], "replica")
    redis = one(manifests(found), "StatefulSet", "redis")
    (access,) = [each for each in redis.pod["spec"]["volumes"] if each["name"] == "access"]
    shown = access["projected"]["sources"][1]["secret"]["name"]
    assert shown == ("redis-internal" if generation == 1 else f"redis-internal-{generation}")


def test_traefik_shows_both_tokens_and_the_web_ui_takes_either() -> None:
    settings = stack_settings("prod")
    login = Login(kind=LoginKind.FORWARD_AUTH, address="http://auth.example.com/", user_header="X-User")
    webui = settings.webui.model_copy(update={"login": login})
    found = graph(settings.model_copy(update={"webui": webui}), gateway_token_previous=OLD_TOKEN)
    digest_file = content(found, "qwen3-vl-access")["gateway-token.sha256"]
    assert set(digest_file.splitlines()) == digests(TOKEN, OLD_TOKEN)
    middleware = one(manifests(found), "Middleware", "qwen3-vl-gateway").resource.inputs["spec"]
    shown = f"{TOKEN} {OLD_TOKEN}"
    assert middleware == Secret({"headers": {"customRequestHeaders": {"X-Qwen3-VL-Gateway": shown}}})


def test_the_key_of_etcd_goes_over_the_control_planes_in_step_after_they_have_joined() -> None:
    found = nodes_graph({"kubernetes": {**VALID["kubernetes"], "encryptionKeyGeneration": 4}})
    (rounds,) = found.of_type("host:index:Rounds")
    names = [node["name"] for node in VALID["nodes"] if node["role"] == "control-plane"]
    assert [node["node"] for node in rounds.inputs["nodes"]] == names
    assert rounds.inputs["rounds"] == ["offer", "use", "rewrite", "drop"]
    assert rounds.inputs["script"]["environment"] == {"GENERATION": "4"}
    assert found.dependency_names(rounds.name) == {f"{name}-member" for name in names}
    assert not [each.name for each in found.resources if rounds.urn in each.dependencies], (
        "nothing waits for its minutes"
    )


def test_login_keys_are_every_nodes_and_only_where_they_are_asked_for() -> None:
    ssh = {**VALID["ssh"], "user": "ubuntu", "authorizedKeys": [KEY]}
    scripts = {
        each.inputs["connection"]["node"]: each.inputs["scripts"][0]
        for each in nodes_graph({"ssh": ssh}).of_type("host:index:Configuration")
        if each.name.endswith("-base")
    }
    assert set(scripts) == {node["name"] for node in VALID["nodes"]}
    for script in scripts.values():
        assert script["name"] == "authorize_keys"
        assert script["environment"] == {"LOGIN_USER": "ubuntu", "AUTHORIZED": KEY, "REVOKED": ""}
    for each in nodes_graph().of_type("host:index:Configuration"):
        assert "authorize_keys" not in [script["name"] for script in each.inputs.get("scripts", ())]
