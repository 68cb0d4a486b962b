"""The secret part of the stack config. Kept apart from Settings, so that no plain value ever carries a secret."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pulumi
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from components import alert_secrets
from components.alert_secrets import AlertSecrets
from components.settings import certificate
from components.settings.acme import NEEDED, DnsProvider
from components.settings.alerting import Alerting
from components.settings.grafana import Grafana
from components.settings.known import SECRETS
from components.settings.logs import Logs
from components.settings.syntax import KEY_NAME
from components.settings.tls import Tls, TlsKind
from components.settings.webui import LoginKind, WebUi

# Redis takes any password; this one also travels through a configuration file, so it has to be one line.
MIN_REDIS_PASSWORD = 12
# 96 bits as hexadecimal digits: such a key cannot be found by trying, so a plain digest of it may lie in the cluster.
MIN_KEY = 24
KEY = re.compile(rf"[!-~]{{{MIN_KEY},512}}")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,80}")
BASE64URL = re.compile(r"[A-Za-z0-9_-]{16,512}={0,2}")
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
HASH = re.compile(r"\$scrypt\$n=\d{1,6},r=\d{1,2},p=\d\$[A-Za-z0-9_-]{22,64}\$[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Secret outputs; the engine keeps them encrypted in state and hides them in every message."""

    redis_password: pulumi.Output[str]
    redis_password_previous: pulumi.Output[str] | None = None  # taken as well until it is removed
    ssh_private_key: pulumi.Output[str] | None = None  # absent: `ssh.privateKeyFile` or the SSH agent
    model_store: pulumi.Output[str] | None = None  # absent: the source of the models is public, or an export
    api_keys: pulumi.Output[dict[str, str]] | None = (
        None  # name -> SHA-256; absent: `/v1` is closed unless it is open to all
    )
    webui_users: pulumi.Output[dict[str, str]] | None = None  # name -> scrypt hash
    gateway_token: pulumi.Output[str] | None = None
    gateway_token_previous: pulumi.Output[str] | None = None  # shown and taken as well until it is removed
    ingress_key: pulumi.Output[str] | None = None  # of `ingress.tls.certificateFile`
    acme_dns: pulumi.Output[dict[str, str]] | None = None  # variable -> value, of `ingress.tls.acme.dnsProvider`
    logs_s3: tuple[pulumi.Output[str], pulumi.Output[str]] | None = None  # access key and secret key
    acme_eab_key: pulumi.Output[str] | None = None  # of `ingress.tls.acme.externalAccount`
    remote_write: pulumi.Output[str] | None = None  # bearer token of `observability.prometheus.remoteWrite`
    grafana_admin_password: pulumi.Output[str] | None = None  # absent: the program makes one
    grafana_oidc_secret: pulumi.Output[str] | None = None  # of `observability.grafana.oidc`
    alerts: AlertSecrets = field(default_factory=AlertSecrets)

    @staticmethod
    def read(
        config: pulumi.Config,
        webui: WebUi,
        tls: Tls,
        alerting: Alerting = Alerting(),  # noqa: B008  frozen
        grafana: Grafana | None = None,
        logs: Logs = Logs(),  # noqa: B008  frozen
    ) -> Credentials:
        """Reads the secrets from the stack config. Raises pulumi.RunError naming each that is missing or unusable."""
        name = config.name
        found = {key: config.get_secret(key) for key in SECRETS}
        present = {key for key, value in found.items() if value is not None}
        problems = missing(name, present=present, webui=webui, tls=tls, alerting=alerting, grafana=grafana, logs=logs)
        password, api_keys, users, token, ingress_key = (
            found[key] for key in ("redisPassword", "apiKeys", "webuiUsers", "gatewayToken", "ingressKey")
        )
        password_before, token_before = found["redisPasswordPrevious"], found["gatewayTokenPrevious"]
        file, provider = tls.certificate_file, tls.acme.dns_provider if tls.acme else None
        acme_dns, acme_eab_key = found["acmeDns"], found["acmeEabKey"]
        logs_access, logs_secret = found["logsS3AccessKey"], found["logsS3SecretKey"]
        grafana_password = found["grafanaAdminPassword"]
        if problems or password is None:
            raise pulumi.RunError("\n".join(problems))
        return Credentials(
            redis_password=password.apply(lambda text: checked_redis_password(name, text)),
            redis_password_previous=(
                password_before.apply(lambda text: checked_redis_password(name, text, "redisPasswordPrevious"))
                if password_before
                else None
            ),
            ssh_private_key=found["sshPrivateKey"],
            remote_write=found["remoteWriteCredential"],
            model_store=found["modelStoreCredential"],
            api_keys=api_keys.apply(lambda text: key_digests(name, text, webui.api.keys)) if api_keys else None,
            webui_users=users.apply(lambda text: checked_users(name, text)) if users else None,
            gateway_token=token.apply(lambda text: checked_token(name, text)) if token else None,
            gateway_token_previous=(
                token_before.apply(lambda text: checked_token(name, text, "gatewayTokenPrevious"))
                if token_before
                else None
            ),
            ingress_key=(
                ingress_key.apply(lambda text: checked_ingress_key(name, text, certificate.read(file)))
                if ingress_key and file
                else None
            ),
            acme_dns=acme_dns.apply(lambda text: checked_dns(name, text, provider)) if acme_dns and provider else None,
            logs_s3=(logs_access, logs_secret) if logs_access and logs_secret else None,
            alerts=alerts_of(name, found, alerting),
            acme_eab_key=(
                acme_eab_key.apply(lambda text: checked_eab_key(name, text))
                if acme_eab_key and tls.acme and tls.acme.external_account
                else None
            ),
            grafana_admin_password=(
                grafana_password.apply(lambda text: checked_redis_password(name, text, "grafanaAdminPassword"))
                if grafana_password
                else None
            ),
            grafana_oidc_secret=found["grafanaOidcSecret"],
        )


def alerts_of(project: str, found: Mapping[str, pulumi.Output[str] | None], alerting: Alerting) -> AlertSecrets:
    """What nobody needs is not read: a value that waits for its receiver is no mistake while nobody is told."""
    urls, signing = found["alertUrls"], found["alertSigningSecrets"]
    password, heartbeat = found["alertSmtpPassword"], found["alertHeartbeatUrl"]
    said = alert_secrets
    return AlertSecrets(
        urls=(
            urls.apply(lambda text: said.checked_urls(project, _mapping(project, "alertUrls", text), alerting))
            if urls and alerting.on and alerting.with_url
            else None
        ),
        signing=(
            signing.apply(
                lambda text: said.checked_signing(project, _mapping(project, "alertSigningSecrets", text), alerting)
            )
            if signing and alerting.on and alerting.relayed
            else None
        ),
        smtp_password=(
            password.apply(lambda text: said.checked_smtp_password(project, text))
            if password and alerting.on and alerting.with_login
            else None
        ),
        heartbeat_url=(
            heartbeat.apply(lambda text: said.checked_url(project, "alertHeartbeatUrl", text))
            if heartbeat and alerting.on and alerting.heartbeat
            else None
        ),
    )


def missing(
    project: str,
    present: set[str],
    webui: WebUi,
    tls: Tls,
    alerting: Alerting = Alerting(),  # noqa: B008  frozen
    grafana: Grafana | None = None,
    logs: Logs = Logs(),  # noqa: B008  frozen
) -> list[str]:
    """One line for each required secret that is not in `present`."""
    generate = "VALUE (or let `openssl rand -hex 24` choose)"
    required = {"redisPassword": ("Redis is never left open", f"redisPassword {generate}")}
    if webui.login.kind is LoginKind.PASSWORD:
        said = '--path \'webuiUsers["NAME"]\' "$(tools/webui-user hash)"'
        required["webuiUsers"] = ("without a user nobody can log in (`webui.login.kind: password`)", said)
    if webui.login.kind is LoginKind.FORWARD_AUTH:
        why = "Traefik shows it to the web UI (`webui.login.kind: forwardAuth`)"
        required["gatewayToken"] = (why, f"gatewayToken {generate}")
    if webui.api.keys:
        said = f"--path 'apiKeys.{min(webui.api.keys)}' {generate}"
        required["apiKeys"] = ("`webui.api.keys` sets limits of keys that are not there", said)
    if tls.kind is TlsKind.CERTIFICATE:
        why = "a certificate serves nobody without its key (`ingress.tls.kind: certificate`)"
        required["ingressKey"] = (why, "ingressKey < KEY.pem")
    if tls.acme is not None and tls.acme.dns_provider is not None:
        why = "the record cannot be set without the provider's settings (`ingress.tls.acme.dnsProvider`)"
        required["acmeDns"] = (why, f"--path acmeDns.{NEEDED[tls.acme.dns_provider][0]} VALUE")
    if tls.acme is not None and tls.acme.external_account is not None:
        required["acmeEabKey"] = (
            "an external account has a key (`ingress.tls.acme.externalAccount`)",
            "acmeEabKey KEY",
        )
    if logs.enabled and logs.storage.kind == "s3":
        for key in ("logsS3AccessKey", "logsS3SecretKey"):
            required[key] = ("Loki keeps its chunks there (`observability.logs.storage.kind: s3`)", f"{key} VALUE")
    if grafana is not None and grafana.enabled and grafana.oidc is not None:
        why = "the log-in service asks Grafana for it (`observability.grafana.oidc`)"
        required["grafanaOidcSecret"] = (why, "grafanaOidcSecret VALUE")
    required |= alert_secrets.needed(alerting)
    return [
        f"{project}:{key}: missing; {why}. Run: pulumi config set --secret {command}"
        for key, (why, command) in required.items()
        if key not in present
    ]


def checked_redis_password(project: str, text: str, key: str = "redisPassword") -> str:
    """The password itself. Raises pulumi.RunError, without showing it, if it is too short or not one printable line."""
    if len(text) < MIN_REDIS_PASSWORD or not text.isprintable() or text != text.strip():
        raise pulumi.RunError(
            f"{project}:{key}: not usable; it must be one printable line of {MIN_REDIS_PASSWORD} characters or more,"
            f" without spaces at its ends. Run: pulumi config set --secret {key} VALUE"
        )
    return text


def checked_token(project: str, text: str, key: str = "gatewayToken") -> str:
    """The gateway's token. Raises pulumi.RunError, without showing it, if it cannot be a header's value or can be guessed."""
    if not KEY.fullmatch(text):
        raise pulumi.RunError(
            f"{project}:{key}: not usable; it must be {MIN_KEY} or more printable ASCII characters without spaces."
            f' Run: pulumi config set --secret {key} "$(openssl rand -hex 24)"'
        )
    return text


def checked_ingress_key(project: str, text: str, chain: bytes) -> str:
    """The key itself. Raises pulumi.RunError, without showing it, if it is not that of the first certificate in `chain` (PEM)."""
    pem = text.strip().encode() + b"\n"
    found, remedy = "", "pulumi config set --secret ingressKey < KEY.pem"
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        found = "it has a password, which Traefik cannot be told"
        remedy = "openssl pkey -in KEY.pem | pulumi config set --secret ingressKey"
    except (ValueError, UnsupportedAlgorithm):
        found = "it cannot be read; a private key in PEM is wanted"
    else:
        if key.public_key() != certificate.certificates(chain)[0].public_key():
            found = "it is not the key of the first certificate in ingress.tls.certificateFile"
    if found:
        raise pulumi.RunError(f"{project}:ingressKey: not usable; {found}. Run: {remedy}")
    return pem.decode()


def checked_dns(project: str, text: str, provider: DnsProvider) -> dict[str, str]:
    """Variable -> value. Raises pulumi.RunError, which shows no value."""
    found = _mapping(project, "acmeDns", text)
    problems = [
        f"{project}:acmeDns: `{name}`; a name is one of lego's variables, capitals, digits and underscores. Rename it"
        for name in sorted(found)
        if not VARIABLE.fullmatch(name)
    ]
    problems += [
        f"{project}:acmeDns.{name}: missing; `dnsProvider: {provider}` needs it."
        f" Run: pulumi config set --secret --path acmeDns.{name} VALUE"
        for name in NEEDED[provider]
        if not found.get(name)
    ]
    if problems:
        raise pulumi.RunError("\n".join(problems))
    return found


def checked_eab_key(project: str, text: str) -> str:
    """The key as it is. Raises pulumi.RunError, without showing it, if it is not base64url."""
    if not BASE64URL.fullmatch(text.strip()):
        raise pulumi.RunError(
            f"{project}:acmeEabKey: not usable; it is base64url, letters, digits, - and _, as the server gave it."
            " Run: pulumi config set --secret acmeEabKey KEY"
        )
    return text.strip()


def key_digests(project: str, text: str, limited: Collection[str]) -> dict[str, str]:
    """Name -> SHA-256 of the key: all that leaves the operator's machine. Raises pulumi.RunError, which shows no key."""
    keys = _mapping(project, "apiKeys", text)
    problems = [
        f"{project}:apiKeys: name `{name}`; a name is up to 40 lower-case letters, digits and inner hyphens. Rename it"
        for name in keys
        if not KEY_NAME.fullmatch(name)
    ]
    problems += [
        f"{project}:apiKeys.{name}: not usable; a key is {MIN_KEY} or more printable ASCII characters without spaces."
        f" Run: pulumi config set --secret --path 'apiKeys.{name}' \"$(openssl rand -hex 24)\""
        for name, key in keys.items()
        if KEY_NAME.fullmatch(name) and not KEY.fullmatch(key)
    ]
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}
    if len(set(digests.values())) < len(digests):
        problems.append(f"{project}:apiKeys: two names with one key; a key is one name's. Give each its own")
    problems += [
        f"{project}:webui.api.keys.{name}: no such key in apiKeys; limits belong to a key. Add it or remove them"
        for name in sorted(limited)
        if name not in keys
    ]
    if problems:
        raise pulumi.RunError("\n".join(problems))
    return digests


def checked_users(project: str, text: str) -> dict[str, str]:
    """Name -> hash. Raises pulumi.RunError, which shows no hash."""
    users = _mapping(project, "webuiUsers", text)
    problems = [
        f"{project}:webuiUsers: name `{name}`; a name is up to 100 letters, digits and . _ @ + -. Rename it"
        for name in users
        if not USER.fullmatch(name)
    ]
    problems += [
        f'{project}:webuiUsers["{name}"]: not a password hash; passwords are not kept in clear. '
        f'Run: pulumi config set --secret --path \'webuiUsers["{name}"]\' "$(tools/webui-user hash)"'
        for name, stored in users.items()
        if USER.fullmatch(name) and not HASH.fullmatch(stored)
    ]
    if problems or not users:
        raise pulumi.RunError("\n".join(problems) or f"{project}:webuiUsers: empty; nobody could log in. Add a user")
    return users


def _mapping(project: str, key: str, text: str) -> dict[str, str]:
    """A secret of several values, as `config set --path` stores it."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
        raise pulumi.RunError(
            f"{project}:{key}: not a mapping of names to texts; it holds one value for each name."
            f" Run: pulumi config rm {key}; pulumi config set --secret --path '{key}[\"NAME\"]' VALUE"
        )
    return dict(found)
