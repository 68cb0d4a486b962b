"""What Redis, Sentinel and HAProxy read: texts without side effects.

The group has three members behind fixed addresses (a Service each), so nothing that decides about a fail-over has to ask DNS,
whose own pods may be on the node that died.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

PORT, SENTINEL_PORT, HEALTH_PORT = 6379, 26379, 8404
PASSWORD_KEY, USERS, INTERNAL_KEY = "password", "users.acl", "internal"  # keys in Secrets
FILES, ACCESS, DATA, STATE = "/etc/redis", "/etc/redis-access", "/data", "/state"
DOWN_MS = 2000
"""Silence, in ms, after which a Sentinel holds the primary for dead. Twice what a fork for rewriting 1 GiB takes."""
LAG_SECONDS = 5
"""A primary that no replica has followed for so long takes no more writes: it may have been cut off and replaced."""


def access_list(password: str) -> str:
    """Redis users: only the default one, by the digest of its password, so that no text needs quoting.

    Clients need no administration, so a stolen password cannot reconfigure, stop or empty the server.
    """
    return client_user(password, channels="&*")


def members_access_list(password: str, internal: str) -> str:
    """The users of a group. Clients neither subscribe nor publish: the Sentinels find each other that way.

    What `replica` and `sentinel` may do is what Redis' documentation lists for them.
    """
    own = digest(internal)
    return "".join(
        [
            client_user(password, channels="resetchannels"),
            f"user replica on #{own} +psync +replconf +ping\n",
            f"user sentinel on #{own} &* +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info"
            " +client|setname +client|kill +script|kill\n",
            f"user probe on #{own} +ping +info +client|pause\n",
        ]
    )


def client_user(password: str, *, channels: str) -> str:
    return f"user default on #{digest(password)} ~* {channels} +@all -@admin -flushall -flushdb\n"


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def redis_conf(memory_mib: int) -> str:
    """Evicts the chats not used for longest rather than refuse a new one; survives a restart of the container."""
    return "\n".join(
        [
            f"port {PORT}",
            f"aclfile {ACCESS}/{USERS}",
            f"dir {DATA}",
            f"maxmemory {memory_mib}mb",
            "maxmemory-policy allkeys-lru",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "tcp-keepalive 60",
            "",
        ]
    )


def member_conf(memory_mib: int) -> str:
    """As `redis_conf`; the member adds its own address, the password and, if it is a replica, its primary's address."""
    return redis_conf(memory_mib) + "\n".join(
        [
            "masteruser replica",
            "repl-ping-replica-period 1",
            "repl-timeout 10",
            "repl-diskless-sync-delay 0",
            "repl-backlog-size 16mb",  # a short absence then costs what was written meanwhile, not a copy of everything
            "min-replicas-to-write 1",
            f"min-replicas-max-lag {LAG_SECONDS}",
            "",
        ]
    )


def sentinel_conf() -> str:
    """The group's name is the scripts'; a fail-over that hangs is given up and tried again after `failover-timeout`."""
    return "\n".join(
        [
            f"port {SENTINEL_PORT}",
            f"dir {STATE}",
            "sentinel auth-user chats sentinel",
            f"sentinel down-after-milliseconds chats {DOWN_MS}",
            "sentinel failover-timeout chats 10000",
            "sentinel parallel-syncs chats 2",
            "",
        ]
    )


def members_file(addresses: Mapping[str, str]) -> str:
    return "".join(f"{name} {address}\n" for name, address in sorted(addresses.items()))


def haproxy_cfg(addresses: Mapping[str, str], internal: str) -> str:
    """Leads each connection to the primary and ends those to a member that is the primary no more.

    A member that was cut off and comes back believes it is the primary until the Sentinels have told it; but nobody follows it.
    """
    return "\n".join(
        [
            "global",
            "  log stdout format raw local0 notice",
            "  maxconn 4096",
            "  hard-stop-after 5s",
            "defaults",
            "  log global",
            "  mode tcp",
            "  timeout connect 1s",
            "  timeout check 1s",
            "  timeout client 24h",  # idle clients keep their connections; keepalives find out who is gone
            "  timeout server 24h",
            "  option clitcpka",
            "  option srvtcpka",
            "listen redis",
            f"  bind :{PORT}",
            "  option redispatch 1",  # to a member that answers, while the proxy has not yet seen that another is gone
            "  option tcp-check",
            "  tcp-check connect",
            rf"  tcp-check send AUTH\ probe\ {internal}\r\n",
            "  tcp-check expect string +OK",
            # With a goodbye, so that an answer that does not fit is one at once and not when the time is over.
            r"  tcp-check send INFO\ replication\r\nQUIT\r\n",
            "  tcp-check expect rstring role:master[[:space:]]+connected_slaves:[1-9]",
            "  default-server inter 500ms fastinter 250ms downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions",
            *(f"  server {name} {address}:{PORT} check" for name, address in sorted(addresses.items())),
            "frontend health",
            "  mode http",
            f"  bind :{HEALTH_PORT}",
            "  timeout client 10s",
            # Until it has looked, it holds all members for the primary.
            "  monitor-uri /readyz",
            "  monitor fail if { nbsrv(redis) gt 1 }",
            "  http-request return status 200 if { path /livez }",
            "  http-request use-service prometheus-exporter if { path /metrics }",
            "",
        ]
    )
