"""Logins, API keys and the built image, in the graph: what pods, routes and the command on the operator's machine are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.inference.webui_image import ROOT, SCRIPT, SOURCES, sources_digest
from components.settings import Settings
from components.settings.parse import parse
from tests.support.graph import Graph, Secret
from tests.support.manifests import TOKEN, USER_HASH, Manifest, graph, manifests
from tests.support.settings import VALID

FORWARD = {
    "kind": "forwardAuth",
    "address": "http://auth.auth.svc/",
    "userHeader": "X-User",
    "logoutUrl": "https://sso/out",
}
DIGEST = f"sha256:{'ab' * 32}"


def settings(**over: Any) -> Settings:
    return parse({**VALID, "modelStore": {"kind": "folder", "path": "/models"}, **over})


def webui(login: dict[str, Any] | None = None, api: dict[str, Any] | None = None) -> Graph:
    return graph(settings(webui={"login": login or {}, "api": api or {}}))


def one(found: Graph, kind: str, name: str) -> Manifest:
    (object_,) = manifests(found, lambda each: (each.kind, each.name) == (kind, name))
    return object_


def arguments(found: Graph) -> list[str]:
    (container,) = one(found, "Deployment", "qwen3-vl-webui").pod["spec"]["containers"]
    return [str(each) for each in container["args"]]


def files(found: Graph) -> dict[str, str]:
    """What the web UI's pods find in their folder; the graph marks all of it as secret."""
    content = found.named("qwen3-vl-access").inputs["stringData"]
    assert isinstance(content, Secret)
    values: dict[str, str] = content.value
    return values


def test_the_api_is_closed_until_there_is_a_key_and_open_only_if_told() -> None:
    closed = webui()
    assert "--api-keys-file=/run/secrets/webui/api-keys.json" in arguments(closed)
    (name,) = json.loads(files(closed)["api-keys.json"])
    assert name == "a-client"
    opened = webui(api={"access": "open"})
    assert not any("api-keys" in each for each in arguments(opened))
    assert [each.name for each in opened.resources if each.name == "qwen3-vl-access"] == []


def test_limits_are_in_the_file_so_that_they_change_without_a_restart() -> None:
    limits = {"limits": {"requestsPerMinute": 600}, "keys": {"a-client": {"requestsInFlight": 3}}}
    before, after = webui(), webui(api=limits)
    entry = json.loads(files(after)["api-keys.json"])["a-client"]
    assert (entry["requestsInFlight"], entry["requestsPerMinute"]) == (3, None)
    same = [one(each, "Deployment", "qwen3-vl-webui").body for each in (before, after)]
    assert same[0] == same[1]
    assert one(after, "Secret", "qwen3-vl-access").resource.inputs["metadata"]["name"] == "qwen3-vl-access"


def test_every_file_the_web_ui_is_told_of_is_mounted() -> None:
    for login in ({}, {"kind": "password", "sessionHours": 8}, FORWARD):
        found = webui(login)
        pod = one(found, "Deployment", "qwen3-vl-webui").pod["spec"]
        (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "access"]
        (volume,) = [each for each in pod["volumes"] if each["name"] == "access"]
        assert volume["secret"]["secretName"] == "qwen3-vl-access"
        assert mount["readOnly"] is True
        assert "subPath" not in mount, "the kubelet does not renew single files"
        paths = [each.partition("=")[2] for each in arguments(found) if each.partition("=")[0].endswith("-file")]
        assert {f"{mount['mountPath']}/{name}" for name in files(found)} == set(paths)
        engine = pod["initContainers"][0]
        assert not [each for each in engine["volumeMounts"] if each["name"] == "access"], "not the engine's business"


LOGIN_AT_THE_GATEWAY = {"qwen3-vl-login", "qwen3-vl-gateway"}


def test_a_login_by_password() -> None:
    found = webui({"kind": "password", "sessionHours": 8})
    assert {"--login=password", "--session-hours=8"} <= set(arguments(found))
    assert json.loads(files(found)["users.json"]) == {"alice": USER_HASH}
    routes = one(found, "IngressRoute", "qwen3-vl-ingress").spec["routes"]
    passed = {named["name"] for each in routes for named in each.get("middlewares", [])}
    assert not [each for each in routes if "PathPrefix" in each["match"]]
    assert not passed & LOGIN_AT_THE_GATEWAY


def test_a_login_at_a_service_stands_before_the_page_and_not_before_the_api() -> None:
    found = webui(FORWARD)
    routes = one(found, "IngressRoute", "qwen3-vl-ingress").spec["routes"]
    pages, apis = routes[::2], routes[1::2]
    assert "Host(`qwen3.example.com`)" in [each["match"] for each in pages]
    for page, api in zip(pages, apis, strict=True):
        # Traefik tries the longer rule first.
        assert api["match"] == page["match"] + " && (Path(`/v1`) || PathPrefix(`/v1/`))"
        limits, asked_for = ([each["name"] for each in way.get("middlewares", [])] for way in (api, page))
        assert not set(limits) & LOGIN_AT_THE_GATEWAY
        # The order matters: the service must not be asked beyond the limits, nor see the token.
        assert asked_for == [*limits, "qwen3-vl-login", "qwen3-vl-gateway"]
    asked = one(found, "Middleware", "qwen3-vl-login").spec["forwardAuth"]
    assert asked["address"] == "http://auth.auth.svc"
    assert asked["authResponseHeaders"] == ["X-User"]
    assert asked["trustForwardHeader"] is False
    said = found.named("qwen3-vl-gateway").inputs["spec"]
    assert said == Secret({"headers": {"customRequestHeaders": {"X-Qwen3-VL-Gateway": TOKEN}}})
    assert {"--login=forward-auth", "--user-header=X-User", "--logout-url=https://sso/out"} <= set(arguments(found))
    assert TOKEN not in json.dumps(files(found)), "the pod gets its digest"


def test_other_logins_have_no_service_to_ask() -> None:
    for login in ({}, {"kind": "password"}):
        names = [each.name for each in manifests(webui(login), lambda each: each.kind == "Middleware")]
        assert "qwen3-vl-retry" in names
        assert not set(names) & LOGIN_AT_THE_GATEWAY


def built(**over: Any) -> Graph:
    return graph(settings(images={"build": {"tool": "buildah", **over}}))


def test_the_image_is_built_by_one_command_and_pods_run_its_digest() -> None:
    found = built(
        push="10.0.0.5:5000/team/webui:v2", pythonImage="10.0.0.5:5000/python:3.11", pipIndex="http://10.0.0.5/pip"
    )
    (command,) = found.of_type("command:local:Command")
    assert command.inputs["create"] == "bash components/inference/scripts/build_webui_image.sh"
    assert (ROOT / command.inputs["create"].split()[1]) == SCRIPT
    assert command.inputs["environment"] == {
        "TOOL": "buildah",
        "REFERENCE": "10.0.0.5:5000/team/webui:v2",
        "PYTHON_IMAGE": "10.0.0.5:5000/python:3.11",
        "PIP_INDEX_URL": "http://10.0.0.5/pip",
        "PLAIN_HTTP": "false",
    }
    assert sources_digest(SOURCES, SCRIPT) in command.inputs["triggers"]
    assert found.by_urn[command.parent].type == "qwenvl:inference:WebUiImage"
    (container,) = one(found, "Deployment", "qwen3-vl-webui").pod["spec"]["containers"]
    assert container["image"] == f"10.0.0.5:5000/team/webui:v2@{DIGEST}"
    deployment = one(found, "Deployment", "qwen3-vl-webui").resource
    assert command.urn in deployment.dependencies


def test_every_setting_of_the_build_triggers_it_anew() -> None:
    triggers = [
        tuple(built(**over).of_type("command:local:Command")[0].inputs["triggers"])
        for over in (
            {},
            {"tool": "docker"},
            {"push": "r.example.com/w:v9"},
            {"pythonImage": "r.example.com/p:1"},
            {"pipIndex": "http://pip"},
            {"plainHttp": True},
        )
    ]
    assert len(set(triggers)) == len(triggers)
    assert triggers[0] == tuple(built().of_type("command:local:Command")[0].inputs["triggers"])


def test_without_a_build_nothing_runs_on_the_operators_machine() -> None:
    assert graph(settings()).of_type("command:local:Command") == []


@pytest.mark.parametrize("change", ["content", "name", "mode", "new", "gone"])
def test_any_change_of_the_sources_is_another_digest(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "image"
    (folder / "inner").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM x\n")
    (folder / "inner" / "a.py").write_text("1\n")
    before = sources_digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("cache")
    assert sources_digest(folder) == before
    match change:
        case "content":
            (folder / "inner" / "a.py").write_text("2\n")
        case "name":
            (folder / "inner" / "a.py").rename(folder / "inner" / "b.py")
        case "mode":
            (folder / "inner" / "a.py").chmod(0o755)
        case "new":
            (folder / "empty").write_text("")
        case _:
            (folder / "inner" / "a.py").unlink()
    assert sources_digest(folder) != before
