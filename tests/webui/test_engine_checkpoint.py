"""The lab's small model is one the stand-in engine loads, and a damaged one is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint import NoModel, load

from lab import checkpoint as small
from tests.support.chat_processes import ROOT

SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small.write(tmp_path, shards=2, shard_bytes=4096)
    return tmp_path


def test_every_weight_is_read(model: Path) -> None:
    assert load(str(model)) == 2 * 4096


def test_it_is_the_same_every_time(model: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    small.write(again, shards=2, shard_bytes=4096)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


def test_a_name_of_the_hub_needs_no_folder() -> None:
    assert load("Qwen/Qwen3-VL-4B-Instruct") == 0


def test_a_short_shard_is_noticed(model: Path) -> None:
    (model / SHARD).write_bytes((model / SHARD).read_bytes()[:-1])
    with pytest.raises(NoModel, match="4095 bytes"):
        load(str(model))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", SHARD])
def test_a_missing_file_is_noticed(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(NoModel, match=name.partition(".")[0]):
        load(str(model))


def test_a_model_of_nothing_is_none(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(NoModel, match="empty"):
        load(str(model))


def test_the_engine_ends_without_its_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab/engine/engine.py"), "--model", str(tmp_path / "nothing"), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "not a model" in done.stderr
