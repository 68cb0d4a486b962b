"""The type `PrivateCertificate`: an authority and a server certificate, kept in the state with both keys encrypted. Contacts
nobody. The authority outlives its certificates, because every client that trusts it would have to be told of another one."""

from __future__ import annotations

from typing import Any

from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host import authority
from host.certificates import KeyPair
from host.kinds import Kind, differs
from host.values import UNKNOWN, Properties, plain, property_of


class PrivateCertificateType(Kind):
    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        old, new = plain(request.old_state, self.run.secrets.add), plain(request.new_inputs)
        say, server = self.run.reporter(request.urn), new["names"][0]
        renewed = []
        if authority.authority_due(old.get("authority") or ""):
            say.warning(
                f"{server}: the authority comes to its end and is renewed with the same key. Give clients the new one: the "
                "stack output `ingressCa`."
            )
            renewed.append("authority")
        changed = [key for key in ("names", "addresses") if old.get(key) != new.get(key)]
        if changed:
            say.info(f"{server}: a new certificate for other names, of the same authority")
            return differs(*changed, *renewed)
        if renewed or authority.leaf_due(old.get("certificate") or ""):
            say.info(f"{server}: the certificate comes to its end and is renewed")
            return differs(*renewed, "certificate", "privateKey", inputs=False)
        return differs()

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        outputs = self._outputs(request.properties, {}, request.preview)
        return rpc.CreateResponse(None if request.preview else request.name, outputs)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        old = plain(request.olds, self.run.secrets.add)
        return rpc.UpdateResponse(self._outputs(request.news, old, request.preview))

    def _outputs(self, inputs: Properties, old: dict[str, Any], preview: bool) -> Properties:
        signer = _kept(old)
        if signer is None and not preview:
            signer = authority.make_authority(_former(old))
            self.run.secrets.add(signer.private_key)
        leaf = None
        if signer is not None and not preview:
            wanted = plain(inputs)
            leaf = authority.make_leaf(signer, wanted["names"], wanted["addresses"])
            self.run.secrets.add(leaf.private_key)
        return {
            "authority": _known(signer.certificate if signer else None),
            "authorityKey": _known(signer.private_key if signer else None, secret=True),
            "certificate": _known(leaf.certificate if leaf else None),
            "privateKey": _known(leaf.private_key if leaf else None, secret=True),
        }


def _former(old: dict[str, Any]) -> KeyPair | None:
    certificate, key = old.get("authority"), old.get("authorityKey")
    return KeyPair(certificate, key) if certificate and key else None


def _kept(old: dict[str, Any]) -> KeyPair | None:
    """The authority of the state, unless it is to be renewed."""
    former = _former(old)
    return None if former is None or authority.authority_due(former.certificate) else former


def _known(text: str | None, secret: bool = False) -> PropertyValue:
    return PropertyValue(UNKNOWN, secret) if text is None else property_of(text, secret=secret)
