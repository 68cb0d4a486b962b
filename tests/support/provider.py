"""The provider without the engine: the same calls in the same order as the engine makes them, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host.provider import Host
from host.values import Properties, plain, property_of

T = TypeVar("T")


@dataclass(frozen=True)
class Secret:
    """Marks a text as secret, as `pulumi.Output.secret` does."""

    text: str


def to_property(value: Any) -> PropertyValue:
    if isinstance(value, Secret):
        return PropertyValue(value.text, is_secret=True)
    if isinstance(value, dict):
        return PropertyValue({key: to_property(child) for key, child in value.items()})
    if isinstance(value, (list, tuple)):
        return PropertyValue([to_property(child) for child in value])
    return property_of(value)


def to_properties(values: dict[str, Any]) -> Properties:
    return {key: to_property(value) for key, value in values.items()}


def file(content: str | Secret, mode: str = "0644", owner: str = "root:root") -> dict[str, Any]:
    """An entry of `files`, as the program sends it."""
    return {"content": content, "mode": mode, "owner": owner}


@dataclass
class Known:
    """What the engine's state holds of one resource."""

    type: str
    name: str
    inputs: Properties
    outputs: Properties

    @property
    def urn(self) -> str:
        return f"urn:pulumi:test::test::{self.type}::{self.name}"

    def merged(self) -> Properties:
        return self.inputs | self.outputs


class Refusal(AssertionError):
    """The check found failures."""


@dataclass
class Engine:
    """One run: a configured provider. `messages` holds (severity, text) of what the user would see."""

    config: dict[str, Any]
    host: Host = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    def __post_init__(self) -> None:
        self.host = Host(None)
        self.loop = asyncio.new_event_loop()
        args = to_properties(self.config)
        self.wait(self.host.configure(rpc.ConfigureRequest({}, args, accept_secrets=True, accept_resources=False)))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def together(self, *work: Coroutine[Any, Any, T]) -> list[T | BaseException]:
        async def all_of() -> list[T | BaseException]:
            return await asyncio.gather(*work, return_exceptions=True)

        return self.wait(all_of())

    @property
    def messages(self) -> list[tuple[str, str]]:
        return [(severity, message) for severity, _, message in self.host.engine.sent]

    def texts(self, severity: str) -> str:
        return "\n".join(message for found, message in self.messages if found == severity)

    async def check_async(self, kind: str, name: str, inputs: dict[str, Any]) -> Known:
        known = Known(f"host:index:{kind}", name, to_properties(inputs), {})
        response = await self.host.check(rpc.CheckRequest(known.urn, {}, known.inputs, b""))
        if response.failures:
            raise Refusal("\n".join(f"{failure.property}: {failure.reason}" for failure in response.failures))
        known.inputs = dict(response.inputs or {})
        return known

    async def create_async(self, kind: str, name: str, inputs: dict[str, Any], preview: bool = False) -> Known:
        known = await self.check_async(kind, name, inputs)
        response = await self.host.create(rpc.CreateRequest(known.urn, known.inputs, 0, preview))
        known.outputs = dict(response.properties)
        return known

    async def diff_async(self, known: Known, inputs: dict[str, Any] | None = None) -> rpc.DiffResponse:
        news = known.inputs
        if inputs is not None:
            news = (await self.check_async(known.type.rpartition(":")[2], known.name, inputs)).inputs
        return await self.host.diff(rpc.DiffRequest(known.urn, known.name, known.merged(), news, []))

    async def update_async(self, known: Known, inputs: dict[str, Any]) -> Known:
        fresh = await self.check_async(known.type.rpartition(":")[2], known.name, inputs)
        request = rpc.UpdateRequest(known.urn, known.name, known.merged(), fresh.inputs, 0, [], False)
        fresh.outputs = dict((await self.host.update(request)).properties)
        return fresh

    def create(self, kind: str, name: str, inputs: dict[str, Any], preview: bool = False) -> Known:
        return self.wait(self.create_async(kind, name, inputs, preview))

    def diff(self, known: Known, inputs: dict[str, Any] | None = None) -> list[str]:
        """The paths of the detailed diff."""
        return sorted(self.wait(self.diff_async(known, inputs)).detailed_diff)

    def update(self, known: Known, inputs: dict[str, Any]) -> Known:
        return self.wait(self.update_async(known, inputs))

    def read(self, known: Known) -> dict[str, Any]:
        request = rpc.ReadRequest(known.urn, known.name, known.outputs, known.inputs)
        outputs: dict[str, Any] = plain(self.wait(self.host.read(request)).properties)
        return outputs

    def delete(self, known: Known) -> None:
        self.wait(self.host.delete(rpc.DeleteRequest(known.urn, known.name, known.merged(), 0)))
