"""The engine that answers at once, and the rivals: each one process, as one replica would be."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from bench.openssh import CACHE
from tests.support.chat_processes import MODEL, ROOT, Engine, Process, fetch, free_port

HERE = Path(__file__).resolve().parent


class Instant(Engine):
    """bench.load.instant: no image decoder, no scheduler, so a gateway is the only limit."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.load.instant", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}


def installed(requirements: str, *options: str) -> Path:
    """The bin folder of a virtual environment of its own, made when its requirements are new. Raises CalledProcessError."""
    wanted = HERE / requirements
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"bench-{wanted.stem}-{digest}"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"bench: installing {wanted.stem} into a virtual environment of its own", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin/pip"), "install", "-q", "--only-binary=:all:", *options, "-r", str(wanted)]
        subprocess.run(pip, check=True, timeout=900)
        (folder / ".complete").touch()
    return folder / "bin"


class LiteLlm(Process):
    """One worker, no database, a master key; the settings its page on production names."""

    @staticmethod
    def install() -> Path:
        return installed("litellm.txt", "--no-deps", "--require-hashes")

    def __init__(self, upstream: str) -> None:
        super().__init__("litellm", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = f"sk-{secrets.token_hex(8)}"
        self._bin = self.install()
        engine = {"model": f"hosted_vllm/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
        said = {
            "model_list": [{"model_name": MODEL, "litellm_params": engine}],
            "litellm_settings": {"num_retries": 0, "request_timeout": 600, "set_verbose": False},
            "general_settings": {"master_key": self.key},
        }
        (self._directory / "config.yaml").write_text(yaml.safe_dump(said))

    def command(self) -> list[str]:
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1"]
        config = ["--config", str(self._directory / "config.yaml")]
        return [str(self._bin / "litellm"), *config, *place, "--telemetry", "False"]

    def environment(self) -> dict[str, str]:
        quiet = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return {"HOME": str(self._directory), **quiet}

    def answers(self) -> bool:
        return super().answers() and fetch(f"{self.url}/health/liveliness")[0] == 200


class OpenWebUi(Process):
    """Its backend as shipped: one worker, SQLite, a user signed in; no embedding model is loaded."""

    path = "/api/chat/completions"

    @staticmethod
    def install() -> Path:
        return installed("open-webui.txt")

    def __init__(self, upstream: str) -> None:
        super().__init__("open-webui", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = ""
        self._upstream = upstream
        self._bin = self.install()

    def command(self) -> list[str]:
        return [str(self._bin / "open-webui"), "serve", "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        home = str(self._directory)
        offline = {"OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "RAG_EMBEDDING_ENGINE": "openai"}
        engine = {"OPENAI_API_BASE_URL": f"{self._upstream}/v1", "OPENAI_API_KEY": "none", "ENABLE_OLLAMA_API": "False"}
        own = {"HOME": home, "DATA_DIR": home, "WEBUI_SECRET_KEY": secrets.token_hex(32), "GLOBAL_LOG_LEVEL": "ERROR"}
        return {**own, **offline, **engine}

    def answers(self) -> bool:
        return super().answers() and fetch(f"{self.url}/health")[0] == 200

    def sign_in(self) -> None:
        """The first user; then the models are listed once, which Open WebUI wants before it passes anything on."""
        user = {"name": "bench", "email": "bench@example.com", "password": secrets.token_urlsafe(16)}
        said = {"Content-Type": "application/json"}
        self.key = json.loads(self._fetch("/api/v1/auths/signup", json.dumps(user).encode(), said))["token"]
        self._fetch("/api/models", None, {"Authorization": f"Bearer {self.key}"})

    def _fetch(self, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        status, found = fetch(f"{self.url}{path}", body, headers, within=60)
        if status != 200:
            raise AssertionError(f"{path}: status {status}: {found[:200]!r}")
        return found
