"""The type `ServingCertificate`: made once, kept in the state with its key encrypted, renewed in time. Contacts nobody."""

from __future__ import annotations

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host import certificates
from host.kinds import Kind, differs
from host.values import UNKNOWN, Properties, has_unknown, plain, property_of


class ServingCertificateType(Kind):
    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        old, new = plain(request.old_state, self.run.secrets.add), plain(request.new_inputs)
        if old.get("names") != new.get("names"):
            return differs("names")
        if certificates.due(old.get("certificate") or ""):
            self.run.reporter(request.urn).info(f"{new['names'][0]}: the certificate comes to its end and is renewed")
            return differs("certificate", "privateKey", inputs=False)
        return differs()

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        outputs = self._outputs(request.properties, request.preview)
        return rpc.CreateResponse(None if request.preview else request.name, outputs)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        return rpc.UpdateResponse(self._outputs(request.news, request.preview))

    def _outputs(self, inputs: Properties, preview: bool) -> Properties:
        names = plain(inputs["names"])
        if preview or has_unknown(names):
            later = PropertyValue(UNKNOWN)
            return {"certificate": later, "privateKey": later.with_secret(True)}
        made = certificates.make(names)
        self.run.secrets.add(made.private_key)
        return {
            "certificate": property_of(made.certificate),
            "privateKey": property_of(made.private_key, secret=True),
        }
