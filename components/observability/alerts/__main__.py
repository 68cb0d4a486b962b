"""Writes docs/runbooks/README.md: `python -m components.observability.alerts > docs/runbooks/README.md`."""

from __future__ import annotations

from components.observability.alerts.index import index

print(index(), end="")
