"""The wanted state of one concern on one node, as the engine hands it over: digests instead of texts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from host.resources import Connection
from host.values import UNKNOWN, canonical

_PATH = re.compile(r"^(/[^/\x00-\x1f\\]+)+$")
_OWNER = re.compile(r"^[A-Za-z0-9_.][A-Za-z0-9_.-]*:[A-Za-z0-9_.][A-Za-z0-9_.-]*$")
_MODE = re.compile(r"^[0-7]{3,4}$")
_NAME = re.compile(r"^[a-zA-Z0-9@:+~._\\-]+$")
_SYSCTL = re.compile(r"^[a-zA-Z0-9_./*:-]+$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def digest(text: str) -> str:
    """SHA-256 of the text's UTF-8, as hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class WantedFile:
    sha256: str
    mode: str
    owner: str


@dataclass(frozen=True, slots=True)
class WantedUnit:
    restart_on: tuple[str, ...]
    enabled: bool | None
    running: bool | None


@dataclass(frozen=True, slots=True)
class WantedScript:
    name: str
    path: str
    sha256: str
    environment: Mapping[str, str]
    stdin: str | None  # digest
    material: str | None
    deadline: int
    on: str
    confirm: int | None  # seconds within which a new connection must come through


@dataclass(frozen=True, slots=True)
class Desired:
    """One configuration. Values known only later are left out of the mappings (see `unknown`)."""

    connection: Connection
    files: Mapping[str, WantedFile]
    sysctls: Mapping[str, str]
    packages: Mapping[str, str]
    units: Mapping[str, WantedUnit]
    scripts: tuple[WantedScript, ...]
    removal: tuple[WantedScript, ...]
    peers: tuple[Connection, ...]
    unknown: bool

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any], name: str, keep: Callable[[str], str] | None = None) -> Desired:
        """Build from plain inputs after `check`; `name` is the resource's logical name.

        `keep` stores a text made here (the sysctl file) and returns its digest.
        """
        connection = connection_from(inputs["connection"])
        sysctls = {key: str(value) for key, value in _known(inputs.get("sysctls")).items()}
        files = {
            path: WantedFile(spec["content"], spec["mode"].rjust(4, "0"), spec["owner"])
            for path, spec in _known(inputs.get("files")).items()
        }
        if sysctls:
            text = sysctl_text(sysctls)
            path = f"/etc/sysctl.d/60-{name.removeprefix(connection.node + '-')}.conf"
            files[path] = WantedFile((keep or digest)(text), "0644", "root:root")
        return cls(
            connection=connection,
            files=files,
            sysctls=sysctls,
            packages=_known(inputs.get("packages")),
            units={
                unit: WantedUnit(tuple(spec.get("restartOn") or ()), spec.get("enabled"), spec.get("running"))
                for unit, spec in _known(inputs.get("units")).items()
            },
            scripts=tuple(script_from(spec) for spec in inputs.get("scripts") or () if not _later(spec)),
            removal=tuple(script_from(spec) for spec in inputs.get("removal") or () if not _later(spec)),
            peers=tuple(connection_from(peer) for peer in inputs.get("peers") or () if not _later(peer)),
            unknown=_later({key: value for key, value in inputs.items() if key != "peers"}),
        )


def sysctl_text(sysctls: Mapping[str, str]) -> str:
    """The file that keeps kernel parameters over a reboot."""
    lines = [f"{key} = {value}" for key, value in sorted(sysctls.items())]
    return "\n".join(["# Written by Pulumi; set also while running.", *lines, ""])


def connection_from(inputs: Mapping[str, Any]) -> Connection:
    return Connection(
        node=str(inputs["node"]),
        address=str(inputs["address"]),
        port=int(inputs.get("port") or 22),
        user=str(inputs.get("user") or "root"),
        host_keys=tuple(inputs.get("hostKeys") or ()),
    )


def script_from(inputs: Mapping[str, Any]) -> WantedScript:
    return WantedScript(
        name=inputs["name"],
        path=inputs["path"],
        sha256=inputs.get("sha256") or "",
        environment=inputs.get("environment") or {},
        stdin=inputs.get("stdin"),
        material=inputs.get("material"),
        deadline=int(inputs.get("deadlineSeconds") or 300),
        on=inputs.get("on") or "node",
        confirm=int(inputs["confirmSeconds"]) if inputs.get("confirmSeconds") else None,
    )


def applied(inputs: Mapping[str, Any], secret_digests: set[str]) -> str:
    """Digest over what decides the node's state. Digests of secrets stay out: they could be guessed from it."""
    parts = {key: inputs.get(key) for key in ("files", "sysctls", "packages", "units", "scripts")}
    text = canonical(parts)
    for secret in secret_digests:
        text = text.replace(secret, "")
    return digest(text)


def problems(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything wrong with the inputs, as (property path, reason); nothing is contacted."""
    found: list[tuple[str, str]] = []

    def expect(good: object, path: str, value: object, rule: str) -> None:
        if not good and value != UNKNOWN:
            found.append((path, f"`{value}` {rule}"))

    for path, spec in _known(inputs.get("files")).items():
        expect(
            _PATH.match(path) and "/../" not in path + "/", f'files["{path}"]', path, "is not an absolute plain path"
        )
        expect(_MODE.match(str(spec["mode"])), f'files["{path}"].mode', spec["mode"], "is not an octal mode like 0644")
        expect(_OWNER.match(spec["owner"]), f'files["{path}"].owner', spec["owner"], "is not `user:group`")
    for key, value in _known(inputs.get("sysctls")).items():
        expect(_SYSCTL.match(key), f'sysctls["{key}"]', key, "is not a kernel parameter")
        expect("\n" not in str(value), f'sysctls["{key}"]', value, "has several lines")
    for name, version in _known(inputs.get("packages")).items():
        expect(_NAME.match(name), f'packages["{name}"]', name, "is not a package name")
        expect(not version or _NAME.match(version), f'packages["{name}"]', version, "is not a package version")
    for unit in inputs.get("units") or {}:
        expect(
            _NAME.match(unit) and "." in unit,
            f'units["{unit}"]',
            unit,
            "is not a unit name with its type, like x.service",
        )
    for section in ("scripts", "removal"):
        seen: set[str] = set()
        for index, spec in enumerate(inputs.get(section) or ()):
            name = spec["name"]
            expect(
                name not in seen, f"{section}[{index}]", name, "stands twice; a script has one place in a configuration"
            )
            seen.add(name)
            for variable, value in (spec.get("environment") or {}).items():
                where = f"{section}[{index}].environment"
                expect(_VARIABLE.match(variable), where, variable, "is not a variable name")
                expect("\x00" not in str(value), where, variable, "holds a zero byte")
    return found


def _later(value: Any) -> bool:
    if value == UNKNOWN:
        return True
    if isinstance(value, Mapping):
        return any(_later(child) for child in value.values())
    return isinstance(value, list) and any(_later(child) for child in value)


def _known(section: Any) -> dict[str, Any]:
    """The entries of a mapping whose values are known now."""
    if not isinstance(section, Mapping):
        return {}
    return {key: value for key, value in section.items() if not _later(value)}
