"""Command line and environment of the web UI, as one frozen object.

The command line is the one of the manual (`python webui.py --model Qwen/Qwen3-VL-4B-Instruct --device cuda`). The model
runs in the engine's container of the same pod, so `--device`, `--fp16`, `--bf16` and `--use-flash-attn` change nothing
here: they are accepted so that the manual's command works, and shown in the start-up log line.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

MIB = 1024 * 1024


class RedisGate(StrEnum):
    """What Redis has to do with `/ready`."""

    ALWAYS = "always"
    """Not ready whenever Redis is lost: an outage of Redis then takes every replica out of the load balancer."""
    START = "start"
    """Not ready until Redis answered once (a wrong password stops a roll-out); a later outage only costs the history."""
    NEVER = "never"


class LoginKind(StrEnum):
    """Who may use the page."""

    NONE = "none"
    """Everybody; each browser has a history of its own."""
    PASSWORD = "password"  # noqa: S105
    """The users of `--users-file`."""
    FORWARD_AUTH = "forward-auth"
    """Whom the gateway's authentication service lets through."""


class SettingsError(Exception):
    """A setting that cannot work; the text says which one, what was found and what to do."""


@dataclass(frozen=True)
class Settings:
    """Everything the web UI needs to know. Sizes in bytes, times in seconds."""

    model: str
    model_path: str
    device: str
    dtype: str
    use_flash_attn: bool
    host: str
    port: int
    engine_url: str
    redis_host: str
    redis_port: int
    redis_db: int
    redis_password: str
    redis_password_file: Path | None
    redis_gate: RedisGate
    history_ttl: int = 3600
    max_new_tokens: int = 1024
    max_images: int = 4
    max_pixels: int = 1024 * 1024
    max_question_chars: int = 16_000
    max_upload: int = 10 * MIB
    max_body: int = 32 * MIB
    upload_quota: int = 256 * MIB
    max_chats: int = 64
    max_api_requests: int = 512
    drain_delay: float = 5.0
    drain_timeout: float = 60.0
    login: LoginKind = LoginKind.NONE
    users_file: Path | None = None
    session_seconds: int = 12 * 3600
    user_header: str = "X-Auth-Request-User"
    gateway_token_file: Path | None = None
    logout_url: str = ""
    otlp_traces_endpoint: str = ""
    """Absent: no request is followed."""
    api_keys_file: Path | None = None
    """Absent: `/v1` is open to everybody who reaches the port."""

    def current_redis_password(self) -> str:
        """The password as it is now: a mounted secret may change while the process runs."""
        if self.redis_password_file is not None:
            try:
                return self.redis_password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(
                    f"REDIS_PASSWORD_FILE: {self.redis_password_file} cannot be read ({error.strerror}); "
                    "the file must exist and be readable by the web UI. Mount the secret or unset the variable"
                ) from error
        return self.redis_password


def port_number(name: str, text: str) -> int:
    """A TCP port from an environment variable.

    Kubernetes sets `REDIS_PORT=tcp://10.96.0.7:6379` in every pod beside a Service called `redis`, so that form is read
    too.
    """
    found = text
    if "://" in text:
        found = str(urlsplit(text).port or "")
    if not found.isdecimal() or not 0 < int(found) < 65536:
        raise SettingsError(f"{name}: {text!r}; a port is a number from 1 to 65535. Set it to one, such as 6379")
    return int(found)


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="webui.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    say = parser.add_argument
    say("--model", default="Qwen/Qwen3-VL-4B-Instruct", help="name of the model at the engine")
    say(
        "--device",
        default="cuda",
        choices=["cuda", "cpu", "auto"],
        help="concerns the engine; accepted, no effect here",
    )
    dtype = parser.add_mutually_exclusive_group()
    dtype.add_argument("--fp16", action="store_true", help="concerns the engine; accepted, no effect here")
    dtype.add_argument("--bf16", action="store_true", help="concerns the engine; accepted, no effect here")
    say("--use-flash-attn", action="store_true", help="concerns the engine; accepted, no effect here")
    say("--host", default="0.0.0.0", help="address to listen on (default %(default)s)")  # noqa: S104
    say("--port", type=int, default=7860, help="port to listen on (default %(default)s)")
    say("--engine-url", default=env.get("ENGINE_URL", "http://127.0.0.1:8000"), help="the engine (env ENGINE_URL)")
    say(
        "--redis-url",
        default=env.get("REDIS_URL", ""),
        help="redis://HOST:PORT/DB, in place of REDIS_HOST and REDIS_PORT",
    )
    say(
        "--redis-gate",
        default=env.get("REDIS_GATE", RedisGate.START),
        choices=[gate.value for gate in RedisGate],
        help="what Redis has to do with /ready (default %(default)s, env REDIS_GATE)",
    )
    say("--history-ttl", type=int, default=Settings.history_ttl, help="seconds a chat is kept after its last use")
    say("--max-new-tokens", type=int, default=Settings.max_new_tokens, help="longest answer, in tokens")
    say("--max-images", type=int, default=Settings.max_images, help="images in one message")
    say("--max-pixels", type=int, default=Settings.max_pixels, help="larger images are scaled down to this many pixels")
    say("--max-body", type=int, default=Settings.max_body, help="largest request body, in bytes")
    say("--max-chats", type=int, default=Settings.max_chats, help="answers this replica writes at the same time")
    say(
        "--max-api-requests", type=int, default=Settings.max_api_requests, help="/v1 requests in flight in this replica"
    )
    say(
        "--drain-delay",
        type=float,
        default=Settings.drain_delay,
        help="seconds to go on serving after SIGTERM, not ready",
    )
    say(
        "--drain-timeout",
        type=float,
        default=Settings.drain_timeout,
        help="seconds for requests in flight to finish then",
    )
    say(
        "--login",
        default=LoginKind.NONE,
        choices=[kind.value for kind in LoginKind],
        help="who may use the page (default %(default)s)",
    )
    say("--users-file", default="", help="JSON, name -> hash made by tools/webui-user; read anew when it changes")
    say(
        "--session-hours",
        type=int,
        default=Settings.session_seconds // 3600,
        help="hours until one has to log in again",
    )
    say("--user-header", default=Settings.user_header, help="header with the user's name, for --login forward-auth")
    say("--gateway-token-file", default="", help="SHA-256 of the token the gateway shows, for --login forward-auth")
    say("--logout-url", default="", help="where the authentication service logs a user out, for --login forward-auth")
    say("--otlp-traces-endpoint", default="", help="http://HOST:4318/v1/traces; spans go there; none: no spans")
    say("--api-keys-file", default="", help="JSON with the keys of /v1; read anew when it changes; none: /v1 is open")
    return parser


def parse_settings(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> Settings:
    """Reads command line and environment. Raises SettingsError; argparse itself exits on an unknown flag."""
    said = _parser(env).parse_args(arguments)
    host = env.get("REDIS_HOST", "redis.default.svc.cluster.local")
    port = port_number("REDIS_PORT", env.get("REDIS_PORT", "6379"))
    database = 0
    if said.redis_url:
        url = urlsplit(said.redis_url)
        if url.scheme != "redis" or not url.hostname:
            raise SettingsError(
                "--redis-url: not of the form redis://HOST:PORT/DB. Give host, port and database number"
            )
        if url.password or url.username:
            raise SettingsError(
                "--redis-url: contains a password; a command line is readable by every process of the machine. "
                "Give the password by REDIS_PASSWORD_FILE or REDIS_PASSWORD"
            )
        host, port = url.hostname, url.port or 6379
        database = int(url.path.strip("/") or 0)
    engine = urlsplit(said.engine_url)
    if engine.scheme not in ("http", "https") or not engine.hostname:
        raise SettingsError(
            f"--engine-url: {said.engine_url!r}; must be http://HOST:PORT. Correct the flag or ENGINE_URL"
        )
    traces = urlsplit(said.otlp_traces_endpoint)
    if said.otlp_traces_endpoint and (traces.scheme not in ("http", "https") or not traces.hostname):
        raise SettingsError(
            f"--otlp-traces-endpoint: {said.otlp_traces_endpoint!r}; must be http://HOST:PORT/v1/traces. Correct the flag"
        )
    for flag in (
        *("history_ttl", "max_new_tokens", "max_images", "max_pixels", "max_body", "max_chats", "max_api_requests"),
        "session_hours",
    ):
        if getattr(said, flag) < 1:
            raise SettingsError(
                f"--{flag.replace('_', '-')}: {getattr(said, flag)}; must be at least 1. Give a larger one"
            )
    for login, flag in ((LoginKind.PASSWORD, "users_file"), (LoginKind.FORWARD_AUTH, "gateway_token_file")):
        if said.login == login and not getattr(said, flag):
            raise SettingsError(f"--{flag.replace('_', '-')}: missing; --login {login} needs it. Name the file")
    password_file = env.get("REDIS_PASSWORD_FILE", "")
    return Settings(
        model=said.model,
        model_path=env.get("MODEL_PATH", ""),
        device=said.device,
        dtype="fp16" if said.fp16 else "bf16" if said.bf16 else "auto",
        use_flash_attn=said.use_flash_attn,
        host=said.host,
        port=said.port,
        engine_url=said.engine_url.rstrip("/"),
        redis_host=host,
        redis_port=port,
        redis_db=database,
        redis_password=env.get("REDIS_PASSWORD", ""),
        redis_password_file=Path(password_file) if password_file else None,
        redis_gate=RedisGate(said.redis_gate),
        history_ttl=said.history_ttl,
        max_new_tokens=said.max_new_tokens,
        max_images=said.max_images,
        max_pixels=said.max_pixels,
        max_body=said.max_body,
        max_chats=said.max_chats,
        max_api_requests=said.max_api_requests,
        drain_delay=said.drain_delay,
        drain_timeout=said.drain_timeout,
        login=LoginKind(said.login),
        users_file=_path(said.users_file),
        session_seconds=said.session_hours * 3600,
        user_header=said.user_header,
        gateway_token_file=_path(said.gateway_token_file),
        logout_url=said.logout_url,
        otlp_traces_endpoint=said.otlp_traces_endpoint,
        api_keys_file=_path(said.api_keys_file),
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None
