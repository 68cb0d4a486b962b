"""The type `Rounds`: one script on several nodes, in rounds that no node begins before all have ended the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pulumi.provider.experimental import provider as rpc

from host.applying import explain
from host.desired import WantedScript, connection_from, script_from
from host.errors import DeadlineExceeded, HostError, Refused, Unreachable
from host.kinds import Kind, differs
from host.messages import Reporter
from host.reading import verdict
from host.resources import Connection
from host.values import Properties, has_unknown, plain, property_of

_SETTLED: Properties = {"settled": property_of(True)}


class RoundsType(Kind):
    """Nothing is begun unless every node answers: a round that passes over one would not be a round."""

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        """A changed environment, and what a node's check says. A node that is away plans nothing."""
        old, new = plain(request.old_state), plain(request.new_inputs)
        if not self.run.contact or has_unknown(new):
            return differs(*(["script.environment"] if _environment(old) != _environment(new) else []))
        report, script = self.run.reporter(request.urn), script_from(new["script"])
        checks = await self._checks(_nodes(new), script)
        _tell_unknown(checks, report)
        drifted = {node: why for node, why in checks.items() if why and not isinstance(why, HostError)}
        for node, why in drifted.items():
            report.info(f"{node}: drifted: script {script.name} ({why})")
        return differs(*(["settled"] if drifted else []), inputs=False)

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            return rpc.CreateResponse(None, _SETTLED)
        await self._all(request.name, plain(request.properties), self.run.reporter(request.urn))
        return rpc.CreateResponse(request.name, _SETTLED)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        if not request.preview:
            await self._all(request.name, plain(request.news), self.run.reporter(request.urn))
        return rpc.UpdateResponse(_SETTLED)

    async def _checks(self, nodes: list[Connection], script: WantedScript) -> dict[str, str | HostError]:
        """By node: why its check says drifted, nothing if it does not, or why it could not be asked."""

        async def ask(node: Connection) -> str | HostError:
            try:
                result = await self.run.applier.connections.run(node, self.run.applier.texts.command(script, "check"))
            except (Unreachable, Refused, DeadlineExceeded) as error:
                return error
            drifted, why = verdict(result.status, result.text + "\n" + result.errors.decode(errors="replace"))
            return why if drifted else ""

        answers = await asyncio.gather(*(ask(node) for node in nodes))
        return {node.node: answer for node, answer in zip(nodes, answers, strict=True)}

    async def _all(self, name: str, inputs: Mapping[str, Any], report: Reporter) -> None:
        self.run.must_contact(name)
        nodes, script = _nodes(inputs), script_from(inputs["script"])
        checks = await self._checks(nodes, script)
        if not any(isinstance(why, str) and why for why in checks.values()):
            _tell_unknown(checks, report)
            return
        if silent := [str(why) for why in checks.values() if isinstance(why, HostError)]:
            raise HostError(
                f"{name}: all of {', '.join(checks)} have to take part; nothing was changed. {' '.join(silent)}"
            )
        for each in inputs["rounds"]:
            given = b""
            for node in nodes:
                report.status(f"{each}: {node.node}")
                given = await self._once(node, script, each, given) or given
        report.info(f"{script.name}: {', '.join(inputs['rounds'])} on {', '.join(checks)}")

    async def _once(self, node: Connection, script: WantedScript, each: str, given: bytes) -> bytes:
        """One node's turn. What the first one prints is secret, and the others' standard input."""
        turn = replace(script, environment={**script.environment, "ROUND": each})
        command = self.run.applier.texts.command(turn, "apply", given, lock=node.node)
        result = await self.run.applier.connections.run(node, command)
        self.run.secrets.add(result.text)
        if result.status:
            raise HostError(f"{node.node}: {script.path} {each} failed (exit {result.status}): {explain(result)}")
        return b"" if given else result.output


def _tell_unknown(checks: Mapping[str, str | HostError], report: Reporter) -> None:
    for node, why in checks.items():
        if isinstance(why, HostError):
            report.warning(f"{node}: unknown: {str(why).removeprefix(node + ': ')}")


def _nodes(inputs: Mapping[str, Any]) -> list[Connection]:
    return [connection_from(node) for node in inputs["nodes"]]


def _environment(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (inputs.get("script") or {}).get("environment") or {}
    return found
