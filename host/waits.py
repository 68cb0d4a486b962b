"""The types that wait for the cluster: for what is `Allocatable` on a node, for `DaemonsReady`, for `CertificateIssued`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host import issued
from host.allocatable import Seen
from host.daemons import Progress, look, named, wait_for
from host.desired import connection_from
from host.errors import DeadlineExceeded, HostError, Unreachable
from host.kinds import Kind, differs
from host.messages import Reporter
from host.values import UNKNOWN, Properties, has_unknown, plain, property_of


class WaitingKind(Kind):
    """Waited for when it is made or changed; never in a preview, where `output` is unknown."""

    output: ClassVar[str]

    @abstractmethod
    async def _wait(self, properties: Properties, urn: str) -> Properties:
        """Returns the output. Raises HostError if what is waited for does not come."""

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            return rpc.CreateResponse(None, {self.output: PropertyValue(UNKNOWN)})
        self.run.must_contact(request.name)
        return rpc.CreateResponse(request.name, await self._wait(request.properties, request.urn))

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        if request.preview:
            return rpc.UpdateResponse({self.output: PropertyValue(UNKNOWN)})
        self.run.must_contact(request.name)
        return rpc.UpdateResponse(await self._wait(request.news, request.urn))


class AllocatableType(WaitingKind):
    """What a node can give to pods. Waited for once; what is lost later is told in every run and holds up nobody else.

    The output `reached` is the amount that was seen; 0 while the node was away when it should have been waited for.
    """

    output = "reached"

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        old, new = plain(request.old_state), plain(request.new_inputs)
        changed = [key for key in ("amount", "resource") if old.get(key) != new.get(key)]
        if changed or not self.run.contact or has_unknown(new):
            return differs(*changed)
        report, node = self.run.reporter(request.urn), new["node"]
        try:
            seen = (await self._look(new)).get(node, Seen())
        except (Unreachable, DeadlineExceeded) as error:
            report.warning(f"{node}: unknown: {error}")
            return differs()
        if seen.ready and not old.get("reached"):
            return differs("reached", inputs=False)
        if not seen.ready or seen.amount < new["amount"]:
            self._lost(new, seen, report)
        return differs()

    async def _look(self, inputs: dict[str, Any]) -> dict[str, Seen]:
        peers = [connection_from(peer) for peer in inputs["peers"]]
        return await self.run.lookout.look(self.run.applier.connections, peers, inputs["resource"])

    def _lost(self, inputs: dict[str, Any], seen: Seen, report: Reporter) -> None:
        report.warning(
            f"{inputs['node']}: {inputs['resource']}: {seen}, wanted {inputs['amount']}; pods that need it do not run there. "
            f"{inputs['remedy']}"
        )

    async def _wait(self, properties: Properties, urn: str) -> Properties:
        inputs, report = plain(properties), self.run.reporter(urn)
        node, amount, deadline = inputs["node"], inputs["amount"], inputs["deadlineSeconds"]
        peers = [connection_from(peer) for peer in inputs["peers"]]
        need = (node, inputs["resource"], amount)
        seen = await self.run.lookout.wait_for(self.run.applier.connections, peers, need, deadline, report)
        if seen.ready and seen.amount >= amount:
            return {"reached": property_of(amount)}
        if seen.ready:
            raise HostError(
                f"{node}: {seen.amount} {inputs['resource']} allocatable after {deadline} s, wanted {amount}; "
                f"what needs them would wait for ever. {inputs['remedy']}"
            )
        self._lost(inputs, seen, report)
        return {"reached": property_of(0)}


class DaemonsReadyType(WaitingKind):
    """Waited for when the DaemonSet changed. The output `passedOver` lists the nodes that were away then."""

    output = "passedOver"

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


class CertificateIssuedType(WaitingKind):
    """Waited for once for each `request`; the output `issuedFor` is the one that the certificate was made for."""

    output = "issuedFor"

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        old, new = plain(request.old_state), plain(request.new_inputs)
        return differs(*(key for key in ("namespace", "secretName", "request") if old.get(key) != new.get(key)))

    async def _wait(self, properties: Properties, urn: str) -> Properties:
        inputs, report = plain(properties), self.run.reporter(urn)
        peers = [connection_from(peer) for peer in inputs["peers"]]
        place, wanted, deadline = (
            (inputs["namespace"], inputs["secretName"]),
            inputs["request"],
            inputs["deadlineSeconds"],
        )
        seen = await issued.wait_for(self.run.applier.connections, peers, place, wanted, deadline, report)
        if not seen.is_for(wanted):
            raise HostError(f"{wanted}: no certificate yet: {seen}. {inputs['remedy']}")
        return {"issuedFor": property_of(wanted)}
