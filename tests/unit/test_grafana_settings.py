"""Grafana's settings and secrets, and its configuration as text."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.credentials import missing
from components.observability.grafana_config import Shown, files, ini, key_of
from components.settings.grafana import Grafana, Oidc
from components.settings.parse import parse
from components.settings.problem import SettingsError
from components.settings.tls import Tls, TlsKind
from components.settings.webui import WebUi
from tests.support.settings import VALID

HOST = "grafana.qwen3.example.com"
ACME = {"kind": "acme", "acme": {"email": "ops@example.org", "directory": "https://ca.example.org/dir"}}
LOGIN = "https://login.example.com"
OIDC = Oidc(client_id="grafana", auth_url=f"{LOGIN}/a", token_url=f"{LOGIN}/t", api_url=f"{LOGIN}/u")


def problems(grafana: dict[str, Any], ingress: dict[str, Any]) -> list[str]:
    config = copy.deepcopy(VALID) | {"observability": {"grafana": grafana}, "ingress": ingress}
    try:
        parse(config)
    except SettingsError as error:
        return [str(each) for each in error.problems]
    return []


def test_a_name_of_its_own_is_taken() -> None:
    assert problems({"host": HOST}, {"host": "qwen3.example.com"}) == []


def test_the_services_own_name_is_refused() -> None:
    (found,) = problems({"host": "qwen3.example.com"}, {"host": "qwen3.example.com"})
    assert found == (
        "observability.grafana.host: `qwen3.example.com`; the service is at that name (ingress.host)."
        " Write another one, like `grafana.qwen3.example.com`."
    )


def test_a_certificate_that_is_ordered_for_one_name_is_refused_with_two() -> None:
    ingress = {"host": "chat.example.org", "tls": ACME}
    (found,) = problems({"host": "grafana.example.org"}, ingress)
    assert found.startswith("observability.grafana.host: `grafana.example.org`; the certificate that is ordered")
    assert problems({"host": "grafana.example.org", "enabled": False}, ingress) == []


def test_a_log_in_service_needs_its_secret() -> None:
    with_oidc = Grafana(oidc=OIDC)
    (line,) = missing("qwen3-vl", {"redisPassword"}, WebUi(), Tls(), grafana=with_oidc)
    assert line == (
        "qwen3-vl:grafanaOidcSecret: missing; the log-in service asks Grafana for it (`observability.grafana.oidc`)."
        " Run: pulumi config set --secret grafanaOidcSecret VALUE"
    )
    off = with_oidc.model_copy(update={"enabled": False})
    for grafana, present in ((off, set()), (Grafana(), set()), (with_oidc, {"grafanaOidcSecret"})):
        assert missing("qwen3-vl", {"redisPassword", *present}, WebUi(), Tls(), grafana=grafana) == []


@pytest.mark.parametrize(("kind", "secure"), [(TlsKind.PRIVATE_CA, "true"), (TlsKind.NONE, "false")])
def test_cookies_go_by_https_only_where_there_is_https(kind: TlsKind, secure: str) -> None:
    text = ini(Shown(grafana=Grafana(host=HOST), tls=Tls(kind=kind)))
    assert f"cookie_secure = {secure}\n" in text
    assert ("strict_transport_security = true\n" in text) is (secure == "true")


def test_whoever_the_service_lets_in_may_look_and_not_change() -> None:
    text = ini(Shown(grafana=Grafana(oidc=OIDC), tls=Tls()))
    assert "scopes = openid profile email\n" in text
    assert "auto_assign_org_role = Viewer\n" in text
    assert "role_attribute_path" not in text
    assert "allowed_groups" not in text


def test_each_file_has_a_key_of_its_own() -> None:
    found = files(Shown(grafana=Grafana(), tls=Tls()), ())
    assert len({key_of(path) for path in found}) == len(found)
