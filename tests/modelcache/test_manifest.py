"""What a list of files may say."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from model_cache.manifest import Entry, Manifest, ManifestError, digests, from_sums

GOOD = "a" * 64


def sizes(paths: list[str]) -> dict[str, int]:
    return dict.fromkeys(paths, 3)


def test_what_sha256sum_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(b"one")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/c.json").write_bytes(b"two")
    text = subprocess.run(
        ["sha256sum", "a b.bin", "./sub/c.json"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    manifest = from_sums(text, sizes)
    assert [entry.path for entry in manifest.entries] == ["a b.bin", "sub/c.json"]
    assert manifest.entries[0].digest == hashlib.sha256(b"one").hexdigest()
    assert manifest.digest == hashlib.sha256(text.encode()).hexdigest()
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a line\n",
        f"{GOOD}  ../../etc/passwd\n",
        f"{GOOD}  /etc/passwd\n",
        f"{GOOD}  a/../b\n",
        f"{GOOD}  a//b\n",
        f"{GOOD}  .model-cache.json\n",
        f"{GOOD}  twice\n{GOOD}  twice\n",
        f"{'a' * 63}  short\n",
        f"{GOOD} missing-space\n",
    ],
)
def test_what_could_leave_the_folder_or_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        from_sums(text, sizes)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"text": "x", "entries": [["a", -1, "sha256", "b"]]}', '{"text": "x", "entries": [["a"]]}']
)
def test_a_peers_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


def test_gits_name_of_a_blob() -> None:
    """`printf hello | git hash-object --stdin` says b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0."""
    found = Entry("x", 5, "git-sha1", "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0").hash()
    found.update(b"hello")
    assert found.hexdigest() == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"


def test_digests_by_path() -> None:
    assert digests(f"{GOOD}  x\n{'b' * 64} *y\n") == {"x": GOOD, "y": "b" * 64}
