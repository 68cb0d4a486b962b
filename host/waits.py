"""The type that waits for a DaemonSet's roll-out: `DaemonsReady`."""

from __future__ import annotations

from typing import Any

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host.daemons import Progress, look, named, wait_for
from host.desired import connection_from
from host.errors import DeadlineExceeded, HostError, Unreachable
from host.kinds import Kind, differs
from host.messages import Reporter
from host.values import UNKNOWN, Properties, has_unknown, plain, property_of


class DaemonsReadyType(Kind):
    """Waited for when the DaemonSet changed. The output `passedOver` lists the nodes that were away then."""

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        old, new = plain(request.old_state), plain(request.new_inputs)
        changed = [key for key in ("namespace", "daemonSet", "generation") if old.get(key) != new.get(key)]
        passed_over = frozenset(old.get("passedOver") or ())
        if changed or not passed_over or not self.run.contact or has_unknown(new):
            return differs(*changed)
        try:
            seen = await self._look(new)
        except (Unreachable, DeadlineExceeded) as error:
            self.run.reporter(request.urn).warning(f"unknown: {error}")
            return differs()
        if passed_over <= seen.away:
            self._told(new, seen, self.run.reporter(request.urn))
            return differs()
        return differs("passedOver", inputs=False)

    async def _look(self, inputs: dict[str, Any]) -> Progress:
        peers = [connection_from(peer) for peer in inputs["peers"]]
        return await look(self.run.applier.connections, peers, inputs["namespace"], inputs["daemonSet"])

    def _told(self, inputs: dict[str, Any], seen: Progress, report: Reporter) -> None:
        report.warning(
            f"{named(seen.away)}: not ready, so what {inputs['namespace']}/{inputs['daemonSet']} does there is unknown; "
            "the next run looks again."
        )

    async def _wait(self, properties: Properties, urn: str) -> Properties:
        inputs, report = plain(properties), self.run.reporter(urn)
        peers = [connection_from(peer) for peer in inputs["peers"]]
        daemon_set, deadline = (inputs["namespace"], inputs["daemonSet"]), inputs["deadlineSeconds"]
        seen = await wait_for(self.run.applier.connections, peers, daemon_set, deadline, report)
        if not seen.complete:
            where = f"{named(seen.waiting)}: no pod of" if seen.waiting else "nodes: too few pods of"
            raise HostError(
                f"{where} {'/'.join(daemon_set)} is ready after {deadline} s ({seen}); what needs them would fail there. "
                f"{inputs['remedy']}"
            )
        if seen.away:
            self._told(inputs, seen, report)
        return {"passedOver": property_of(sorted(seen.away))}

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            return rpc.CreateResponse(None, {"passedOver": PropertyValue(UNKNOWN)})
        self.run.must_contact(request.name)
        return rpc.CreateResponse(request.name, await self._wait(request.properties, request.urn))

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        if request.preview:
            return rpc.UpdateResponse({"passedOver": PropertyValue(UNKNOWN)})
        self.run.must_contact(request.name)
        return rpc.UpdateResponse(await self._wait(request.news, request.urn))
