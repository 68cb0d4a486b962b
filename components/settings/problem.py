"""What is wrong with a stack config, in the one form the operator sees."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*")
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, what stands there, which rule it breaks and what to do about it."""

    path: str
    found: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        end = "" if self.remedy.endswith("?") else "."
        return f"{self.path}: {self.found}; {self.rule}. {self.remedy}{end}"


class SettingsError(Exception):
    """The stack config cannot be used; the text lists every problem, one a line, and holds no secret."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def join_path(parent: str, key: str) -> str:
    """`parent.key`, or `parent["odd/key"]` in Pulumi's own path syntax."""
    if not PLAIN_KEY.fullmatch(key):
        return f'{parent}["{key}"]'
    return f"{parent}.{key}" if parent else key


def shown(value: object) -> str:
    """A value for an error: short, on one line, and never something that looks like a credential."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    if "PRIVATE KEY" in text:
        return "a private key"
    text = re.sub(r"(?<=//)[^/@\s]*@", "***@", " ".join(text.split()))
    if len(text) > SHOWN_CHARACTERS:
        text = text[:SHOWN_CHARACTERS] + "..."
    return f"`{text}`"


def listed(names: Iterable[str]) -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
