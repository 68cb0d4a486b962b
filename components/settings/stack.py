"""The stack config as the engine gives it to the program. The only module of the settings that knows Pulumi."""

from __future__ import annotations

import datetime
import json
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as runtime

from components.settings import Settings, certificate
from components.settings.checks.firewall import OPERATORS
from components.settings.explain import unknown_key
from components.settings.known import SECRETS
from components.settings.parse import parse
from components.settings.problem import Problem, SettingsError

PROJECT = Path(__file__).resolve().parents[2]


def load(config: pulumi.Config) -> Settings:
    """Read and check every plain key of the config's namespace.

    Raises pulumi.RunError, which ends the program with its text and no traceback, naming all problems at once.
    """
    mapping, problems = _plain_values(config)
    try:
        settings = parse(mapping)
        problems += [
            *_unreadable_keys(settings),
            *_certificate(settings),
            *_acme_authority(settings),
            *_recipient(settings),
            *_locked_out(settings),
        ]
    except SettingsError as error:
        # A key that is secret was left out above; that it is missing is then not the user's mistake.
        named = {problem.path for problem in problems}
        problems += [problem for problem in error.problems if problem.path not in named]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise pulumi.RunError(f"Pulumi.{pulumi.get_stack()}.yaml: {count} below `{config.name}:`\n{lines}")
    return settings


def _plain_values(config: pulumi.Config) -> tuple[dict[str, Any], list[Problem]]:
    """The values by key without the namespace, and what is wrong with their being plain or secret."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    known = {str(field.alias) for field in Settings.model_fields.values()}
    prefix = f"{config.name}:"
    for full_key in sorted(runtime.CONFIG.get() | runtime.get_config_env()):
        key = full_key.removeprefix(prefix)
        if key == full_key:
            continue
        secret = runtime.is_config_secret(full_key) or full_key in runtime.get_config_secret_keys_env()
        if key in SECRETS:
            if not secret:
                remedy = f"Run `pulumi config set --secret {key}` and change the credential: it was in clear"
                problems.append(Problem(key, "stored in clear", "it is a secret", remedy))
        elif key not in known:
            problems.append(unknown_key((key,), key))
        elif secret:
            rule = f"plain settings hold no secrets; the secret keys are {', '.join(SECRETS)}"
            problems.append(Problem(key, "a `secure:` value", rule, "Write it in clear or move the secret to its key"))
        else:
            values[key] = _decoded(config.require(key))
    return values, problems


def _decoded(text: str) -> Any:
    """Structured values arrive as JSON, plain ones as they are."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unreadable_keys(settings: Settings) -> Iterator[Problem]:
    """The key files are read by the hosts layer; that they are there is said here, with everything else."""
    for name, mirror in (("os", settings.mirrors.os), ("kubernetes", settings.mirrors.kubernetes)):
        if mirror is None or mirror.key_file is None:
            continue
        if not os.access(PROJECT / Path(mirror.key_file).expanduser(), os.R_OK):
            rule, remedy = "the key is read on this machine", "Correct the path or fetch the key"
            yield _unreadable(f"mirrors.{name}.keyFile", mirror.key_file, rule, remedy)


def _unreadable(path: str, file: str, rule: str, remedy: str = "Correct the path or put the file there") -> Problem:
    return Problem(path, f"no readable file `{file}`", rule, remedy)


def _certificate(settings: Settings) -> Iterator[Problem]:
    """The gateway's own certificate; whether its key fits is seen with the secrets (components/credentials.py)."""
    file = settings.ingress.tls.certificate_file
    if file is None:
        return
    try:
        pem = certificate.read(file)
    except OSError:
        yield _unreadable(certificate.PATH, file, "the certificate is read on this machine")
        return
    found = list(certificate.problems(pem, settings.ingress.host, datetime.datetime.now(datetime.UTC)))
    yield from found
    grafana = settings.observability.grafana
    if not found and grafana.enabled and grafana.host and not certificate.is_for(pem, grafana.host):
        rule = f"the gateway's certificate ({certificate.PATH}) is for that name too"
        remedy = "Order one for both names, or remove it and use `kubectl port-forward`"
        yield Problem("observability.grafana.host", f"`{grafana.host}`", rule, remedy)


def _acme_authority(settings: Settings) -> Iterator[Problem]:
    """Whom the issuer is to believe about a server of the user's own."""
    acme = settings.ingress.tls.acme
    if acme is None or acme.ca_file is None:
        return
    path = "ingress.tls.acme.caFile"
    try:
        certificate.certificates(certificate.read(acme.ca_file))
    except OSError:
        yield _unreadable(path, acme.ca_file, "it is read on this machine")
    except ValueError:
        found, rule = "no certificate that can be read", "it holds certificates in PEM"
        yield Problem(path, found, rule, "Convert it with `openssl x509 -outform PEM`")


def _recipient(settings: Settings) -> Iterator[Problem]:
    """Whom backups are encrypted for, where it is not a key of the program's own."""
    file = settings.kubernetes.backup.recipient_file
    if file is None:
        return
    try:
        pem = certificate.read(file)
    except OSError:
        yield _unreadable(certificate.RECIPIENT, file, "the certificate is read on this machine")
        return
    yield from certificate.recipient_problems(pem)


def _locked_out(settings: Settings) -> Iterator[Problem]:
    """This machine, where it is known how nodes see it: in their own network nothing translates addresses on the way."""
    networks = settings.firewall.operator_networks
    if not settings.firewall.enabled or not networks or settings.ssh.jump is not None:
        return
    for node in settings.nodes:
        address = _address_towards(node.address)
        near = address is not None and any(address in network for network in settings.node_networks)
        if address is not None and near and not any(address in network for network in networks):
            found = f"{address}, this machine's address towards `{node.name}`, lies in none of them"
            yield Problem(OPERATORS, found, "nobody else may use SSH and the API", f"Add `{address}/32`")
            return


def _address_towards(target: IPv4Address) -> IPv4Address | None:
    """The address this machine would send from; nothing is sent. None without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(target), 9))
        except OSError:
            return None
        return IPv4Address(sock.getsockname()[0])
