"""The `host` provider: what each resource type does when the engine checks, compares, creates, reads, updates, deletes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi.provider.experimental import provider as rpc

from host.applying import Applier
from host.certificate_kind import ServingCertificateType
from host.checkout import Texts
from host.configuration import ConfigurationType
from host.connections import Connections
from host.desired import connection_from
from host.dialling import Settings
from host.errors import HostError
from host.identity import Identity
from host.key_pair_kind import KeyPairType
from host.kinds import Kind, Run
from host.known_hosts import KnownHosts
from host.messages import Engine
from host.private_certificate_kind import PrivateCertificateType
from host.resources import ROOT
from host.rounds import RoundsType
from host.secrets import Secrets
from host.values import UNKNOWN, plain
from host.views import FactsType, GateType, KubeconfigType
from host.waits import AllocatableType, CertificateIssuedType, DaemonsReadyType

SCHEMA = {"name": "host", "version": "0.1.0", "resources": {}}


class Host(rpc.Provider):
    """Dispatches by resource type; one instance serves one run of the engine."""

    def __init__(self, engine_address: str | None) -> None:
        self.secrets = Secrets()
        self.engine = Engine(engine_address, self.secrets)
        self._run: Run | None = None
        self._texts = Texts()

    def kind(self, token: str) -> Kind:
        run = self._run
        if run is None:
            raise HostError("host: the provider is not configured; a `HostProvider` resource is needed. Declare one.")
        kinds: dict[str, type[Kind]] = {
            "host:index:Allocatable": AllocatableType,
            "host:index:Configuration": ConfigurationType,
            "host:index:DaemonsReady": DaemonsReadyType,
            "host:index:CertificateIssued": CertificateIssuedType,
            "host:index:Facts": FactsType,
            "host:index:Gate": GateType,
            "host:index:KeyPair": KeyPairType,
            "host:index:Kubeconfig": KubeconfigType,
            "host:index:PrivateCertificate": PrivateCertificateType,
            "host:index:Rounds": RoundsType,
            "host:index:ServingCertificate": ServingCertificateType,
        }
        token = token.rsplit("$", 1)[-1]  # the types of the parents stand in front
        try:
            return kinds[token](run)
        except KeyError:
            raise HostError(
                f"host: `{token}` is no type of this provider; it has {', '.join(kinds)}. Correct it."
            ) from None

    async def get_schema(self, request: rpc.GetSchemaRequest) -> rpc.GetSchemaResponse:  # noqa: ARG002
        return rpc.GetSchemaResponse(schema=json.dumps(SCHEMA))

    async def configure(self, request: rpc.ConfigureRequest) -> rpc.ConfigureResponse:
        inputs = {key: value for key, value in plain(request.args, self.secrets.add).items() if value != UNKNOWN}
        contact = inputs.get("contact", "always") == "always"
        settings = settings_from(inputs, contact)
        connections = Connections(settings)
        self._run = Run(
            contact=contact,
            applier=Applier(connections, self._texts, self.secrets),
            engine=self.engine,
            secrets=self.secrets,
        )
        return rpc.ConfigureResponse(
            accept_secrets=True, supports_preview=True, accept_resources=False, accept_outputs=False
        )

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        return await self.kind(request.type).check(request)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        return await self.kind(request.type).diff(request)

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        return await self.kind(request.type).create(request)

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        return await self.kind(request.type).read(request)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        return await self.kind(request.type).update(request)

    async def delete(self, request: rpc.DeleteRequest) -> None:
        await self.kind(request.type).delete(request)

    async def cancel(self) -> None:
        if self._run is not None:
            await self._run.applier.connections.stop()

    async def finish(self) -> None:
        """Return when nothing runs on a node any more that was begun here."""
        if self._run is not None:
            await self._run.applier.connections.finish()


def settings_from(inputs: Mapping[str, Any], contact: bool) -> Settings:
    """Build the connections' settings from the provider's plain inputs. Without contact, nothing has to exist."""
    if not contact:
        return Settings(identity=None, known_hosts=KnownHosts())
    known = inputs.get("knownHosts")
    file = inputs.get("privateKeyFile")
    jump = inputs.get("jump")
    bastion = None
    if jump:
        spec = json.loads(jump) if isinstance(jump, str) else jump
        keys = spec.get("hostKeys") or spec.get("host_keys") or []
        address = str(spec["address"])
        bastion = connection_from({**spec, "node": f"bastion {address}", "hostKeys": keys})
    return Settings(
        identity=Identity(inputs.get("privateKey"), str(rooted(file)) if file else None),
        known_hosts=KnownHosts.read(rooted(known)) if known else KnownHosts(),
        jump=bastion,
        connect_timeout=float(inputs.get("connectTimeoutSeconds", 5)),
        reboot_timeout=float(inputs.get("rebootTimeoutSeconds", 600)),
    )


def rooted(path: str) -> Path:
    """A path as typed by the user: absolute, from the home folder, or relative to the project."""
    return ROOT / Path(path).expanduser()
