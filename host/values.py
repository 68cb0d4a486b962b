"""Between the engine's property values and plain Python: unknowns stay visible, secrets are noted on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, PropertyValue]

__all__ = ["UNKNOWN", "Properties", "has_unknown", "plain", "property_of", "replace"]


def plain(value: PropertyValue | Mapping[str, PropertyValue], on_secret: Callable[[str], None] | None = None) -> Any:
    """Return `value` without wrappers; whole numbers become int. Each secret text is reported to `on_secret`."""

    def convert(item: PropertyValue, secret: bool) -> Any:
        secret = secret or item.is_secret
        inner: Any = item.value
        if isinstance(inner, str):
            if secret and on_secret is not None:
                on_secret(inner)
            return inner
        if isinstance(inner, bool) or inner is None:
            return inner
        if isinstance(inner, float):
            return int(inner) if inner.is_integer() else inner
        if isinstance(inner, Mapping):
            return {key: convert(child, secret) for key, child in inner.items()}
        if isinstance(inner, Sequence):
            return [convert(child, secret) for child in inner]
        return inner

    return convert(value if isinstance(value, PropertyValue) else PropertyValue(dict(value)), False)


def property_of(value: Any, secret: bool = False) -> PropertyValue:
    """Wrap plain Python (None, bool, number, str, list, dict) as the engine's value."""
    if isinstance(value, Mapping):
        return PropertyValue({key: property_of(child) for key, child in value.items()}, secret)
    if isinstance(value, (list, tuple)):
        return PropertyValue([property_of(child) for child in value], secret)
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value), secret)
    return PropertyValue(value, secret)


def replace(value: PropertyValue, change: Callable[[str, bool], str], secret: bool = False) -> PropertyValue:
    """Return `value` with every text changed by `change(text, is_secret)`; unknowns and marks stay as they are."""
    secret = secret or value.is_secret
    inner: Any = value.value
    if isinstance(inner, str):
        return value if inner == UNKNOWN else value.with_value(change(inner, secret))
    if isinstance(inner, Mapping):
        return value.with_value({key: replace(child, change, secret) for key, child in inner.items()})
    if isinstance(inner, Sequence):
        return value.with_value([replace(child, change, secret) for child in inner])
    return value


def has_unknown(value: Any) -> bool:
    """Whether plain `value` holds something that is known only later."""
    if isinstance(value, str):
        return value == UNKNOWN
    if isinstance(value, Mapping):
        return any(has_unknown(child) for child in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(child) for child in value)
    return False


def canonical(value: Any) -> str:
    """One text for equal values, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
