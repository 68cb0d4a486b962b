"""The resource graph of a program, recorded without an engine: parents, dependencies and options, which mocks do not show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc, settings


@dataclass(frozen=True, slots=True)
class Resource:
    """One registered resource. `inputs` are plain; a secret shows as `Secret`."""

    type: str
    name: str
    urn: str
    parent: str
    dependencies: frozenset[str]
    protect: bool
    inputs: dict[str, Any]
    ignore_changes: tuple[str, ...] = ()
    create_timeout: str = ""
    provider: str = ""  # `urn::id` of the one it was given; empty: the engine's default provider


@dataclass(frozen=True, slots=True)
class Secret:
    """Stands for a secret value in recorded inputs."""

    value: Any


class _Answers(mocks.Mocks):
    """Resources come out as they went in, with the outputs a provider would add."""

    def __init__(self, outputs: Callable[[mocks.MockResourceArgs], dict[str, Any]]) -> None:
        self.outputs = outputs

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return f"{args.name}-id", {**args.inputs, **self.outputs(args)}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"{args.token}: the layers call no function of a provider")


class _Recorder(mocks.MockMonitor):
    def __init__(self, answers: _Answers) -> None:
        super().__init__(answers)
        self.found: list[Resource] = []

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            self.found.append(
                Resource(
                    type=request.type,
                    name=request.name,
                    urn=self.make_urn(request.parent, request.type, request.name),
                    parent=request.parent,
                    dependencies=frozenset(request.dependencies),
                    protect=request.protect,
                    inputs=_inputs(request),
                    ignore_changes=tuple(request.ignoreChanges),
                    create_timeout=request.customTimeouts.create,
                    provider=request.provider,
                )
            )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def _inputs(request: Any) -> dict[str, Any]:
    """For one secret entry all of a mapping comes out as secret; of a node's files each is told apart here."""
    read = rpc.deserialize_properties(request.object)
    if request.type == "host:index:Configuration" and "files" in read:
        files = request.object.fields["files"].struct_value.fields
        read["files"] = {path: rpc.deserialize_property(file.struct_value) for path, file in files.items()}
    plain: dict[str, Any] = _plain(read)
    return plain


def _plain(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return Secret(_plain(rpc.unwrap_rpc_secret(value)))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class Graph:
    """What one run of a program registered."""

    def __init__(self, resources: list[Resource]) -> None:
        self.resources = resources
        self.by_urn = {resource.urn: resource for resource in resources}

    def named(self, name: str) -> Resource:
        (found,) = [resource for resource in self.resources if resource.name == name]
        return found

    def of_type(self, type_: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type == type_]

    def dependency_names(self, name: str) -> set[str]:
        """Names of the resources that `name` waits for."""
        return {self.by_urn[urn].name for urn in self.named(name).dependencies if urn in self.by_urn}


def record(program: Callable[[], object], outputs: Callable[[mocks.MockResourceArgs], dict[str, Any]]) -> Graph:
    """Run `program` in an event loop of its own. `outputs` gives what each resource's provider would add."""
    answers = _Answers(outputs)
    recorder = _Recorder(answers)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        # A program's transformations stay with its root, and would reach the next program.
        settings.ROOT.set(None)
        mocks.set_mocks(answers, project="qwen3-vl", stack="test", preview=False, monitor=recorder)

        @pulumi.runtime.test  # type: ignore[untyped-decorator]
        def run() -> None:
            program()

        run()
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    return Graph(recorder.found)
