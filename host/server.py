"""The plugin's process: gRPC in, one clear message out for every failure. Started by plugin/pulumi-resource-host."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc  # type: ignore[import-untyped]
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from host.errors import HostError
from host.kinds import PartlyCreated
from host.provider import Host

VERSION = "0.1.0"
ENGINE_GONE_SECONDS = 1.0
Handler = Callable[[Any, Any], Awaitable[Any]]


class Servicer(ProviderServicer):
    """The SDK's plumbing, with the old inputs put beside the old outputs and errors without tracebacks.

    Our outputs do not repeat the inputs (that would double the state), so the old inputs must come from the request.
    """

    def __init__(self, host: Host, engine_address: str) -> None:
        super().__init__([], VERSION, host, engine_address)
        self._host = host

    async def _guarded(self, handler: Handler, request: Any, context: Any) -> Any:
        try:
            return await handler(request, context)
        except PartlyCreated as error:
            await context.abort_with_status(partly_created(error, self._host.secrets.redact(str(error))))
        except HostError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, self._host.secrets.redact(str(error)))
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            urn = getattr(request, "urn", "")
            self._host.engine.log(engine_pb2.DEBUG, traceback.format_exc(), urn)
            message = (
                f"host: internal error {type(error).__name__}: {error}; this is a defect. Report it with --debug's log."
            )
            await context.abort(grpc.StatusCode.INTERNAL, self._host.secrets.redact(message))

    async def Configure(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Configure, request, context)

    async def Check(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Check, request, context)

    async def Diff(self, request: Any, context: Any) -> Any:
        _merge(request.olds, request.old_inputs)
        return await self._guarded(super().Diff, request, context)

    async def Create(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Create, request, context)

    async def Read(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Read, request, context)

    async def Update(self, request: Any, context: Any) -> Any:
        _merge(request.olds, request.old_inputs)
        return await self._guarded(super().Update, request, context)

    async def Delete(self, request: Any, context: Any) -> Any:
        _merge(request.properties, request.old_inputs)
        return await self._guarded(super().Delete, request, context)


def _merge(outputs: struct_pb2.Struct, inputs: struct_pb2.Struct) -> None:
    for key, value in inputs.fields.items():
        if key not in outputs.fields:
            outputs.fields[key].CopyFrom(value)


def partly_created(error: PartlyCreated, message: str) -> Any:
    """The status by which the engine records a resource whose create failed half-way."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.resource_id,
        properties=PropertyValue.marshal_map(error.outputs),
        inputs=PropertyValue.marshal_map(error.inputs),
        reasons=[message],
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.add().Pack(detail)
    result = cast(Any, grpc.Status())
    result.code, result.details = grpc.StatusCode.UNKNOWN, message
    result.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    return result


async def serve(engine_address: str) -> None:
    """Answer the engine until it ends us; the port goes to standard output, as the engine expects."""
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    host = Host(engine_address)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(host, engine_address), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await engine_gone()
    await host.finish()
    os._exit(0)


async def engine_gone() -> None:
    """Return when the engine's process has ended. It ends its plugins itself, unless it was killed: then nobody does."""
    engine = os.getppid()
    while os.getppid() == engine:
        await asyncio.sleep(ENGINE_GONE_SECONDS)


def main() -> None:
    """Threads may sit in a read from a node that hangs, so the end does not wait for them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    arguments = [word for word in sys.argv[1:] if not word.startswith("-")]
    if len(arguments) != 1:
        sys.exit("host: the engine's address is missing; this program is started by pulumi. Run `pulumi up`.")
    asyncio.run(serve(arguments[0]))


if __name__ == "__main__":
    main()
