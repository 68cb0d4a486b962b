"""Bills of materials of our own images, as CycloneDX: what we put on their base images, in exact versions.

    python -m tools.sbom [--to FOLDER] [--reference IMAGE@DIGEST] NAME...

NAME is a folder below `images`. Python packages are those of its pinned requirements, which are all that is installed; modules of
a Go program are read out of the program itself. What the base image brings, and Debian's packages on it, is not there: for that
ask a scanner of the finished image (docs/image-scan.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SPEC = "1.6"
NAMES = ("webui", "model-cache", "acme-issuer")
SCOPE = "Python packages and Go modules of this image; packages of its distribution are not listed"


class SbomProblem(Exception):
    """What stands in the way, and what to do about it."""


def bill(name: str, reference: str = "") -> dict[str, Any]:
    """Raises SbomProblem."""
    folder = ROOT / "images" / name
    requirements = folder / "requirements.txt"
    found = of_requirements(requirements) if requirements.exists() else of_program(folder / name)
    metadata = found.setdefault("metadata", {})
    image, _, digest = reference.partition("@")
    metadata["component"] = {"type": "container", "bom-ref": name, "name": image or f"qwen3-vl-{name}"}
    if digest:
        metadata["component"]["version"] = digest
    metadata["properties"] = [*metadata.get("properties", ()), {"name": "qwen3-vl:scope", "value": SCOPE}]
    return found


def of_requirements(requirements: Path) -> dict[str, Any]:
    """By CycloneDX' own program for Python."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "bill.json"
        command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible"]
        command += ["--spec-version", SPEC, "--of", "JSON", "-o", str(written), str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not written.exists():
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise SbomProblem(f"{requirements.relative_to(ROOT)}: {said}; cyclonedx-bom reads it. Run tools/bootstrap")
        read: dict[str, Any] = json.loads(written.read_text())
    return read


def of_program(program: Path) -> dict[str, Any]:
    """The modules that a Go program was linked from, by what Go wrote into it."""
    if not program.exists():
        raise SbomProblem(
            f"{program}: not there; the program is what is read. Build it as images/{program.name}/README.md says"
        )
    done = subprocess.run(["go", "version", "-m", "-json", str(program)], capture_output=True, text=True)
    if done.returncode:
        raise SbomProblem(
            f"{program}: {done.stderr.strip()}; a program built by Go 1.25 or newer tools is read. Build it anew"
        )
    info: dict[str, Any] = json.loads(done.stdout)
    modules = [module.get("Replace") or module for module in info.get("Deps", ())]
    modules.append({"Path": "std", "Version": info["GoVersion"].removeprefix("go")})
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "components": [component(module) for module in sorted(modules, key=lambda each: each["Path"])],
    }


def component(module: dict[str, str]) -> dict[str, Any]:
    """Go's checksum is one over names and contents, and none of CycloneDX' kinds: so it is a property."""
    url = f"pkg:golang/{module['Path']}@{module['Version']}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": module["Path"],
        "version": module["Version"],
        "purl": url,
    }
    if module.get("Sum"):
        found["properties"] = [{"name": "go:sum", "value": module["Sum"]}]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--to", type=Path, default=ROOT / "sbom", help="folder (default: sbom)")
    parser.add_argument("--reference", default="", help="what was pushed, with its digest; for one NAME")
    args = parser.parse_args()
    try:
        for name in args.names:
            found = bill(name, args.reference)
            args.to.mkdir(parents=True, exist_ok=True)
            target = args.to / f"{name}.cdx.json"
            target.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{target}: {len(found['components'])} components")
    except SbomProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
