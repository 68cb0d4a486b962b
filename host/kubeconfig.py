"""The operator's credentials: read from a control plane, pointed at the API endpoint, judged without any contact."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from cryptography import x509

from host.connections import Connections
from host.errors import HostError, Refused, Unreachable
from host.remote import Command
from host.resources import Connection
from host.secrets import Secrets

RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """A kubeconfig and what it says about itself."""

    text: str
    cluster_id: str  # SHA-256 of the CA certificate
    client: str  # SHA-256 of the client certificate
    ends: datetime.datetime

    @property
    def days_left(self) -> float:
        return (self.ends - datetime.datetime.now(datetime.UTC)).total_seconds() / 86400


def parse(text: str, server: str, where: str) -> Credentials:
    """Read a kubeconfig and point it at `server`. Raises HostError without any of its content."""
    try:
        config: Any = yaml.safe_load(text)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"])
        client = base64.b64decode(user["client-certificate-data"])
        ends = x509.load_pem_x509_certificate(client).not_valid_after_utc
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        raise HostError(
            f"{where}: /etc/kubernetes/admin.conf is not a kubeconfig with embedded certificates; kubeadm writes one. "
            "Run `kubeadm init phase kubeconfig admin` on the node."
        ) from None
    cluster["server"] = server
    return Credentials(
        yaml.safe_dump(config, sort_keys=True),
        hashlib.sha256(authority).hexdigest(),
        hashlib.sha256(client).hexdigest(),
        ends,
    )


async def fetch(connections: Connections, peers: Sequence[Connection], server: str, secrets: Secrets) -> Credentials:
    """The credentials of the first peer that answers and has them. Raises Unreachable if none does."""
    silent: list[str] = []
    for peer in peers:
        try:
            result = await connections.run(peer, Command.own("read_kubeconfig.sh", deadline=30))
        except (Unreachable, Refused) as error:
            silent.append(str(error))
            continue
        if result.status:
            silent.append(f"{peer.node}: {result.reason()}.")
            continue
        secrets.add(result.text)
        return parse(result.text, server, peer.node)
    raise Unreachable(
        "kubeconfig: no control plane could give it; one that answers and has joined is needed. "
        + (" ".join(silent) or "The list of peers is empty.")
    )
