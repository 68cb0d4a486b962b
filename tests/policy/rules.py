"""Every rule of the policy, by what it is about. A new one is listed at the end of its module and gets a case in its test."""

from __future__ import annotations

from tests.policy import availability, firewall, network, pods, rights, schema, trust
from tests.policy.findings import Rule

RULES: tuple[Rule, ...] = (
    *pods.RULES,
    *rights.RULES,
    *availability.RULES,
    *trust.RULES,
    *firewall.RULES,
    *network.RULES,
    *schema.RULES,
)
