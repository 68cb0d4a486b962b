"""What a node is against what it should be: one round trip, every difference named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from host.desired import Desired, WantedScript, WantedUnit
from host.errors import HostError
from host.remote import BOOT, Command, Result

CommandOf = Callable[[WantedScript, str], Command | None]

_ENABLED = {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "transient"}
_DISABLED = {"disabled", "static", "masked", "masked-runtime", "indirect", "generated", ""}
_RUNNING = {"active", "reloading", "refreshing"}


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as wanted: the property it belongs to, its name, what was found."""

    section: str  # files, sysctls, packages, units, scripts
    key: str
    found: str

    @property
    def leaf(self) -> str:
        """The part of the property that differs, for the engine's detailed diff: as small as can be said."""
        if self.section == "files":
            return (
                ".mode" if self.found.startswith("mode") else ".owner" if self.found.startswith("owner") else ".content"
            )
        return {"units": ".running", "scripts": ".sha256"}.get(self.section, "")

    def __str__(self) -> str:
        noun = {"files": "file", "sysctls": "sysctl", "packages": "package", "units": "unit", "scripts": "script"}
        return f"{noun[self.section]} {self.key} ({self.found})"


@dataclass(slots=True)
class State:
    """What read_state.sh printed."""

    kinds: dict[str, str] = field(default_factory=dict)  # path -> link, other
    attributes: dict[str, tuple[str, str]] = field(default_factory=dict)  # path -> mode, owner
    digests: dict[str, str] = field(default_factory=dict)
    packages: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> dpkg status, version
    units: list[dict[str, str]] = field(default_factory=list)  # in the order asked for
    restarts: set[str] = field(default_factory=set)
    sysctls: dict[str, str] = field(default_factory=dict)
    checks: dict[str, tuple[int, str]] = field(default_factory=dict)  # script -> exit status, output


def question(desired: Desired, scripts: Sequence[WantedScript], command_of: CommandOf) -> Command:
    """The one command that reads everything `desired` names and runs the check of each of `scripts`.

    A script for which `command_of` has nothing is left out.
    """
    records = [f"file\t{path}\n" for path in desired.files]
    records += [f"package\t{name}\n" for name in desired.packages]
    records += [f"unit\t{unit}\n" for unit in desired.units]
    records += [f"sysctl\t{key}\n" for key in desired.sysctls]
    stdin, deadline = "".join(records).encode(), 60
    for script in scripts:
        check = command_of(script, "check")
        if check is None:
            continue
        payload = check.payload()
        stdin += f"check\t{script.name}\t{check.deadline}\t{len(payload)}\n".encode() + payload
        deadline += check.deadline
    return Command.own("read_state.sh", stdin=stdin, deadline=deadline, environment={"host_boot": BOOT})


def parse(result: Result, node: str) -> State:
    """Read the answer to `question`. Raises HostError if the node could not answer it."""
    if result.status or not result.output.endswith(b"end\n"):
        raise HostError(
            f"{node}: reading the node's state failed (exit {result.status}): {result.reason()}; "
            "the node must run bash, coreutils, dpkg and systemd. Mend the node."
        )
    state, rest = State(), result.output
    blocks: list[dict[str, str]] = []
    fresh = True
    while rest:
        raw, _, rest = rest.partition(b"\n")
        line = raw.decode(errors="replace")
        kind, _, tail = line.partition("\t")
        fields = tail.split("\t")
        if kind == "file":
            state.kinds[fields[0]] = fields[1]
        elif kind == "mode":
            state.attributes[fields[0]] = (fields[1].rjust(4, "0"), fields[2])
        elif kind == "package":
            state.packages[fields[0]] = (fields[1], fields[2])
        elif kind == "unit":
            if fresh:
                blocks.append({})
            fresh = not tail
            if tail:
                name, _, value = tail.partition("=")
                blocks[-1][name] = value
        elif kind == "restart":
            state.restarts.add(fields[0])
        elif kind == "sysctl":
            state.sysctls[fields[0]] = " ".join(" ".join(fields[1:]).split())
        elif kind == "check":
            size = int(fields[2])
            state.checks[fields[0]] = (int(fields[1]), rest[:size].decode(errors="replace"))
            rest = rest[size + 1 :]
        elif line[64:66] == "  ":
            state.digests[line[66:]] = line[:64]
    state.units = [block for block in blocks if block]
    return state


def compare(desired: Desired, state: State) -> list[Drift]:
    """Everything that is not as wanted, in the order it would be applied."""
    return [
        *_files(desired, state),
        *_sysctls(desired, state),
        *_packages(desired, state),
        *_units(desired, state),
        *_scripts(desired, state),
    ]


def _files(desired: Desired, state: State) -> list[Drift]:
    drifts = []
    for path, wanted in desired.files.items():
        if path in state.kinds:
            kind = {"link": "a symbolic link", "other": "not a plain file"}[state.kinds[path]]
            drifts.append(Drift("files", path, kind))
            continue
        found = []
        if path not in state.digests:
            drifts.append(Drift("files", path, "missing"))
            continue
        if state.digests[path] != wanted.sha256:
            found.append("other content")
        mode, owner = state.attributes.get(path, ("", ""))
        if mode != wanted.mode:
            found.append(f"mode {mode}, wanted {wanted.mode}")
        if owner != wanted.owner:
            found.append(f"owner {owner}, wanted {wanted.owner}")
        if found:
            drifts.append(Drift("files", path, "; ".join(found)))
    return drifts


def _sysctls(desired: Desired, state: State) -> list[Drift]:
    drifts = []
    for key, wanted in desired.sysctls.items():
        actual = state.sysctls.get(key)
        if actual is None:
            drifts.append(Drift("sysctls", key, "does not exist"))
        elif actual != " ".join(wanted.split()):
            drifts.append(Drift("sysctls", key, f"{actual}, wanted {wanted}"))
    return drifts


def _packages(desired: Desired, state: State) -> list[Drift]:
    drifts = []
    for name, version in desired.packages.items():
        status, actual = state.packages.get(name, ("", ""))
        want, *condition = status.split() or ("",)
        if condition != ["ok", "installed"]:
            found = (
                "not installed" if condition[-1:] in ([], ["not-installed"], ["config-files"]) else " ".join(condition)
            )
            drifts.append(Drift("packages", name, found))
        elif version and actual != version:
            drifts.append(Drift("packages", name, f"{actual}, wanted {version}"))
        elif version and want != "hold":
            drifts.append(Drift("packages", name, "not held"))
    return drifts


def _units(desired: Desired, state: State) -> list[Drift]:
    drifts = []
    for index, (unit, wanted) in enumerate(desired.units.items()):
        actual = state.units[index] if index < len(state.units) else {}
        found = unit_faults(wanted, actual)
        if unit in state.restarts:
            found.append("restart pending")
        if found:
            drifts.append(Drift("units", unit, "; ".join(found)))
    return drifts


def unit_faults(wanted: WantedUnit, actual: Mapping[str, str]) -> list[str]:
    """What is wrong with a unit, from systemd's properties of it."""
    if actual.get("LoadState", "not-found") == "not-found" and (wanted.enabled or wanted.running):
        return ["no such unit"]
    faults = []
    enablement, activity = actual.get("UnitFileState", ""), actual.get("ActiveState", "inactive")
    if wanted.enabled is True and enablement not in _ENABLED:
        faults.append(enablement or "not enabled")
    if wanted.enabled is False and enablement not in _DISABLED:
        faults.append(f"{enablement}, wanted disabled")
    if wanted.running is True and activity not in _RUNNING:
        faults.append(f"{activity} ({actual.get('SubState', '')})" if actual.get("SubState") else activity)
    if wanted.running is False and activity in _RUNNING | {"activating"}:
        faults.append(f"{activity}, wanted stopped")
    if actual.get("NeedDaemonReload") == "yes":
        faults.append("unit file changed, not reloaded")
    return faults


def _scripts(desired: Desired, state: State) -> list[Drift]:
    drifts = []
    for script in desired.scripts:
        if script.name in state.checks:
            drifted, why = verdict(*state.checks[script.name])
            if drifted:
                drifts.append(Drift("scripts", script.name, why))
    return drifts


def verdict(status: int, output: str) -> tuple[bool, str]:
    """Whether a script's check says drifted, and why. A check that fails counts as drifted: apply says the cause."""
    said: dict[str, str] = defaultdict(str)
    for line in output.splitlines():
        for word in ("drifted", "unchanged"):
            if line.startswith(word + ":"):
                said[word] = line.partition(":")[2].strip()
    if status == 0:
        return False, said["unchanged"]
    if status == 1 and "drifted" in said:
        return True, said["drifted"]
    if status in (124, 137):
        return True, "its check ran past its deadline"
    tail = " / ".join(output.strip().splitlines()[-3:])
    return True, f"its check failed with exit {status}: {tail}"
