"""A real Prometheus Operator beside a real API server: what configuration it makes of objects, and what is found with it."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.error
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.chat_processes import Process, fetch, free_port
from tests.support.kubernetes import ApiServer, programs
from tests.support.promtool import promtool

NAMESPACE, CALLED = "monitoring", "theirs"
# By what it selects, as kube-prometheus-stack's does; objects of any namespace.
SELECTED = {"release": "theirs"}
KINDS = ("podMonitor", "serviceMonitor", "probe", "scrapeConfig", "rule")


def definitions() -> list[dict[str, Any]]:
    """The operator's own custom resource definitions, of the same release as the program."""
    files = programs("prometheus-operator")
    found: list[dict[str, Any]] = []
    for name, path in sorted(files.items()):
        if name.startswith("monitoring.coreos.com_"):
            found.append(yaml.load(path.read_text(), yaml.CSafeLoader))
    return found


def wanted_prometheus() -> dict[str, Any]:
    """As its owner would write it."""
    selectors = {f"{kind}Selector": {"matchLabels": SELECTED} for kind in KINDS}
    everywhere: dict[str, Any] = {f"{kind}NamespaceSelector": {} for kind in KINDS}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": {"name": CALLED, "namespace": NAMESPACE},
        "spec": {**selectors, **everywhere, "serviceAccountName": CALLED, "version": "v3.5.0"},
    }


class PrometheusOperator(Process):
    def __init__(self, server: ApiServer) -> None:
        super().__init__("prometheus-operator", free_port())
        self._server = server
        (self._directory / "kubeconfig").write_text(server.kubeconfig())

    def command(self) -> list[str]:
        return [
            str(programs("prometheus-operator")["prometheus-operator"]),
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self._directory / "kubeconfig")}

    def configuration(self) -> dict[str, Any]:
        """What it has made so far; empty before."""
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets/prometheus-{CALLED}"
        try:
            data = json.loads(self._server.ask("GET", path))["data"]
        except urllib.error.HTTPError:
            return {}
        found: dict[str, Any] = yaml.safe_load(gzip.decompress(base64.b64decode(data["prometheus.yaml.gz"])))
        return found

    def rules(self) -> dict[str, list[dict[str, Any]]]:
        """Groups by file."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/prometheus-{CALLED}-rulefiles-0"
        try:
            data = json.loads(self._server.ask("GET", path)).get("data") or {}
        except urllib.error.HTTPError:
            return {}
        return {name: yaml.safe_load(text)["groups"] for name, text in data.items()}


class Finder(Process):
    """A Prometheus with a configuration of which only the ways to the API server, and secrets' files, are other ones; which shard
    it is, the operator's reloader puts in."""

    def __init__(self, configuration: Mapping[str, Any], server: ApiServer) -> None:
        super().__init__("prometheus", free_port())
        (self._directory / "kubeconfig").write_text(server.kubeconfig())
        jobs = [self._here(dict(job)) for job in configuration["scrape_configs"]]
        said = {"global": configuration["global"], "scrape_configs": jobs}
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(said).replace("$(SHARD)", "0"))

    def _here(self, job: dict[str, Any]) -> dict[str, Any]:
        for found in job.get("kubernetes_sd_configs", ()):
            found["kubeconfig_file"] = str(self._directory / "kubeconfig")
        job.pop("authorization", None)
        job["tls_config"] = {"insecure_skip_verify": True}
        return job

    def command(self) -> list[str]:
        return [
            str(promtool().parent / "prometheus"),
            f"--config.file={self._directory}/prometheus.yml",
            f"--storage.tsdb.path={self._directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def environment(self) -> dict[str, str]:
        return {"POD_NAME": "it"}

    def targets(self) -> dict[str, dict[str, str]]:
        """Labels by the address that is read and the job, of everything that it has found."""
        _, body = fetch(f"http://127.0.0.1:{self.port}/api/v1/targets?state=active")
        found = json.loads(body)["data"]["activeTargets"]
        return {f"{each['labels']['job']} {each['scrapeUrl']}": each["labels"] for each in found}
