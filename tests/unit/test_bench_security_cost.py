"""The variants of bench/security_cost.py and its table."""

from __future__ import annotations

from pathlib import Path

from bench.security_cost import VARIANTS, Measured, table
from components.settings.parse import parse
from components.settings.stack_file import plain_values
from tests.support.stack import Stack


def test_each_variant_is_a_valid_config_and_the_checked_in_one_is_among_them(tmp_path: Path) -> None:
    stack, secure = Stack("lab", tmp_path), plain_values("lab")
    for variant in VARIANTS:
        changed = variant.of(stack)
        settings = parse(secure | {key: changed.setting(key) for key in ("ingress", "kubernetes")})
        assert (settings.ingress.tls.on, settings.kubernetes.network_policies) == (variant.https, variant.policies)
    assert parse(secure).ingress.tls.on
    assert stack.setting("ingress") == secure["ingress"], "the stack's own config is left alone"


def test_ratios_are_of_the_first_row() -> None:
    lines = table([(VARIANTS[0], Measured(100, 200, 50, 0)), (VARIANTS[1], Measured(110, 260, 45, 1))])
    assert lines[2:] == [
        "| neither | 100.0 (1.00) | 200.0 (1.00) | 50.0 (1.00) | 0 |",
        "| https | 110.0 (1.10) | 260.0 (1.30) | 45.0 (0.90) | 1 |",
    ]
