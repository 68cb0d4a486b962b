"""Five workers fill their caches at once from a real NFS server, which is stopped and killed meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cache_processes import (
    Agent,
    Ganesha,
    checkpoint,
    content,
    know_each_other,
    staged,
    wait_until,
)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def workers(tmp_path: Path, source: str, count: int, *flags: str, revision: str = "r1") -> list[Agent]:
    agents = [Agent(f"gpu-{n}", tmp_path / f"gpu-{n}", source, revision, flags) for n in range(1, count + 1)]
    know_each_other(agents)
    return agents


def all_complete(agents: list[Agent]) -> None:
    wait_until(lambda: all(agent.complete() for agent in agents), "complete", agents)


@pytest.mark.parametrize("waiting", ["20", "0"], ids=["having-met", "unacquainted"])
def test_five_workers_at_once_read_each_byte_from_the_source_at_most_twice(
    tmp_path: Path, running: ExitStack, waiting: str
) -> None:
    """Also where none waits for the others to be there: what another one is seen reading is left to it."""
    model = checkpoint(tmp_path / "export", "r1", shards=6, shard_bytes=6 << 20)
    server = running.enter_context(Ganesha(tmp_path / "export"))
    agents = workers(tmp_path, server.url, 5, "--settle-limit-seconds", waiting)
    for agent in agents:
        running.enter_context(agent)
    all_complete(agents)
    wanted = content(model)
    whole = sum(map(len, wanted.values()))
    for agent in agents:
        assert content(agent.copy) == wanted
        assert agent.received("source") + agent.received("peer") >= whole
    read = sum(agent.received("source") for agent in agents)
    print(f"{read / whole:.2f} times the model's bytes read from the source by {len(agents)} workers")
    assert whole <= read <= 2 * whole
    assert {path.stat().st_mode & 0o777 for agent in agents for path in agent.copy.iterdir()} == {0o444}


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_goes_in_the_middle_of_a_fill_delays_it_and_costs_nothing_else(
    tmp_path: Path, running: ExitStack, how: str
) -> None:
    model = checkpoint(tmp_path / "export", "r1", shards=6, shard_bytes=24 << 20)
    server = running.enter_context(Ganesha(tmp_path / "export"))
    agents = workers(tmp_path, server.url, 3)
    for agent in agents:
        running.enter_context(agent)
    wait_until(lambda: sum(map(staged, agents)) > 8 << 20, "begun", agents)
    server.signal(signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
    assert not all(agent.complete() for agent in agents), "the server went too late to be missed"
    # Longer than a reader waits for a byte: each has given up and tried again.
    wait_until(lambda: sum(agent.number("model_cache_failures_total") for agent in agents) > 2, "given up", agents)
    assert all(agent.answers() for agent in agents)
    if how == "stopped":
        server.signal(signal.SIGCONT)
    else:
        server.kill()
        server = running.enter_context(Ganesha(tmp_path / "export", server.port))
    all_complete(agents)
    wanted = content(model)
    whole = sum(map(len, wanted.values()))
    assert all(content(agent.copy) == wanted for agent in agents)
    read = sum(agent.received("source") for agent in agents)
    print(f"{how}: {read / whole:.2f} times the model's bytes read from the source")
    assert read <= 2 * whole


def test_a_wrong_byte_is_never_served_and_is_replaced_once_the_source_is_mended(
    tmp_path: Path, running: ExitStack
) -> None:
    model = checkpoint(tmp_path / "export", "r1")
    shard = model / "model-00002-of-00004.safetensors"
    good = shard.read_bytes()
    shard.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    server = running.enter_context(Ganesha(tmp_path / "export"))
    agents = workers(tmp_path, server.url, 2)
    for agent in agents:
        running.enter_context(agent)
    wait_until(lambda: sum(a.number("model_cache_rejected_files_total") for a in agents) >= 1, "rejected", agents)
    assert not any(agent.copy.exists() for agent in agents)
    shard.write_bytes(good)
    all_complete(agents)
    assert all(content(agent.copy) == content(model) for agent in agents)


def test_an_agent_that_is_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path, running: ExitStack) -> None:
    model = checkpoint(tmp_path / "export", "r1", shards=6, shard_bytes=24 << 20)
    server = running.enter_context(Ganesha(tmp_path / "export"))
    (agent,) = workers(tmp_path, server.url, 1)
    agent.start()
    wait_until(lambda: staged(agent) > 30 << 20, "begun", [agent])
    agent.kill()
    before = staged(agent)
    wanted = content(model)
    whole = sum(map(len, wanted.values()))
    assert before < whole, "it was killed too late"
    again = running.enter_context(Agent(agent.node, agent.cache, server.url, "r1"))
    all_complete([again])
    assert content(again.copy) == wanted
    # The list of files is read again; of the files only what was not there.
    assert again.received("source") <= whole - before + 10_000


def test_a_worker_that_comes_later_takes_everything_from_the_others_with_the_source_dead(
    tmp_path: Path, running: ExitStack
) -> None:
    model = checkpoint(tmp_path / "export", "r1")
    server = running.enter_context(Ganesha(tmp_path / "export"))
    first, second = workers(tmp_path, server.url, 2)
    running.enter_context(first)
    all_complete([first])
    server.kill()
    running.enter_context(second)
    all_complete([second])
    assert content(second.copy) == content(model)
    assert second.received("source") == 0


def test_a_restart_with_everything_else_dead_is_complete_at_once(tmp_path: Path, running: ExitStack) -> None:
    checkpoint(tmp_path / "export", "r1")
    server = running.enter_context(Ganesha(tmp_path / "export"))
    (agent,) = workers(tmp_path, server.url, 1)
    with agent:
        all_complete([agent])
        assert agent.stopped() == 0
    server.kill()
    again = running.enter_context(Agent(agent.node, agent.cache, server.url, "r1"))
    all_complete([again])
    assert again.received("source") == 0


def test_no_room_is_said_before_anything_is_read(tmp_path: Path, running: ExitStack) -> None:
    checkpoint(tmp_path / "export", "r1")
    source = f"folder://{tmp_path / 'export'}"
    (agent,) = workers(tmp_path, source, 1, "--reserve-percent", "100")
    running.enter_context(agent)
    wait_until(lambda: "to stay free" in agent.output(), "refused", [agent])
    assert staged(agent) == 0
    assert not agent.complete()


def test_a_worker_without_room_holds_up_none_of_the_others(tmp_path: Path, running: ExitStack) -> None:
    model = checkpoint(tmp_path / "export", "r1", shards=12, shard_bytes=1 << 20)
    server = running.enter_context(Ganesha(tmp_path / "export"))
    full = Agent("gpu-0", tmp_path / "gpu-0", server.url, "r1", ("--reserve-percent", "100"))
    others = workers(tmp_path, server.url, 2)
    know_each_other([full, *others])
    for agent in (full, *others):
        running.enter_context(agent)
    all_complete(others)
    assert all(content(agent.copy) == content(model) for agent in others)
    assert not full.complete()


def test_a_manifest_that_is_not_the_pinned_one_is_refused(tmp_path: Path, running: ExitStack) -> None:
    checkpoint(tmp_path / "export", "r1")
    (agent,) = workers(tmp_path, f"folder://{tmp_path / 'export'}", 1, "--manifest-sha256", "0" * 64)
    running.enter_context(agent)
    wait_until(lambda: "is wanted" in agent.output(), "refused", [agent])
    time.sleep(1)
    assert not agent.complete()
    assert staged(agent) == 0


def test_a_damaged_copy_is_mended_from_a_peer_while_it_stays_mounted(tmp_path: Path, running: ExitStack) -> None:
    model = checkpoint(tmp_path / "export", "r1")
    server = running.enter_context(Ganesha(tmp_path / "export"))
    agents = workers(tmp_path, server.url, 2, "--look-seconds", "1")
    agents[0].start()
    running.callback(agents[0].kill)
    running.enter_context(agents[1])
    all_complete(agents)
    agents[0].kill()
    server.kill()
    victim = agents[0].copy / "model-00003-of-00004.safetensors"
    victim.chmod(0o644)
    damaged = bytearray(victim.read_bytes())
    damaged.pop()
    victim.write_bytes(damaged)
    again = Agent(agents[0].node, agents[0].cache, server.url, "r1", port=agents[0].port)
    know_each_other([again, agents[1]])
    running.enter_context(again)
    wait_until(lambda: content(again.copy) == content(model), "mended", [again])
    assert "damaged" in again.output()
