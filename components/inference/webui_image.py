"""The web UI's image: the one that is configured, or one built from `images/webui` and pushed while the graph runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pulumi
from pulumi_command import local

from components.images import image
from components.naming import token
from components.settings import Images

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "images" / "webui"
SCRIPT = Path(__file__).with_name("scripts") / "build_webui_image.sh"
IGNORED = ("__pycache__", ".pyc", ".mypy_cache", ".ruff_cache")


def webui_image(images: Images) -> pulumi.Input[str]:
    """Reference of the image: as it stands in the config, or with the digest that the push found."""
    return image("webui", images) if images.build is None else WebUiImage("webui-image", images).reference


class WebUiImage(pulumi.ComponentResource):
    """One command on the operator's machine, run again when a file of the image, the script or a setting changed.

    The registry's credentials are the tool's own and in no input; a digest is in the Deployment, so that each build is rolled
    out although its tag stays the same, and a node never runs an older image of that tag.
    """

    reference: pulumi.Output[str]

    def __init__(self, name: str, images: Images, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("inference", "WebUiImage"), name, None, opts)
        environment = build_environment(images)
        build = local.Command(
            name,
            create=f"bash {SCRIPT.relative_to(ROOT)}",
            dir=str(ROOT),
            environment=environment,
            triggers=[
                sources_digest(SOURCES, SCRIPT),
                *(f"{key}={value}" for key, value in sorted(environment.items())),
            ],
            logging=local.Logging.STDERR,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.reference = build.stdout.apply(str.strip)
        self.register_outputs({"reference": self.reference})


def build_environment(images: Images) -> dict[str, str]:
    """What the script is told. Raises ValueError if nothing is to be built."""
    build = images.build
    if build is None:
        raise ValueError("images.build is absent")
    return {
        "TOOL": build.tool,
        "REFERENCE": build.push or image("webui", images),
        "PYTHON_IMAGE": build.python_image or "",
        "PIP_INDEX_URL": build.pip_index or "",
        "PLAIN_HTTP": str(build.plain_http).lower(),
    }


def sources_digest(folder: Path, *more: Path) -> str:
    """SHA-256 over names, modes and contents of all files below a folder, and of some more; caches of Python do not count."""
    whole = hashlib.sha256()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _ignored(path)]
    for path in (*files, *more):
        name = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0{content}\n".encode())
    return whole.hexdigest()


def _ignored(path: Path) -> bool:
    return any(part.endswith(IGNORED) for part in path.parts)
