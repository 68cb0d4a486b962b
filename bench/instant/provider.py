"""A provider that answers at once, for `bench.engine`: same types and inputs as the host provider, no host behind it."""

from __future__ import annotations

import sys

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import main


class Instant(rpc.Provider):
    """Every create succeeds, nothing ever differs."""

    async def get_schema(self, request: rpc.GetSchemaRequest) -> rpc.GetSchemaResponse:  # noqa: ARG002
        return rpc.GetSchemaResponse(schema='{"name":"host","version":"0.1.0","resources":{}}')

    async def configure(self, request: rpc.ConfigureRequest) -> rpc.ConfigureResponse:  # noqa: ARG002
        return rpc.ConfigureResponse(
            accept_secrets=True, supports_preview=True, accept_resources=False, accept_outputs=False
        )

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        return rpc.CheckResponse(inputs=request.new_inputs)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:  # noqa: ARG002
        return rpc.DiffResponse(changes=False, diffs=[])

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        return rpc.CreateResponse(resource_id=request.name, properties={"applied": PropertyValue("0" * 64)})

    async def delete(self, request: rpc.DeleteRequest) -> None:  # noqa: ARG002
        return None


if __name__ == "__main__":
    main(sys.argv[1:], "0.1.0", Instant())
