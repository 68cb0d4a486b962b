"""What a real Prometheus Operator makes of our objects, against the configuration of our own Prometheus: the same is read, as
often, with the same labels but for the job's name, and the same is kept of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.observability.alerts import alerts_yaml, rule_groups
from components.observability.alerts.index import everything
from components.observability.dashboards import Parts, dashboards
from components.observability.node_targets import CONTROL_PLANE_LABEL, NODE_TARGETS
from components.observability.operated_prometheus import READER
from components.observability.operator_objects import (
    API_VERSION,
    PREFIX,
    SCRAPE_CONFIG_API_VERSION,
    of_our_jobs,
    pod_monitor,
    rule_spec,
    scrape_config,
)
from components.observability.prometheus_config import prometheus_yaml, rules_yaml, scaling_groups
from components.observability.targets import TARGETS
from components.settings.observability import Objective
from tests.support.kubernetes import TOKEN, ApiServer, small_cluster
from tests.support.prometheus_operator import (
    NAMESPACE,
    SELECTED,
    Finder,
    PrometheusOperator,
    definitions,
    wanted_prometheus,
)
from tests.support.promtool import promtool
from tests.support.waiting import until

HOME = "observability"
EVERY, API_PORT = 15, 6443
ADDRESSES = {"master-1": "10.0.0.11", "gpu-1": "10.0.0.21"}
ALL = replace(everything(), acme=True, own_prometheus=False)


def custom(kind: str, plural: str, version: str, called: str, spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where an object is posted, and the object."""
    metadata = {"name": called, "namespace": HOME, "labels": SELECTED}
    body = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
    return f"/apis/{version}/namespaces/{HOME}/{plural}", body


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for target in TARGETS:
        yield custom("PodMonitor", "podmonitors", API_VERSION, target.job, pod_monitor(target, EVERY))
    for node in NODE_TARGETS:
        spec = scrape_config(node, EVERY, API_PORT, READER)
        yield custom("ScrapeConfig", "scrapeconfigs", SCRAPE_CONFIG_API_VERSION, node.job, spec)
    for called, groups in (("autoscaling", scaling_groups(120)), ("alerts", rule_groups(ALL, None))):
        yield custom("PrometheusRule", "prometheusrules", API_VERSION, called, rule_spec(groups, EVERY))


def running() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Nodes, and a pod for each target: where they are posted, and their state."""
    for name, address in ADDRESSES.items():
        roles = {CONTROL_PLANE_LABEL: ""} if name.startswith("master") else {}
        addresses = [{"type": "InternalIP", "address": address}]
        yield "/api/v1/nodes", {"metadata": {"name": name, "labels": roles}}, {"addresses": addresses}
    pods: dict[tuple[str, str], dict[str, Any]] = {}
    for target in TARGETS:
        pod = pods.setdefault((target.namespace, target.app), {"label": target.label, "ports": []})
        pod["ports"].append(target.port)
    for number, ((namespace, app), pod) in enumerate(pods.items()):
        # Each port in a container of its own, as sidecars have them; one more that nobody is to read.
        named = [*pod["ports"], "other"]
        ports = [{"name": port, "containerPort": 9000 + index} for index, port in enumerate(named)]
        containers = [{"name": f"c-{port['name']}", "image": "it", "ports": [port]} for port in ports]
        metadata = {"name": f"{app}-0", "labels": {pod["label"]: app}}
        body = {"metadata": metadata, "spec": {"nodeName": "gpu-1", "containers": containers}}
        there = {"phase": "Running", "podIP": f"10.244.1.{number + 1}"}
        yield f"/api/v1/namespaces/{namespace}/pods", body, there


def prepare(server: ApiServer) -> None:
    for definition in definitions():
        server.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    there = {"default", "kube-system"}
    for namespace in sorted({NAMESPACE, HOME, *(target.namespace for target in TARGETS)} - there):
        server.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
    token = {"token": "of-an-account", "ca.crt": certificate()}
    server.make(f"/api/v1/namespaces/{HOME}/secrets", {"metadata": {"name": READER}, "stringData": token})
    for path, body, status in running():
        server.make(path, body, status)
    established = f"/apis/{SCRAPE_CONFIG_API_VERSION}/scrapeconfigs", f"/apis/{API_VERSION}/prometheuses"
    until(lambda: all(answers(server, path) for path in established), "the definitions to be served")
    for path, body in objects():
        server.make(f"{path}?fieldValidation=Strict", body)
    server.make(f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/prometheuses", wanted_prometheus())


def answers(server: ApiServer, path: str) -> bool:
    try:
        server.ask("GET", path)
    except OSError:
        return False
    return True


@cache
def certificate() -> str:
    """One in PEM: the operator reads what it is given."""
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        "/CN=it",
        "-days",
        "1",
    ]
    return subprocess.run(make, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True, slots=True)
class Made:
    server: ApiServer
    operator: PrometheusOperator
    configuration: dict[str, Any]

    def job(self, name: str) -> dict[str, Any]:
        """By the name of the object that it is made of."""
        (found,) = [job for job in self.configuration["scrape_configs"] if name in job["job_name"].split("/")]
        return dict(found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with small_cluster(tmp_path_factory.mktemp("cluster")) as (_, server):
        prepare(server)
        with PrometheusOperator(server) as operator:
            count = len(TARGETS) + len(NODE_TARGETS)

            def jobs() -> list[str]:
                return [job["job_name"] for job in operator.configuration().get("scrape_configs", [])]

            until(
                lambda: len(jobs()) == count and operator.rules(),
                lambda: f"{count} jobs and the rules; there are {jobs()}\n{operator.output()[-3000:]}",
                within=180,
            )
            yield Made(server, operator, operator.configuration())


def ours() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(prometheus_yaml(EVERY, API_PORT))
    return found


def own_jobs() -> list[dict[str, Any]]:
    return [job for job in ours()["scrape_configs"] if job["job_name"] != "prometheus"]


@pytest.mark.parametrize("own", own_jobs(), ids=lambda job: job["job_name"])
def test_the_same_is_read_as_often_and_the_same_is_kept(made: Made, own: dict[str, Any]) -> None:
    theirs = made.job(own["job_name"])
    assert theirs["metrics_path"] == own.get("metrics_path", "/metrics")
    assert theirs.get("scheme", "http") == own.get("scheme", "http")
    assert theirs.get("honor_labels", False) == own.get("honor_labels", False)
    paces = {key: value for key, value in ours()["global"].items() if key in ("scrape_interval", "scrape_timeout")}
    assert {key: theirs[key] for key in paces} == paces
    assert theirs.get("metric_relabel_configs", []) == own.get("metric_relabel_configs", [])
    if "authorization" in own:
        assert theirs["authorization"] == {"type": "Bearer", "credentials": "of-an-account"}
    else:
        assert "authorization" not in theirs
    if "tls_config" in own:
        unverified = own["tls_config"].get("insecure_skip_verify", False)
        assert theirs["tls_config"].get("insecure_skip_verify", False) == unverified
        assert ("ca_file" in theirs["tls_config"] or "ca" in theirs["tls_config"]) == (not unverified)


def test_the_same_targets_are_found_with_the_same_labels(made: Made) -> None:
    own = {**ours(), "scrape_configs": own_jobs()}
    with Finder(own, made.server) as mine, Finder(made.configuration, made.server) as other:

        def renamed() -> dict[str, dict[str, str]]:
            return {
                f"{PREFIX}{where}": {**labels, "job": f"{PREFIX}{labels['job']}"}
                for where, labels in mine.targets().items()
            }

        masters = [each for each in NODE_TARGETS if each.control_planes]
        count = len(TARGETS) + len(NODE_TARGETS) * len(ADDRESSES) - len(masters)
        until(lambda: len(mine.targets()) == count, lambda: f"{count} targets; ours: {sorted(mine.targets())}")
        until(lambda: other.targets() == renamed(), lambda: f"{renamed()}, not {other.targets()}")


def test_rules_are_taken_as_they_are_but_for_the_jobs(made: Made) -> None:
    found = {group["name"]: group for groups in made.operator.rules().values() for group in groups}
    own = [*yaml.safe_load(rules_yaml(120))["groups"], *yaml.safe_load(alerts_yaml(ALL, None))["groups"]]
    assert found.keys() == {group["name"] for group in own}
    for group in own:
        theirs = found[group["name"]]
        assert theirs["interval"] == f"{EVERY}s"
        renamed = [{**rule, "expr": rule["expr"].replace('job="', f'job="{PREFIX}')} for rule in group["rules"]]
        assert theirs["rules"] == renamed


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    for called, groups in (("a.yml", scaling_groups(120)), ("b.yml", rule_groups(ALL, None))):
        (tmp_path / called).write_text(yaml.safe_dump(rule_spec(groups, EVERY)))
        done = subprocess.run([promtool(), "check", "rules", called], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@cache
def expressions() -> dict[str, str]:
    """PromQL of every rule and panel, as it stands in a cluster with an operator."""
    groups = rule_spec([*scaling_groups(120), *rule_groups(ALL, None)], EVERY)["groups"]
    found = {rule.get("alert") or rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}
    shown = dashboards(
        Parts(objective=Objective(), retention_hours=48, replicas=2, alertmanager=False, prometheus=False)
    )
    for dashboard in shown:
        for panel in dashboard.panels:
            if panel.source == "prometheus":
                for index, query in enumerate(panel.queries):
                    found[f"{dashboard.uid}: {panel.title} {index}"] = of_our_jobs(query.expr)
    return found


@cache
def recorded() -> set[str]:
    """Metrics that our own rules make out of others."""
    groups = [*scaling_groups(120), *rule_groups(ALL, None)]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


# Panels on everything that is read or fires, whoever it belongs to.
OF_EVERYBODY = {"up", "ALERTS"}


@pytest.mark.parametrize(("called", "expr"), expressions().items(), ids=expressions())
def test_nobody_elses_numbers_are_counted(called: str, expr: str) -> None:
    """Every selector names a job of ours; promtool writes all of them in one form, with another label on each."""
    command = [str(promtool()), "--experimental", "promql", "label-matchers", "set", expr, "counted", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    selectors = re.findall(r'([a-zA-Z_:][\w:]*)?\{([^{}]*counted="1"[^{}]*)\}', done.stdout)
    assert selectors or "vector(" in expr, done.stdout
    for metric, matchers in selectors:
        if metric in recorded() or (": " in called and metric in OF_EVERYBODY):
            continue
        assert f'job="{PREFIX}' in matchers, f"{metric}{{{matchers}}}"


def test_the_administrators_token_is_in_no_object(made: Made) -> None:
    assert TOKEN not in str(made.configuration)
