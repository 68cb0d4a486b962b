"""What a Dockerfile copies is let into its build context by the .dockerignore beside it: both are lists of names."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "images"
# Built elsewhere and copied beside the Dockerfile (images/acme-issuer/README.md), so git ignores it.
PUT_THERE = (IMAGES.parent / ".gitignore").read_text().split()
FOLDERS = sorted(path.parent.name for path in IMAGES.glob("*/Dockerfile"))


@pytest.mark.parametrize("image", FOLDERS)
def test_all_that_is_copied_is_in_the_context(image: str) -> None:
    folder = IMAGES / image
    lines = (folder / ".dockerignore").read_text().split()
    assert lines[0] == "**", "nothing but what is named"
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copies = [line.split()[1:] for line in (folder / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    # Not what comes out of an earlier stage; the last word is where it goes.
    sources = [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]
    assert sources
    for source in sources:
        path = folder / source
        if f"images/{image}/{source}" in PUT_THERE:
            assert source in let_in
            continue
        files = (
            [path]
            if path.is_file()
            else [each for each in path.rglob("*") if each.suffix in (".py", ".js", ".css", ".json")]
        )
        assert files, source
        for each in files:
            name = each.relative_to(folder)
            # A star stays within one folder there.
            matching = [p for p in let_in if fnmatch(str(name), p) and p.count("/") == len(name.parents) - 1]
            assert matching or str(name.parts[0]) in let_in, f"images/{image}/.dockerignore keeps {name} out"
