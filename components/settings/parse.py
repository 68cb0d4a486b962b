"""From the mapping a YAML file holds to `Settings`, or to one error that names every problem in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from components.settings import Settings
from components.settings.checks import CHECKS
from components.settings.explain import explain
from components.settings.problem import Problem, SettingsError, join_path

Location = tuple[int | str, ...]

# What a check may read: the top-level keys, and `node` for each entry of `nodes` by itself.
SECTIONS = frozenset({str(field.alias) for field in Settings.model_fields.values()} | {"node"})


def parse(mapping: Mapping[str, Any]) -> Settings:
    """Check the mapping (keys as in the YAML, without the namespace) and return the settings.

    Raises SettingsError with all problems: spelling and types of every key, and what the checks across keys find among
    the sections that are sound by themselves. Contacts nothing and reads no file.
    """
    problems: list[Problem] = []
    try:
        # by_name=False: one spelling only, the one of the YAML.
        settings, sound = Settings.model_validate(dict(mapping), by_alias=True, by_name=False), SECTIONS
    except ValidationError as error:
        # A list with an unsound entry also counts as too short; only the entry is the user's mistake.
        errors = [e for e in error.errors(include_url=False) if e["type"] != "too_short" or not e["input"]]
        problems += [explain(details, path_of(details["loc"], mapping)) for details in errors]
        settings, sound = _sound_part(mapping, [details["loc"] for details in errors])
    problems += [problem for check in CHECKS if check.reads <= sound for problem in check.find(settings)]
    if problems:
        raise SettingsError(problems)
    return settings


def _sound_part(mapping: Mapping[str, Any], locs: list[Location]) -> tuple[Settings, frozenset[str]]:
    """Settings with only what passed, and the names of the sections in it; the others must not be read."""
    unsound = {str(loc[0]) for loc in locs}
    rest = {key: value for key, value in mapping.items() if key not in unsound}
    sound = SECTIONS - unsound - {"node"}
    if isinstance(mapping.get("nodes"), list):
        broken = {loc[1] for loc in locs if loc[0] == "nodes" and len(loc) > 1}
        rest["nodes"] = [node for index, node in enumerate(mapping["nodes"]) if index not in broken]
        sound |= {"node"}
    values = {
        name: TypeAdapter(cast(Any, field.annotation)).validate_python(rest[key], by_alias=True, by_name=False)
        if (key := str(field.alias)) in rest
        else field.default
        for name, field in Settings.model_fields.items()
    }
    return Settings.model_construct(**values), sound


def path_of(loc: Location, mapping: Mapping[str, Any]) -> str:
    """A pydantic location as the user reads it: list entries by their `name` where it is theirs alone."""
    path = ""
    value: Any = mapping
    for step in loc:
        if isinstance(step, int):
            path += f"[{_entry(value, step)}]"
        elif step == "[key]":  # pydantic's mark for "the key itself is wrong"
            break
        else:
            path = join_path(path, step)
        value = _inside(value, step)
    return path


def _entry(entries: Any, index: int) -> str:
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in entries]
    name = names[index]
    return name if isinstance(name, str) and name and Counter(names)[name] == 1 else str(index)


def _inside(value: Any, step: int | str) -> Any:
    try:
        return value[step]
    except (KeyError, IndexError, TypeError):
        return None
