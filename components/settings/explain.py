"""One pydantic error in the words of the operator: what was found, the rule, what to do."""

from __future__ import annotations

from difflib import get_close_matches
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from pydantic.alias_generators import to_camel

from components.settings import Settings
from components.settings.base import Model, model_in
from components.settings.known import SECRETS
from components.settings.problem import Problem, join_path, listed, shown
from components.settings.syntax import ADDRESS_REMEDY, ADDRESS_RULE, RULE

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# pydantic's error type -> rule and remedy, where the value itself says the rest
TYPES = {
    "string_type": ("text is wanted", "Put it in quotes"),
    "int_type": ("a whole number is wanted", "Write one without quotes"),
    "int_parsing": ("a whole number is wanted", "Write one without quotes"),
    "int_from_float": ("a whole number is wanted", "Round it"),
    "float_type": ("a number is wanted", "Write one without quotes"),
    "float_parsing": ("a number is wanted", "Write one without quotes"),
    "finite_number": ("a finite number is wanted", "Write one"),
    "bool_type": ("`true` or `false` is wanted", "Write one of the two"),
    "bool_parsing": ("`true` or `false` is wanted", "Write one of the two"),
    "tuple_type": ("a list is wanted", "Write each item on a line of its own behind `- `"),
    "dict_type": ("a mapping of keys and values is wanted", "Indent the keys below it"),
    "model_type": ("a mapping of keys and values is wanted", "Indent the keys below it"),
    "model_attributes_type": ("a mapping of keys and values is wanted", "Indent the keys below it"),
    "ip_v4_address": (ADDRESS_RULE, ADDRESS_REMEDY),
}
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def explain(details: ErrorDetails, path: str) -> Problem:
    """The problem at `path` (as `path_of` writes it)."""
    kind, found = details["type"], shown(details.get("input"))
    context: dict[str, Any] = details.get("ctx", {})
    if kind == RULE:
        return Problem(path, context["found"], context["rule"], context["remedy"])
    if kind == "missing":
        return Problem(path, "missing", f"it is required: {_description(details['loc'])}", "Add it")
    if kind == "extra_forbidden":
        return unknown_key(details["loc"], path)
    if kind in ("enum", "literal_error"):
        return _no_such_choice(details, path)
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        return Problem(path, found, f"it must be {words} {context[bound]:g}", "Change the number")
    if kind == "too_short":
        return Problem(path, "an empty list", f"it needs at least {context['min_length']} entry", "Add one")
    if kind in ("ip_v4_network", "value_error") and isinstance(details.get("input"), str):
        return _network(details["input"], path)
    if kind in TYPES:
        return Problem(path, found, *TYPES[kind])
    return Problem(path, found, details["msg"][:1].lower() + details["msg"][1:], "Change the value")


def _description(loc: tuple[int | str, ...]) -> str:
    field = _model_at(loc[:-1]).model_fields
    text = next((f.description for f in field.values() if f.alias == loc[-1]), None) or "it has no default."
    first = text.partition(". ")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def _model_at(loc: tuple[int | str, ...]) -> type[Model]:
    model: type[Model] = Settings
    for step in loc:
        field = next((f for f in model.model_fields.values() if f.alias == step), None)
        model = (model_in(field.annotation) or model) if field else model
    return model


def _keys(model: type[Model]) -> list[str]:
    return [str(field.alias) for field in model.model_fields.values()]


def unknown_key(loc: tuple[int | str, ...], path: str) -> Problem:
    """The problem of a key that no model has."""
    key, known = str(loc[-1]), _keys(_model_at(loc[:-1]))
    # A value under an unknown key is never shown: nobody knows what it is.
    if secret := _secret_like(key, loc[:-1]):
        remedy = f"Remove it and run `pulumi config set --secret {secret}`"
        return Problem(path, "a key that looks like a credential", "plain settings hold no secrets", remedy)
    place = (
        f"`{'.'.join(str(step) for step in loc[:-1] if isinstance(step, str))}`" if len(loc) > 1 else "the top level"
    )
    rule = f"the keys of {place} are {', '.join(sorted(known))}"
    return Problem(path, "unknown key", rule, _suggestion(key, known) or "Remove it")


def _secret_like(key: str, below: tuple[int | str, ...]) -> str | None:
    folded = key.lower().replace("_", "").replace("-", "")
    if below == ("ingress", "tls") and "key" in folded:
        return "ingressKey"
    return next((s for s in SECRETS if s.lower() == folded or s.lower() == "ssh" + folded), None) or (
        "redisPassword" if folded == "password" else None
    )


def _suggestion(key: str, known: list[str]) -> str | None:
    camel = to_camel(key.replace("-", "_")) if "_" in key or "-" in key else key
    folded = {name.lower(): name for name in known}
    if near := get_close_matches(camel.lower(), folded, n=1, cutoff=0.75):
        return f"Did you mean `{folded[near[0]]}`?"
    if elsewhere := [place for place, name in _all_keys(Settings, "") if name.lower() == camel.lower()]:
        return f"Did you mean `{elsewhere[0]}`?"
    return None


def _all_keys(model: type[Model], path: str) -> list[tuple[str, str]]:
    found = []
    for field in model.model_fields.values():
        place = join_path(path, str(field.alias))
        found.append((place, str(field.alias)))
        if inner := model_in(field.annotation):
            found += _all_keys(inner, place)
    return found


def _no_such_choice(details: ErrorDetails, path: str) -> Problem:
    choices = [part.strip().strip("'") for part in details["ctx"]["expected"].replace(" or ", ",").split(",")]
    value = details["input"]
    near = get_close_matches(str(value).lower(), {c.lower(): c for c in choices}, n=1)
    remedy = next((f"Did you mean `{c}`?" for c in choices if near and c.lower() == near[0]), "Write one of them")
    rule = f"the only choice is {listed(choices)}" if len(choices) == 1 else f"the choices are {listed(choices)}"
    return Problem(path, shown(value), rule, remedy)


def _network(text: str, path: str) -> Problem:
    try:
        whole = IPv4Network(text, strict=False)
    except ValueError:
        return Problem(path, shown(text), "a network is an IPv4 address and a prefix", "Write one like `10.244.0.0/16`")
    return Problem(path, shown(text), "the address is not the network's first one", f"Write `{whole}`")
