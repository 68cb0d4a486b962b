"""Writes docs/config.md from the models: `python -m components.settings.reference > docs/config.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.settings import Settings
from components.settings.base import Model, model_in
from components.settings.known import KUBEADM_CHECKS, KUBERNETES_MINORS, PREFLIGHT_CHECKS, SECRETS
from components.settings.syntax import Kind
from components.versions import IMAGES

INTRODUCTION = """\
# Configuration

Generated from `components/settings` by `make docs`; do not edit.

A stack's config lives in `Pulumi.<stack>.yaml` below `config:`, one key `qwen3-vl:<key>` for each section here.
`Pulumi.prod.yaml` is a complete example to edit. Every problem of a config is reported at once, before any machine is contacted:

```
nodes[gpu-1].address: `192.168.1`; an IPv4 address is four numbers from 0 to 255. Write one like `10.0.0.11`.
kubernetes.podsubnet: unknown key; the keys of `kubernetes` are apiAddress, apiPort, .... Did you mean `podSubnet`?
```

A key without a default is required. `[]` behind a key stands for each entry of a list, `*` for each name."""

# How several models below one key are written, and how their place is.
MAPPINGS: dict[Any, tuple[str, str]] = {tuple: ("list of mappings", "[]"), dict: ("mapping of names to mappings", ".*")}
WORDS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "anything"} | {
    IPv4Address: "IPv4 address",
    IPv4Network: "IPv4 network",
}
BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "min_length": "not empty"}


def reference() -> str:
    """The whole document."""
    parts = [INTRODUCTION, _secrets()]
    for name, field in Settings.model_fields.items():
        parts.append(_section(name, field))
    parts += [_names("Checks of the nodes", "preflight.downgrade", PREFLIGHT_CHECKS)]
    images = {name: f"`{image.reference}`" for name, image in IMAGES.items()}
    parts += [_names("Images", "images.overrides", images)]
    checks = ", ".join(f"`{name}`" for name in KUBEADM_CHECKS)
    parts.append(
        "## Names for `kubernetes.ignorePreflight`\n\n"
        f"kubeadm's own: {checks}, and those that carry a port, a path or a service, as kubeadm prints them, e.g. `Port-10250`."
    )
    parts.append(
        f"## Kubernetes releases\n\n`kubernetes.version` may be a release of {' or '.join(KUBERNETES_MINORS)}."
    )
    return "\n\n".join(parts) + "\n"


def _secrets() -> str:
    rows = [(f"`{key}`", text) for key, text in SECRETS.items()]
    return (
        "## Secrets\n\nSet with `pulumi config set --secret <key>`, which asks for the value; one in clear is refused.\n\n"
        + _table(("key", "meaning"), rows)
    )


def _section(name: str, field: FieldInfo) -> str:
    key = str(field.alias)
    listed = get_origin(field.annotation) is tuple
    model = model_in(field.annotation)
    if model is None:
        raise TypeError(f"{name}: every top-level key holds a model or a list of them")
    rows = [
        (f"`{path}`", kind, default, text)
        for path, kind, default, text in _rows(model, f"{key}[]." if listed else f"{key}.")
    ]
    intro = f"{field.description} A list; each entry:" if listed else " ".join((model.__doc__ or "").split())
    return f"## {key}\n\n{intro}\n\n" + _table(("key", "type", "default", "meaning"), rows)


def _rows(model: type[Model], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias}"
        if inner := model_in(field.annotation):
            kind, below = MAPPINGS.get(get_origin(field.annotation), ("mapping", ""))
            yield path, kind, "" if field.is_required() else "none", str(field.description)
            yield from _rows(inner, f"{path}{below}.")
        else:
            yield path, ", ".join([kind_of(hints[name]), *_bounds(field)]), _default(field), str(field.description)


def _bounds(field: FieldInfo) -> Iterator[str]:
    limits = {
        name: value for item in field.metadata for name in BOUNDS if (value := getattr(item, name, None)) is not None
    }
    if {"ge", "le"} <= set(limits):
        yield f"{limits.pop('ge')} to {limits.pop('le')}"
    for name, value in limits.items():
        yield BOUNDS[name].format(value)


def kind_of(annotation: Any) -> str:
    """A type in the words of someone who writes YAML."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next((part.words for part in parts[1:] if isinstance(part, Kind)), kind_of(parts[0]))
    if origin is Literal:
        return _choices(parts)
    if origin is tuple:
        return f"list of {kind_of(parts[0])}"
    if origin is dict:
        return f"mapping of {kind_of(parts[0])} to {kind_of(parts[1])}"
    if type(None) in parts or origin is Union:
        return " or ".join(kind_of(part) for part in parts if part is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choices(member.value for member in annotation)
    return WORDS[annotation]


def _choices(values: Iterable[object]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return ""
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _names(title: str, path: str, names: Mapping[str, str]) -> str:
    rows = [(f"`{name}`", text) for name, text in names.items()]
    return f"## {title}\n\nNames for `{path}`.\n\n" + _table(("name", "meaning"), rows)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    print(reference(), end="")
