"""What users notice, or are about to: replicas, answers, history, gateway. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched, share
from components.observability.targets import GATEWAY, REPLICAS

WEBUI, TRAEFIK = f'job="{REPLICAS.job}"', f'job="{GATEWAY.job}",entrypoint=~"web|websecure"'
# Probes and Prometheus itself: a replica that is not ready says so with a 503, which is no error.
MACHINES = 'route!~"/ready|/healthz|/metrics"'
READY = f"webui_ready{{{WEBUI}}} == 1"
# A bound that both histograms have: Traefik's default buckets are 0.1, 0.3, 1.2 and 5 s.
BOUND = 'le="1.2"'


def groups(watched: Watched) -> list[Group]:
    return [
        Group(name="replicas", rules=tuple(replicas(watched))),
        Group(name="answers", rules=tuple(answers())),
        Group(name="gateway", rules=tuple(gateway())),
    ]


def replicas(watched: Watched) -> list[Alert]:
    missing_minutes = watched.start_seconds // 60
    return [
        Alert(
            name="NoReplicaReady",
            severity="critical",
            expr=f"absent({READY})",
            for_seconds=120,
            summary="No replica of qwen3-vl-webui is ready",
            description="Nobody gets an answer. Look at the pods of Deployment qwen3-vl-webui in the namespace default and at"
            " what their events say.",
        ),
        Alert(
            name="ReplicasMissing",
            severity="warning",
            expr=f"count({READY}) < {watched.replicas}",
            for_seconds=watched.start_seconds,
            summary=f"{{{{ $value }}}} of {watched.replicas} replicas are ready",
            description=f"For {missing_minutes} minutes, longer than a new replica takes, fewer than {watched.replicas} replicas"
            " of qwen3-vl-webui have been ready. Look for pods that are Pending or restart, and for nodes that are not Ready.",
        ),
        Alert(
            name="ReplicaNotReady",
            severity="warning",
            expr=f"webui_ready{{{WEBUI}}} == 0",
            for_seconds=600,
            summary="Replica {{ $labels.pod }} on {{ $labels.node }} gets no traffic",
            description="The web UI of {{ $labels.pod }} has answered `not ready` for 10 minutes. `/ready` of the pod says which"
            " of engine and Redis it misses.",
        ),
    ]


def answers() -> list[Alert]:
    requests = f"webui_http_requests_total{{{WEBUI},{MACHINES}}}"
    failed = f'webui_http_requests_total{{{WEBUI},{MACHINES},code=~"5.."}}'
    chats, failed_chats = (
        f"webui_chat_answers_total{{{selector}}}" for selector in (WEBUI, f'{WEBUI},outcome="failed"')
    )
    pod = "namespace, pod"
    return [
        Alert(
            name="WebUiErrors",
            severity="warning",
            expr=share(
                f"sum by ({pod}) (rate({failed}[5m]))",
                f"sum by ({pod}) (rate({requests}[5m]))",
                over=0.05,
                least=f"sum by ({pod}) (increase({failed}[5m])) >= 5",
            ),
            for_seconds=300,
            summary="Replica {{ $labels.pod }} fails {{ $value | humanizePercentage }} of its requests",
            description="More than 5 % of the requests to {{ $labels.pod }} have ended with a 5xx for 5 minutes. 502 and 504 are"
            " its engine's silence; look at the log of its containers webui and engine.",
        ),
        Alert(
            name="ChatAnswersFailing",
            severity="warning",
            expr=share(
                f"sum(rate({failed_chats}[10m]))",
                f"sum(rate({chats}[10m]))",
                over=0.1,
                least=f"sum(increase({failed_chats}[10m])) >= 3",
            ),
            for_seconds=300,
            summary="{{ $value | humanizePercentage }} of the chat answers fail",
            description="On the page users read that the answer failed. The log of the containers webui says why:"
            " `answer failed`.",
        ),
        Alert(
            name="RequestsRefused",
            severity="warning",
            expr=f"sum by ({pod}) (increase(webui_api_requests_refused_total{{{WEBUI}}}[3m])) > 0",
            for_seconds=300,
            summary="Replica {{ $labels.pod }} refuses requests because it is full",
            description="{{ $labels.pod }} has been answering 429 for 5 minutes because too many requests to /v1 are in flight."
            " Look at what the autoscaler wants and whether it is at its maximum.",
        ),
        Alert(
            name="HistoryNotSaved",
            severity="critical",
            expr=f'max by ({pod}) (1 - webui_dependency_up{{{WEBUI},dependency="redis"}}) == 1'
            f" or sum by ({pod}) (increase(webui_history_errors_total{{{WEBUI}}}[3m])) > 0",
            for_seconds=300,
            summary="Replica {{ $labels.pod }} cannot save chats in Redis",
            description="Answers still come, but chats of {{ $labels.pod }} are forgotten. Look at the pods of redis and"
            " redis-proxy in the namespace default, then at DNS.",
        ),
    ]


def gateway() -> list[Alert]:
    requests = f"traefik_entrypoint_requests_total{{{TRAEFIK}}}"
    failed = f'traefik_entrypoint_requests_total{{{TRAEFIK},code=~"5.."}}'
    ours, theirs = "webui_http_request_duration_seconds", "traefik_entrypoint_request_duration_seconds"
    fast = f"sum(rate({ours}_bucket{{{WEBUI},{MACHINES},{BOUND}}}[10m])) / sum(rate({ours}_count{{{WEBUI},{MACHINES}}}[10m]))"
    seen = f"sum(rate({theirs}_bucket{{{TRAEFIK},{BOUND}}}[10m])) / sum(rate({theirs}_count{{{TRAEFIK}}}[10m]))"
    return [
        Alert(
            name="NoGatewayUp",
            severity="critical",
            expr=f'absent(up{{job="{GATEWAY.job}"}} == 1)',
            for_seconds=60,
            summary="No gateway answers",
            description="Nobody reaches the service. Look at the pods of Deployment traefik in the namespace traefik, and at the"
            " workers they run on.",
        ),
        Alert(
            name="GatewayErrors",
            severity="warning",
            expr=share(
                f"sum by (entrypoint) (rate({failed}[5m]))",
                f"sum by (entrypoint) (rate({requests}[5m]))",
                over=0.05,
                least=f"sum by (entrypoint) (increase({failed}[5m])) >= 10",
            ),
            for_seconds=300,
            summary="{{ $value | humanizePercentage }} of the requests to entry point {{ $labels.entrypoint }} fail",
            description="More than 5 % of what users ask for has ended with a 5xx for 5 minutes. 503: no replica is ready; 502"
            " and 504: a replica or its node is gone; Traefik's access log names the replica.",
        ),
        Alert(
            # Both sides count the same requests, so an answer that is long because it is long cancels out. The page's heartbeat,
            # open as long as the page, is counted by Traefik alone: one request of dozens that a page makes.
            name="GatewaySlow",
            severity="warning",
            expr=f"{fast} - {seen} > 0.2 and sum(increase({theirs}_count{{{TRAEFIK}}}[10m])) >= 100",
            for_seconds=600,
            summary="The gateway delays {{ $value | humanizePercentage }} of the requests",
            description="So many more requests take over 1.2 s at the gateway than in the web UI behind it. Look for a replica"
            " that does not accept connections, for Traefik at its CPU limit, and for a slow login service.",
        ),
    ]
