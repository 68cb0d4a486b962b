"""The manual's command line, the environment, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_webui.settings import RedisGate, SettingsError, parse_settings


def test_the_manuals_command_lines() -> None:
    plain = parse_settings(["--model", "Qwen/Qwen3-VL-4B-Instruct", "--device", "cuda"], {})
    assert (plain.model, plain.device, plain.port) == ("Qwen/Qwen3-VL-4B-Instruct", "cuda", 7860)
    tuned = parse_settings(["--model", "Qwen/Qwen3-VL-4B-Instruct", "--fp16", "--use-flash-attn"], {})
    assert (tuned.dtype, tuned.use_flash_attn) == ("fp16", True)


def test_defaults_are_the_manuals_addresses() -> None:
    settings = parse_settings([], {})
    assert (settings.redis_host, settings.redis_port) == ("redis.default.svc.cluster.local", 6379)
    assert settings.history_ttl == 3600
    assert settings.engine_url == "http://127.0.0.1:8000"
    assert settings.redis_gate is RedisGate.START


def test_environment() -> None:
    env = {
        "MODEL_PATH": "/models/Qwen3-VL-4B-Instruct",
        "ENGINE_URL": "http://10.0.0.1:9000/",
        "REDIS_HOST": "r",
        "REDIS_PORT": "6380",
    }
    settings = parse_settings([], env)
    assert settings.model_path == "/models/Qwen3-VL-4B-Instruct"
    assert settings.engine_url == "http://10.0.0.1:9000"
    assert (settings.redis_host, settings.redis_port) == ("r", 6380)


def test_the_port_kubernetes_puts_beside_a_service_called_redis() -> None:
    assert parse_settings([], {"REDIS_PORT": "tcp://10.96.0.7:6381"}).redis_port == 6381


def test_redis_url() -> None:
    settings = parse_settings(["--redis-url", "redis://cache:6390/2"], {"REDIS_HOST": "other"})
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("cache", 6390, 2)


def test_the_password_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    settings = parse_settings([], {"REDIS_PASSWORD_FILE": str(file), "REDIS_PASSWORD": "ignored"})
    assert settings.current_redis_password() == "one"
    file.write_text("two\n")
    assert settings.current_redis_password() == "two"
    file.unlink()
    with pytest.raises(SettingsError, match="REDIS_PASSWORD_FILE"):
        settings.current_redis_password()


@pytest.mark.parametrize(
    ("arguments", "env", "named"),
    [
        (["--redis-url", "redis://:hunter2@cache:6379"], {}, "--redis-url: contains a password"),
        (["--redis-url", "cache:6379"], {}, "--redis-url"),
        (["--engine-url", "127.0.0.1:8000"], {}, "--engine-url"),
        (["--max-chats", "0"], {}, "--max-chats"),
        ([], {"REDIS_PORT": "6379/tcp"}, "REDIS_PORT"),
        ([], {"REDIS_PORT": "0"}, "REDIS_PORT"),
    ],
)
def test_what_cannot_work_is_refused_by_name(arguments: list[str], env: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(arguments, env)
    assert str(refused.value).startswith(named)
    assert "hunter2" not in str(refused.value)


def test_both_precisions_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--fp16", "--bf16"], {})
    assert "not allowed with" in capsys.readouterr().err
