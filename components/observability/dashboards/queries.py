"""Expressions that several dashboards need. Pure."""

from __future__ import annotations

from components.observability.dashboards.model import Query

# Four times the longest time between two readings (60 s), so that no gap is drawn where there is none.
WINDOW = "5m"


def or_zero(expr: str) -> str:
    """0 where nothing was counted yet. Of sums without labels only: beside others the 0 would be a line of its own."""
    return f"({expr}) or vector(0)"


def quantiles(metric: str, selector: str, window: str = WINDOW, by: str = "") -> tuple[Query, ...]:
    """Half, nine of ten and ninety-nine of a hundred of a histogram's observations took no longer."""
    group = f"le, {by}" if by else "le"
    rate = f"sum by ({group}) (rate({metric}_bucket{{{selector}}}[{window}]))"
    tail = f" {{{{{by}}}}}" if by else ""
    return tuple(
        Query(expr=f"histogram_quantile({share:g}, {rate})", legend=f"{name}{tail}")
        for share, name in ((0.5, "half"), (0.9, "9 of 10"), (0.99, "99 of 100"))
    )
