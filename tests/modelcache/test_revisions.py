"""A new revision beside the old one: pods keep theirs for as long as they live, then it goes."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.cache_processes import Agent, Holder, checkpoint, content, wait_until

QUICK = ("--grace-seconds", "0", "--look-seconds", "1")


def test_a_revision_in_use_stays_until_its_pod_is_gone(tmp_path: Path) -> None:
    old = checkpoint(tmp_path / "export", "r1")
    new = checkpoint(tmp_path / "export", "r2", seed=2)
    source, cache = f"folder://{tmp_path / 'export'}", tmp_path / "gpu-1"
    with ExitStack() as running:
        with Agent("gpu-1", cache, source, "r1") as agent:
            wait_until(agent.complete, "complete", [agent])
            agent.stopped()
        pod = Holder("pod", cache, source, "r1").start()
        running.callback(pod.kill)
        wait_until(pod.complete, "held", [pod])
        reader = running.enter_context((pod.copy / "model-00001-of-00004.safetensors").open("rb"))
        first = reader.read(1000)
        agent = running.enter_context(Agent("gpu-1", cache, source, "r2", QUICK))
        wait_until(agent.complete, "complete", [agent])
        assert content(agent.copy) == content(new)
        assert content(pod.copy) == content(old), "the pod's own revision is what it was"
        pod.signal(signal.SIGKILL)
        pod.wait()
        wait_until(lambda: not pod.copy.exists(), "collected", [agent])
        # Counted once the folder is gone.
        wait_until(lambda: agent.number("model_cache_collected_revisions_total") == 1, "counted", [agent])
        reader.seek(0)
        assert reader.read() == (old / "model-00001-of-00004.safetensors").read_bytes(), "an open file stays whole"
        assert first == (old / "model-00001-of-00004.safetensors").read_bytes()[:1000]
        assert content(agent.copy) == content(new)


def test_a_pod_waits_for_its_revision_and_says_how_far_it_is(tmp_path: Path) -> None:
    cache, source = tmp_path / "gpu-1", f"folder://{tmp_path / 'export'}"
    cache.mkdir()
    with Holder("pod", cache, source, "r1") as pod:
        wait_until(lambda: "no word from the cache agent" in pod.output(), "said", [pod])
        assert not pod.complete()
        with Agent("gpu-1", cache, source, "r1") as agent:
            wait_until(lambda: "No such file" in agent.output(), "said", [agent])
            checkpoint(tmp_path / "export", "r1")
            wait_until(pod.complete, "held", [pod, agent])
        assert pod.stopped() == 0


def test_a_revision_that_lost_its_pod_only_for_a_moment_is_kept(tmp_path: Path) -> None:
    checkpoint(tmp_path / "export", "r1")
    checkpoint(tmp_path / "export", "r2")
    source, cache = f"folder://{tmp_path / 'export'}", tmp_path / "gpu-1"
    with Agent("gpu-1", cache, source, "r1") as agent:
        wait_until(agent.complete, "complete", [agent])
    with Agent("gpu-1", cache, source, "r2", ("--grace-seconds", "600", "--look-seconds", "0.2")) as agent:
        wait_until(agent.complete, "complete", [agent])
        time.sleep(2)
        with Holder("pod", cache, source, "r1") as pod:
            wait_until(pod.complete, "held", [pod])
