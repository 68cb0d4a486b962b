"""The types that only look: `Facts` of a node, the `Gate` on findings, the cluster's `Kubeconfig`."""

from __future__ import annotations

from typing import Any

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host import kubeconfig
from host.desired import connection_from
from host.errors import DeadlineExceeded, HostError, Unreachable
from host.facts import changed, read_facts
from host.kinds import Kind, differs
from host.messages import Reporter
from host.values import UNKNOWN, Properties, has_unknown, plain, property_of


class FactsType(Kind):
    """Read in preview too, so that checks on them run before anything is changed."""

    async def _read(self, properties: Properties) -> dict[str, Any]:
        return await read_facts(self.run.applier.connections, connection_from(plain(properties["connection"])))

    async def _try(self, properties: Properties, report: Reporter) -> dict[str, Any] | None:
        """The facts, or None with a warning where the node is away."""
        node = plain(properties["connection"])["node"]
        if not self.run.contact or has_unknown(plain(properties["connection"])):
            return None
        try:
            return await self._read(properties)
        except (Unreachable, DeadlineExceeded) as error:
            report.warning(f"{node}: unknown: {str(error).removeprefix(f'{node}: ')}")
            return None

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        facts = await self._try(request.new_inputs, self.run.reporter(request.urn))
        if facts is None:
            return differs()
        before = plain(request.old_state).get("facts") or {}
        keys = changed(before, facts)
        if not keys:
            return differs()
        self.run.facts[request.urn] = facts
        if before:
            node = plain(request.new_inputs["connection"])["node"]
            self.run.reporter(request.urn).info(
                f"{node}: changed: " + ", ".join(f"{key} {before.get(key)} -> {facts[key]}" for key in keys)
            )
        return differs("facts", inputs=False)

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            facts = await self._try(request.properties, self.run.reporter(request.urn))
            known = PropertyValue(UNKNOWN) if facts is None else property_of(facts)
            return rpc.CreateResponse(None, {"facts": known})
        self.run.must_contact(request.name)
        return rpc.CreateResponse(request.name, {"facts": property_of(await self._read(request.properties))})

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        facts = self.run.facts.pop(request.urn, None) or await self._try(request.news, self.run.reporter(request.urn))
        return rpc.UpdateResponse({"facts": request.olds["facts"] if facts is None else property_of(facts)})

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        facts = await self._try(request.inputs, self.run.reporter(request.urn)) if request.inputs else None
        outputs = request.properties if facts is None else {"facts": property_of(facts)}
        return rpc.ReadResponse(request.resource_id, outputs, request.inputs)


class GateType(Kind):
    """Stops a run, in preview too, with all findings at once. Holds nothing."""

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        inputs = plain(request.new_inputs)
        warnings = inputs.get("warnings") or []
        if warnings and not has_unknown(warnings):
            self.run.reporter(request.urn).warning("\n".join(warnings))
        findings = inputs.get("findings") or []
        failures = [] if has_unknown(findings) else [rpc.CheckFailure("", finding) for finding in findings]
        return rpc.CheckResponse(inputs=request.new_inputs, failures=failures)


class KubeconfigType(Kind):
    """The administrator's credentials. Judged by what is recorded; a peer is asked once whether they are still its own."""

    def _outputs(self, credentials: kubeconfig.Credentials) -> Properties:
        return {
            "kubeconfig": property_of(credentials.text, secret=True),
            "clusterId": property_of(credentials.cluster_id),
        }

    async def _fetch(self, properties: Properties) -> kubeconfig.Credentials:
        inputs = plain(properties)
        peers = [connection_from(peer) for peer in inputs["peers"]]
        return await kubeconfig.fetch(self.run.applier.connections, peers, inputs["server"], self.run.secrets)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        old, new = plain(request.old_state, self.run.secrets.add), plain(request.new_inputs)
        if old.get("server") != new.get("server"):
            return differs("server")
        if not self.run.contact or has_unknown(new):
            return differs()
        if not old.get("kubeconfig"):
            return differs("kubeconfig", inputs=False)
        report = self.run.reporter(request.urn)
        try:
            recorded = kubeconfig.parse(old["kubeconfig"], new["server"], "state")
            current = await self._fetch(request.new_inputs)
        except (Unreachable, DeadlineExceeded) as error:
            report.warning(f"unknown: {error}")
            return differs()
        if current.cluster_id != recorded.cluster_id:
            report.info("kubeconfig: drifted: the cluster has another certificate authority")
            return differs("clusterId", "kubeconfig", inputs=False)
        if recorded.days_left < kubeconfig.RENEW_DAYS:
            if current.client != recorded.client:
                report.info(
                    f"kubeconfig: drifted: the client certificate ends on {recorded.ends:%Y-%m-%d}, a newer one is there"
                )
                return differs("kubeconfig", inputs=False)
            report.warning(
                f"kubeconfig: the client certificate ends on {recorded.ends:%Y-%m-%d}; it is renewed {kubeconfig.RENEW_DAYS} "
                "days before its end. Run `kubeadm certs renew admin.conf` on the control planes."
            )
        return differs()

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            later = PropertyValue(UNKNOWN)
            return rpc.CreateResponse(None, {"kubeconfig": later.with_secret(True), "clusterId": later})
        self.run.must_contact(request.name)
        return rpc.CreateResponse(request.name, self._outputs(await self._fetch(request.properties)))

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        if request.preview:
            later = PropertyValue(UNKNOWN)
            return rpc.UpdateResponse({"kubeconfig": later.with_secret(True), "clusterId": later})
        self.run.must_contact(request.name)
        return rpc.UpdateResponse(self._outputs(await self._fetch(request.news)))

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        outputs = request.properties
        if request.inputs and self.run.contact:
            try:
                outputs = self._outputs(await self._fetch(request.inputs))
            except HostError as error:
                self.run.reporter(request.urn).warning(f"unknown: {error}")
        return rpc.ReadResponse(request.resource_id, outputs, request.inputs)
