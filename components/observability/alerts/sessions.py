"""The group that keeps the chats, as the proxies before it see it: who is the primary, who answers at all. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.targets import SESSIONS

SERVER = f'job="{SESSIONS.job}",proxy="redis"'
# What a member answers to "are you the primary": yes, or something else. All other states are no answer.
ANSWERS = 'state=~"L7OK|L7RSP"'


def groups(watched: Watched) -> list[Group]:
    return [Group(name="sessions", rules=tuple(group(watched.redis_members)))] if watched.redis_members > 1 else []


def group(members: int) -> list[Alert]:
    return [
        Alert(
            name="RedisWithoutPrimary",
            severity="critical",
            expr=f'max(sum by (pod) (haproxy_server_status{{{SERVER},state="UP"}})) == 0',
            for_seconds=60,
            summary="Redis has no primary",
            description="No proxy has found a Redis that takes writes for a minute: chats are not kept. A fail-over takes some"
            " 4 seconds, so it does not happen: two of the members are away, or cannot reach each other.",
        ),
        Alert(
            name="RedisMemberAway",
            severity="warning",
            expr=f"count(max by (server) (haproxy_server_check_status{{{SERVER},{ANSWERS}}}) == 1) < {members}",
            for_seconds=600,
            summary=f"{{{{ $value }}}} of {members} members of Redis answer",
            description="For 10 minutes no proxy has had an answer from one of the members. The others carry on, but with another"
            " one away nobody can choose a primary. Look at the control plane it runs on, then at its pod.",
        ),
        Alert(
            name="RedisProxyDown",
            severity="warning",
            expr=f'up{{job="{SESSIONS.job}"}} == 0',
            for_seconds=300,
            summary="The way to Redis on {{ $labels.node }} does not answer",
            description="Prometheus has not been able to read the proxy {{ $labels.pod }} for 5 minutes. Replicas of the web UI"
            " on {{ $labels.node }} cannot keep chats. Look at the node first, then at the pod.",
        ),
    ]
