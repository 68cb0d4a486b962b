"""What all resource types share: the run they belong to and what the engine asks of a type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pulumi.provider.experimental import provider as rpc

from host.allocatable import Lookout
from host.applying import Applier
from host.errors import HostError
from host.messages import Engine, Reporter
from host.secrets import Secrets
from host.values import Properties


@dataclass
class Run:
    """One run of the engine: its connections, texts and messages."""

    contact: bool
    applier: Applier
    engine: Engine
    secrets: Secrets
    lookout: Lookout = field(default_factory=Lookout)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by URN: read by diff, recorded by update

    def reporter(self, urn: str) -> Reporter:
        return Reporter(self.engine, urn)

    def must_contact(self, name: str) -> None:
        """Raise HostError where the settings forbid what an apply needs."""
        if not self.contact:
            raise HostError(
                f"{name}: ssh.contact is `never`; that is for previews only, an apply contacts the nodes. Set it to `always`."
            )


class PartlyCreated(HostError):
    """A create that failed after it had begun: the state keeps the resource, so the next run goes on with it."""

    def __init__(self, message: str, resource_id: str, outputs: Properties, inputs: Properties) -> None:
        super().__init__(message)
        self.resource_id, self.outputs, self.inputs = resource_id, outputs, inputs


class Kind:
    """One resource type. The defaults are those of a type with nothing on the node."""

    def __init__(self, run: Run) -> None:
        self.run = run

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        return rpc.CheckResponse(inputs=request.new_inputs)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:  # noqa: ARG002
        return rpc.DiffResponse(changes=False)

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        return rpc.CreateResponse(resource_id=request.name)

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        return rpc.ReadResponse(request.resource_id, request.properties, request.inputs)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:  # noqa: ARG002
        return rpc.UpdateResponse()

    async def delete(self, request: rpc.DeleteRequest) -> None:  # noqa: ARG002
        return None


def differs(*paths: str, inputs: bool = True) -> rpc.DiffResponse:
    """A planned update of these properties (paths into the inputs, or into the outputs)."""
    detail = {path: rpc.PropertyDiff(rpc.PropertyDiffKind.UPDATE, input_diff=inputs) for path in paths}
    return rpc.DiffResponse(
        changes=bool(paths), diffs=sorted({path.split("[")[0] for path in paths}), detailed_diff=detail
    )
