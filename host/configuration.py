"""The type `Configuration`: files, sysctls, packages, units and scripts of one concern on one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host.desired import Desired, applied, problems
from host.errors import DeadlineExceeded, HostError, Unreachable
from host.kinds import Kind, PartlyCreated, differs
from host.messages import Reporter
from host.reading import Drift
from host.removing import remove
from host.values import UNKNOWN, Properties, has_unknown, plain, property_of, replace


class ConfigurationType(Kind):
    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        """Put digests in the place of texts (kept in memory for this run) and refuse what cannot be right."""
        inputs = dict(request.new_inputs)
        if "files" in inputs:
            inputs["files"] = _each(inputs["files"], lambda spec, secret: self._digest(spec, "content", secret))
        for section in ("scripts", "removal"):
            if section in inputs:
                inputs[section] = _each(inputs[section], lambda spec, secret: self._digest(spec, "stdin", secret))
        failures = [rpc.CheckFailure(path, reason) for path, reason in problems(plain(inputs))]
        return rpc.CheckResponse(inputs=inputs, failures=failures)

    def _digest(self, spec: PropertyValue, key: str, secret: bool) -> PropertyValue:
        value: Any = spec.value
        if not isinstance(value, Mapping) or key not in value:
            return spec
        return spec.with_value({**value, key: replace(value[key], self._keep, secret or spec.is_secret)})

    def _keep(self, text: str, secret: bool) -> str:
        if secret:
            self.run.secrets.add(text)
        return self.run.applier.texts.keep(text)

    def _desired(self, inputs: Mapping[str, Any], name: str) -> Desired:
        return Desired.from_inputs(inputs, name, self.run.applier.texts.keep)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        """Changed inputs, and what is not as wanted on the node. A node that is away plans nothing."""
        old, new = plain(request.old_state), plain(request.new_inputs)
        paths = changed_inputs(old, new)
        if self.run.contact:
            desired = self._desired(new, request.name)
            drifts = await self._drifts(desired, self.run.reporter(request.urn))
            names = [script.get("name") for script in new.get("scripts") or () if isinstance(script, dict)]
            paths += [path for path in (_path(drift, new, names) for drift in drifts) if path not in paths]
        return differs(*paths)

    async def _drifts(self, desired: Desired, report: Reporter) -> list[Drift]:
        """Read the node; name each drift to the user. Away or too slow: a warning, nothing known."""
        node = desired.connection.node
        try:
            _, drifts = await self.run.applier.read(desired, scripts=True)
        except (Unreachable, DeadlineExceeded) as error:
            report.warning(f"{node}: unknown: {str(error).removeprefix(node + ': ')}")
            return []
        if drifts:
            report.info("\n".join(f"{node}: drifted: {drift}" for drift in drifts))
        return drifts

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        inputs = plain(request.properties)
        outputs = self._outputs(request.properties, inputs)
        if request.preview:
            return rpc.CreateResponse(None, outputs)
        self.run.must_contact(request.name)
        report, desired = self.run.reporter(request.urn), self._desired(inputs, request.name)
        try:
            changed = await self.run.applier.apply(desired, {}, report)
        except HostError as error:
            if not self.run.applier.connections.place(desired.connection).reached:
                raise
            raise PartlyCreated(str(error), request.name, outputs, request.properties) from error
        if not changed:
            report.info(f"{desired.connection.node}: already as wanted; adopted without a change")
        return rpc.CreateResponse(request.name, outputs)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        inputs = plain(request.news)
        outputs = self._outputs(request.news, inputs)
        if request.preview:
            return rpc.UpdateResponse(outputs)
        self.run.must_contact(request.name)
        desired = self._desired(inputs, request.name)
        before = Desired.from_inputs(plain(request.olds), request.name).files
        dropped = {path: file.sha256 for path, file in before.items() if path not in desired.files}
        await self.run.applier.apply(desired, dropped, self.run.reporter(request.urn))
        return rpc.UpdateResponse(outputs)

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        """Refresh: the output `drift` names what is not as wanted. A node that is away keeps what is recorded."""
        if not request.inputs:
            raise HostError(
                f"{request.name}: cannot be imported from a node alone; a create adopts it as it is. "
                "Declare it and run `pulumi up`."
            )
        inputs, outputs = plain(request.inputs), dict(request.properties)
        if self.run.contact:
            desired = self._desired(inputs, request.name)
            try:
                _, drifts = await self.run.applier.read(desired, scripts=True)
                outputs["drift"] = property_of([str(drift) for drift in drifts])
            except (Unreachable, DeadlineExceeded) as error:
                self.run.reporter(request.urn).warning(f"unknown: {error}")
        return rpc.ReadResponse(request.resource_id, outputs, request.inputs)

    async def delete(self, request: rpc.DeleteRequest) -> None:
        inputs = plain(request.properties)
        desired = self._desired(inputs, request.name)
        if desired.removal:
            self.run.must_contact(request.name)
            await remove(self.run.applier, desired, self.run.reporter(request.urn))

    def _outputs(self, properties: Properties, inputs: Mapping[str, Any]) -> Properties:
        state = {key: value for key, value in inputs.items() if key != "peers"}
        if has_unknown(state):
            return {"applied": PropertyValue(UNKNOWN), "drift": property_of([])}
        secret: set[str] = set()
        plain(properties, secret.add)
        return {"applied": property_of(applied(inputs, secret)), "drift": property_of([])}


def changed_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Property paths that differ and mean work on the node. Peers, addresses and removal are only recorded."""
    paths = []
    for section in ("files", "sysctls", "packages", "units"):
        before, after = old.get(section) or {}, new.get(section) or {}
        if not isinstance(after, Mapping) or not isinstance(before, Mapping):
            paths.append(section)
            continue
        # A package or unit that is no longer named stays as it is; a file or sysctl of ours goes.
        gone = before.keys() - after.keys() if section in ("files", "sysctls") else set()
        paths += [f'{section}["{key}"]' for key in after if before.get(key) != after[key]]
        paths += [f'{section}["{key}"]' for key in sorted(gone)]
    before = {script["name"]: script for script in old.get("scripts") or ()}
    for index, script in enumerate(new.get("scripts") or ()):
        # A script's text or place is no change by itself: its check says whether there is work.
        known = before.get(script["name"])
        if known is not None:
            for key in ("environment", "stdin"):
                if (known.get(key) or None) != (script.get(key) or None):
                    paths.append(f"scripts[{index}].{key}")
        elif has_unknown(script):
            paths.append(f"scripts[{index}]")
    return paths


def _path(drift: Drift, inputs: Mapping[str, Any], names: list[Any]) -> str:
    """Where a drift stands in the inputs, for the engine's display."""
    if drift.section == "scripts":
        return f"scripts[{names.index(drift.key)}]{drift.leaf}"
    section = inputs.get(drift.section)
    known = isinstance(section, Mapping) and drift.key in section
    return f'{drift.section}["{drift.key}"]{drift.leaf}' if known else "sysctls"  # the file made of them


def _each(value: PropertyValue, change: Any) -> PropertyValue:
    """Apply `change(child, secret)` to the entries of a mapping or list."""
    inner: Any = value.value
    if isinstance(inner, Mapping):
        return value.with_value({key: change(child, value.is_secret) for key, child in inner.items()})
    if isinstance(inner, (list, tuple)):
        return value.with_value([change(child, value.is_secret) for child in inner])
    return value
