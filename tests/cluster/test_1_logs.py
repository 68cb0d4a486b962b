"""Logs on real nodes: all that is written arrives, under few labels, and neither what was asked nor a secret is among it."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

from components.observability.dashboards.logs import dashboard
from components.observability.log_collector_config import UNITS
from components.observability.loki_config import LABELS
from tests.support import lab_loki
from tests.support.lab import Lab
from tests.support.lab_inside import Inside
from tests.support.lab_prometheus import PROMETHEUS
from tests.support.stack import Stack
from tools import ask

JAEGER = Inside("observability", "deployment/jaeger", 16686, forwarded=19686)
CONTROL_PLANES = {"master-1", "master-2", "master-3"}
NODES = {*CONTROL_PLANES, "gpu-1", "gpu-2"}
ASKED = "zebra-4711"  # in no line of any program's own
ANSWERED = "webui_http_request_duration_seconds_bucket"
HOPS = {"traefik", "webui", "engine"}
SOURCES = {
    **{f'source="journal",unit="{unit}"': NODES for unit in UNITS},
    'source="audit",app="kube-apiserver"': CONTROL_PLANES,
    'source="pods"': NODES,
}


def nodes_of(lab: Lab) -> list[set[str]]:
    """Which nodes each source has lines of."""
    said = lab_loki.numbers(lab, *(f"sum by (node) (count_over_time({{{each}}}[1h]))" for each in SOURCES))
    return [{each["metric"]["node"] for each in found} for found in said]


def test_every_source_of_every_node_is_collected(stack: Stack, lab: Lab) -> None:
    end = time.monotonic() + 240
    while (found := nodes_of(lab)) != list(SOURCES.values()):
        assert time.monotonic() < end, dict(zip(SOURCES, found, strict=True))
        time.sleep(5)


def test_streams_are_few(stack: Stack, lab: Lab) -> None:
    (names,) = lab_loki.data(lab, f"{lab_loki.API}/labels")
    assert set(names) == set(LABELS)
    (streams,) = lab_loki.data(lab, f"{lab_loki.API}/series?match[]=%7Bnode%3D~%22.%2B%22%7D")
    pods = int(lab.shell("master-1", "kubectl --kubeconfig /etc/kubernetes/admin.conf get pods -A -o name | wc -l"))
    assert 0 < len(streams) < 3 * pods, "one a container, unit and audit log of a node"


def test_a_chat_is_one_trace_whose_id_is_in_the_logs_and_nothing_else_of_it(stack: Stack, lab: Lab) -> None:
    """Gateway, web UI and engine tell Jaeger of it; no line has the question, an answer's word, the key or a password."""
    assert ask.ask(ask.Service.of(stack.outputs()), f"What is a {ASKED}?")
    newest = '{app="qwen3-vl-webui",container="webui"} | json | route="/v1/chat/completions" | trace_id != ""'
    trace_id = lab_loki.wait_for(lab, newest)[0].labels["trace_id"]
    end = time.monotonic() + 60
    while not (seen := hops(lab, trace_id)) >= HOPS:
        assert time.monotonic() < end, f"{trace_id}: {seen}"
        time.sleep(2)
    lab_loki.wait_for(lab, f'{{app="traefik"}} |= "{trace_id}"')
    key = ask.api_key("lab")
    assert key
    secrets = (ASKED, key, stack.secret("redisPassword"))
    found = lab_loki.lines(lab, *(f'{{node=~".+"}} |= `{each}`' for each in secrets))
    # What this test asks Loki for is no chat: queries are not logged, and this would say so if they were.
    assert found == [[], [], []]


def hops(lab: Lab, trace_id: str) -> set[str]:
    found = JAEGER.get(lab, f"/api/traces/{trace_id}")[0]
    assert ASKED not in json.dumps(found)
    return {each["serviceName"] for trace in found["data"] or [] for each in trace["processes"].values()}


def test_an_answer_that_took_long_leads_to_its_trace(stack: Stack, lab: Lab) -> None:
    """Prometheus keeps the trace of a request beside its bucket."""
    asked = f"/api/v1/query_exemplars?query={ANSWERED}&start={time.time() - 3600:.0f}&end={time.time() + 60:.0f}"
    end = time.monotonic() + 60
    while not (found := PROMETHEUS.get(lab, asked)[0]["data"]):
        assert ask.ask(ask.Service.of(stack.outputs()), "And now?")
        assert time.monotonic() < end
        time.sleep(5)
    newest = found[0]["exemplars"][-1]["labels"]["trace_id"]
    assert "webui" in hops(lab, newest)


@pytest.mark.chaos
def test_a_line_of_a_time_without_loki_arrives_later(stack: Stack, lab: Lab) -> None:
    kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf -n observability"
    lab.shell("master-1", f"{kubectl} scale statefulset/loki --replicas=0 && {kubectl} wait --for=delete pod/loki-0")
    try:
        lab.shell("gpu-1", "systemd-cat -t kubelet true; systemctl kill -s SIGHUP containerd || true")
        assert ask.ask(ask.Service.of(stack.outputs()), "Is anybody there?")
        time.sleep(10)
    finally:
        lab.shell("master-1", f"{kubectl} scale statefulset/loki --replicas=1")
    lab_loki.wait_for(lab, '{app="traefik"} |= "/v1/chat/completions"')


# Panel of the dashboard of logs: why it may be empty where all is well.
MAY_BE_EMPTY = {"Gateway, failed requests": "no request failed"}


def test_every_panel_has_something_to_show(stack: Stack, lab: Lab) -> None:
    """Grafana itself does not run here: what it would ask is asked in its place."""
    panels = [(panel.title, query.expr) for panel in dashboard().panels for query in panel.queries]
    titles = [title for title, _ in panels]
    assert set(MAY_BE_EMPTY) <= set(titles)
    found = lab_loki.data(
        lab, *(f"{lab_loki.API}/query_range?query={quote(expr, safe='')}&since=1h&limit=5" for _, expr in panels)
    )
    empty = {title for title, answer in zip(titles, found, strict=True) if not answer["result"]}
    assert empty <= set(MAY_BE_EMPTY)
