"""Faults on demand, for tests of everything around an engine. Off unless asked for.

Set at start by LAB_ENGINE_FAULTS (a JSON object) or while running by `POST /lab/faults`, which answers to loopback only.
The web UI passes `/v1` on and nothing else, so no client of the service reaches it.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, fields


class BadFaults(Exception):
    """Not a set of faults; the text says why."""


@dataclass(frozen=True)
class Faults:
    """Rates are probabilities from 0 to 1, times in seconds."""

    error_rate: float = 0.0
    """Completions answered with status 500."""
    first_token_delay: float = 0.0
    """Added before the first token."""
    token_delay: float = 0.0
    """Added before every token."""
    drop_after_tokens: int = 0
    """The connection is cut after so many tokens; 0 never."""
    hang: bool = False
    """Completions are accepted and never answered."""
    unhealthy: bool = False
    """`/health` answers 503."""
    health_delay: float = 0.0
    """`/health` answers late, as under load."""

    @staticmethod
    def read(text: str) -> Faults:
        """From a JSON object with some of the fields; those left out are off. Raises BadFaults."""
        try:
            given = json.loads(text or "{}")
        except ValueError as error:
            raise BadFaults("not JSON") from error
        known: dict[str, type] = {field.name: type(field.default) for field in fields(Faults)}
        if not isinstance(given, dict) or not set(given) <= set(known):
            raise BadFaults(f"a JSON object with some of {', '.join(known)}")
        try:
            return Faults(**{name: known[name](value) for name, value in given.items()})
        except (TypeError, ValueError) as error:
            raise BadFaults("a value of the wrong type") from error

    def fails(self) -> bool:
        return random.random() < self.error_rate  # noqa: S311

    def shown(self) -> dict[str, object]:
        return asdict(self)
