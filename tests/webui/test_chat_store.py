"""Histories in a real Redis: replicas writing at once, outages, a primary that changed, a password that changed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from chat_webui.conversation import Conversation, Turn, TurnState
from chat_webui.history import Bounds, History
from chat_webui.history_store import RETRY_AFTER, HistoryStore, connect
from chat_webui.settings import parse_settings

from tests.support.chat_processes import Redis

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")

BOUNDS = Bounds(turns=500, bytes=1024 * 1024)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


def cli(redis: Redis, *words: str) -> str:
    command = ["redis-cli", "-p", str(redis.port), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def with_store(redis: Redis, use: Callable[[HistoryStore], Awaitable[None]], **env: str) -> int:
    """Runs `use` with a store on that Redis; tells how many accesses failed."""
    errors: list[None] = []

    async def run() -> None:
        settings = parse_settings([], {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port), **env})
        store = HistoryStore(connect(settings), 3600, BOUNDS, lambda: errors.append(None))
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(run())
    return len(errors)


def turn(name: str, asked_at: float | None = None) -> Turn:
    return Turn(name, asked_at or time.time(), f"question {name}", (), "answer", TurnState.DONE)


def adding(name: str, conversation: str = "c") -> Callable[[History], History]:
    return lambda history: history.with_turn(Conversation(conversation), turn(name))


def names(history: History) -> list[str]:
    return [kept.id for conversation in history.conversations for kept in conversation.turns]


def test_replicas_that_write_at_once_lose_nothing(redis: Redis) -> None:
    async def use(one: HistoryStore) -> None:
        settings = parse_settings([], {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port)})
        two = HistoryStore(connect(settings), 3600, BOUNDS, lambda: None)
        for number in range(30):
            await asyncio.gather(one.change("user", adding(f"one{number}")), two.change("user", adding(f"two{number}")))
        loaded = await two.load("user")
        assert loaded.saved
        assert sorted(names(loaded.history)) == sorted(f"{who}{n}" for who in ("one", "two") for n in range(30))
        await two.close()

    assert with_store(redis, use) == 0


def test_the_key_expires_and_each_use_renews_it(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        await store.change("user", adding("a"))
        assert 3599 <= int(cli(redis, "TTL", "chat:user")) <= 3600
        cli(redis, "EXPIRE", "chat:user", "5")
        await store.load("user")
        assert int(cli(redis, "TTL", "chat:user")) >= 3599

    assert with_store(redis, use) == 0


def test_an_outage_costs_one_wait_and_what_was_said_is_saved_afterwards(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        await store.change("user", adding("before"))
        redis.signal(signal.SIGSTOP)  # answers nothing, as behind a cut network
        started = time.monotonic()
        during = await store.change("user", adding("during"))
        assert time.monotonic() - started < 4
        assert not during.saved
        assert names(during.history) == ["before", "during"]
        started = time.monotonic()
        assert names((await store.load("user")).history) == ["before", "during"]
        assert time.monotonic() - started < 0.1, "no second wait"
        redis.signal(signal.SIGCONT)
        await asyncio.sleep(RETRY_AFTER)
        after = await store.load("user")
        assert after.saved
        assert names(after.history) == ["before", "during"]
        assert "during" in cli(redis, "GET", "chat:user")

    assert with_store(redis, use) >= 1


def test_what_was_said_in_an_outage_is_there_for_other_replicas_before_its_user_comes_back(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        redis.signal(signal.SIGSTOP)
        for user in ("one", "two"):
            assert not (await store.change(user, adding("during"))).saved
        redis.signal(signal.SIGCONT)
        await store.answers()
        assert "during" in cli(redis, "GET", "chat:one")
        assert "during" in cli(redis, "GET", "chat:two")

    assert with_store(redis, use) >= 1


def test_what_was_deleted_and_asked_during_an_outage_holds_afterwards(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        await store.change("user", adding("old", "one"))
        await store.change("user", adding("kept", "two"))
        redis.signal(signal.SIGSTOP)
        assert not (await store.change("user", lambda history: history.without("one"))).saved
        assert names((await store.change("user", adding("new", "three"))).history) == ["kept", "new"]
        redis.signal(signal.SIGCONT)
        await asyncio.sleep(RETRY_AFTER)
        assert names((await store.load("user")).history) == ["kept", "new"]
        assert "question old" not in cli(redis, "GET", "chat:user")

    with_store(redis, use)


def test_an_answer_of_another_replica_does_not_bring_a_deleted_conversation_back(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        await store.change("user", adding("asked"))
        await store.change("user", lambda history: history.without("c"))
        settings = parse_settings([], {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port)})
        other = HistoryStore(connect(settings), 3600, BOUNDS, lambda: None)
        assert names((await other.change("user", adding("asked"))).history) == []
        await other.close()

    assert with_store(redis, use) == 0


def test_a_history_that_redis_lost_comes_back_with_the_answer(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        known = await store.change("user", adding("asked"))
        cli(redis, "FLUSHALL")
        conversation = known.history.conversations[0]
        answered = await store.change("user", lambda history: history.with_turn(conversation, turn("asked")))
        assert names(answered.history) == ["asked"]

    assert with_store(redis, use) == 0


def test_a_primary_that_became_a_replica_counts_as_an_outage_until_writes_work(redis: Redis) -> None:
    async def use(store: HistoryStore) -> None:
        await store.change("user", adding("a"))
        cli(redis, "REPLICAOF", "127.0.0.1", "1")
        assert not (await store.change("user", adding("b"))).saved
        cli(redis, "REPLICAOF", "NO", "ONE")
        await asyncio.sleep(RETRY_AFTER)
        loaded = await store.load("user")
        assert loaded.saved
        assert names(loaded.history) == ["a", "b"]

    with_store(redis, use)


def test_a_rotated_password_needs_no_restart(redis: Redis, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    cli(redis, "CONFIG", "SET", "requirepass", "one")

    async def use(store: HistoryStore) -> None:
        assert (await store.change("user", adding("a"))).saved
        file.write_text("two")
        rotate = [("CONFIG", "SET", "requirepass", "two"), ("CLIENT", "KILL", "TYPE", "normal")]
        for words in rotate:
            command = ["redis-cli", "-p", str(redis.port), "--no-auth-warning", "-a", "one", *words]
            if words[0] == "CLIENT":
                command[command.index("one")] = "two"
            subprocess.run(command, check=True, capture_output=True)
        loaded = await store.load("user")
        assert loaded.saved
        assert names(loaded.history) == ["a"]

    assert with_store(redis, use, REDIS_PASSWORD_FILE=str(file)) == 0


def test_what_is_not_a_history_is_replaced_without_a_crash(redis: Redis) -> None:
    cli(redis, "SET", "chat:user", "not json")

    async def use(store: HistoryStore) -> None:
        assert names((await store.load("user")).history) == []
        assert names((await store.change("user", adding("new"))).history) == ["new"]

    assert with_store(redis, use) == 0


def test_a_value_of_another_type_is_an_error_that_stays_here(redis: Redis) -> None:
    cli(redis, "LPUSH", "chat:user", "x")

    async def use(store: HistoryStore) -> None:
        changed = await store.change("user", adding("new"))
        assert names(changed.history) == ["new"]
        assert not changed.saved

    assert with_store(redis, use) >= 1
