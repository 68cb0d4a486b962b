"""What every settings model shares: camelCase keys as typed in the YAML, no unknown keys, immutable, no secret echoed."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Base of all settings models; error paths read exactly like the YAML the user typed."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )


def model_in(annotation: Any) -> type[Model] | None:
    """The model a field holds: itself, optional, or as a list's items; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part))), None)
