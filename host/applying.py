"""Bringing one concern of one node into its wanted state: only what differs is touched, in a fixed order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from host.checkout import Texts, script_text
from host.confirming import confirm, cut_off
from host.connections import Connections, Say
from host.desired import Desired, WantedScript
from host.errors import ConnectionLost, HostError, Refused, Unable, Unreachable
from host.messages import Reporter
from host.reading import Drift, State, compare, parse, question, verdict
from host.remote import Command, Result
from host.resources import Connection
from host.secrets import Secrets

FILES_DEADLINE = 120
PACKAGES_DEADLINE = 1800
LOCK_WAIT = 600  # for another package manager; a first boot's unattended upgrade takes minutes
UNITS_DEADLINE = 300
# How a peer says that the next one is to be asked: it is no member of the cluster; it is one, and cannot do it now.
_NOT_A_MEMBER, _NOT_NOW = 3, 4
_RESTARTS = 5  # how often a node may go away during one apply before that is an error of its own
_SETTLE_SECONDS = 5.0  # a node that shuts down still takes connections for a moment


@dataclass(frozen=True)
class Applier:
    """Everything an apply needs beside the wanted state."""

    connections: Connections
    texts: Texts
    secrets: Secrets

    async def read(
        self, desired: Desired, *, scripts: bool, wait: bool = False, say: Say | None = None
    ) -> tuple[State, list[Drift]]:
        """Read the node; with `scripts`, also run the check of each script."""
        asked = question(desired, desired.scripts if scripts else (), self.texts.check)
        result = await self.connections.run(desired.connection, asked, wait=wait, say=say)
        state = parse(result, desired.connection.node)
        return state, compare(desired, state)

    async def apply(self, desired: Desired, dropped: Mapping[str, str], report: Reporter) -> list[str]:
        """Make the node as wanted and return what was changed; nothing means it was so already.

        `dropped` maps files that are no longer wanted to the digest they were written with. A node that goes away
        in the middle (a reboot) is waited for, then everything is looked at again: each step is safe to repeat.
        """
        place = self.connections.place(desired.connection)
        async with place.applying:
            changed: list[str] = []
            for attempt in range(_RESTARTS):
                try:
                    return changed + await self._once(desired, dropped, report)
                except ConnectionLost as lost:
                    if attempt == _RESTARTS - 1 or self.connections.stopping.is_set():
                        raise
                    report.info(f"{lost} Waiting for it, then going on.")
                    await asyncio.sleep(_SETTLE_SECONDS)
            return changed

    async def _once(self, desired: Desired, dropped: Mapping[str, str], report: Reporter) -> list[str]:
        state, drifts = await self.read(desired, scripts=False, wait=True, say=report.status)
        changed = [str(drift) for drift in drifts]
        by_section = {
            section: [drift.key for drift in drifts if drift.section == section]
            for section in ("files", "sysctls", "packages", "units")
        }
        written = await self._files(desired, state, by_section["files"], dropped, report)
        await self._sysctls(desired, by_section["sysctls"], report)
        await self._packages(desired, by_section["packages"], written, report)
        await self._units(desired, state, drifts, written, bool(by_section["packages"] or written), report)
        for script in desired.scripts:
            if why := await self._script(desired, script, report):
                changed.append(f"script {script.name} ({why})")
        return changed

    async def _own(
        self, desired: Desired, name: str, stdin: str | bytes, deadline: int, report: Reporter, **environment: str
    ) -> Result:
        """Run one of the provider's scripts under the node's lock; its failure is the user's message."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        node = desired.connection.node
        command = Command.own(name, stdin=data, deadline=deadline, environment=environment, lock=node)
        result = await self.connections.run(
            desired.connection, command, wait=True, say=report.status, on_line=report.status
        )
        if result.status:
            raise HostError(f"{node}: {explain(result)}")
        return result

    async def _files(
        self, desired: Desired, state: State, keys: Sequence[str], dropped: Mapping[str, str], report: Reporter
    ) -> list[str]:
        """Write what differs; returns the paths whose content changed."""
        records, written = [], []
        for path in keys:
            wanted = desired.files[path]
            if state.digests.get(path) == wanted.sha256 and path not in state.kinds:
                records.append(f"attributes\t{path}\t{wanted.mode}\t{wanted.owner}\n".encode())
                continue
            text = self.texts.get(wanted.sha256, f"{desired.connection.node}: {path}")
            records.append(f"file\t{path}\t{wanted.mode}\t{wanted.owner}\t{len(text)}\n".encode() + text)
            written.append(path)
        records += [f"remove\t{path}\t{sha256}\n".encode() for path, sha256 in dropped.items()]
        if not records:
            return []
        # Noted on the node first: if we are ended between writing and restarting, the next run still restarts.
        restarts = [
            f"restart\t{unit}\n".encode() for unit, spec in desired.units.items() if set(spec.restart_on) & set(written)
        ]
        report.status(f"writing {len(written)} files")
        result = await self._own(desired, "write_files.sh", b"".join(restarts + records), FILES_DEADLINE, report)
        for line in result.text.splitlines():
            report.info(f"{desired.connection.node}: {line}")
        return written

    async def _sysctls(self, desired: Desired, keys: Sequence[str], report: Reporter) -> None:
        if keys:
            lines = "".join(f"{key}\t{desired.sysctls[key]}\n" for key in keys)
            await self._own(desired, "set_sysctls.sh", lines, FILES_DEADLINE, report)

    async def _packages(self, desired: Desired, keys: Sequence[str], written: Sequence[str], report: Reporter) -> None:
        if keys:
            report.status(f"installing {', '.join(keys)}")
            lines = "".join(f"{name}\t{desired.packages[name]}\n" for name in keys)
            fresh = "yes" if any(path.startswith("/etc/apt/") for path in written) else "no"
            await self._own(
                desired, "install_packages.sh", lines, PACKAGES_DEADLINE, report, update=fresh, lock_wait=str(LOCK_WAIT)
            )

    async def _units(
        self, desired: Desired, state: State, drifts: list[Drift], written: Sequence[str], moved: bool, report: Reporter
    ) -> None:
        """Enable, start and restart. After files or packages changed, the units are looked at anew."""
        if not desired.units:
            return
        if moved:
            state, drifts = await self.read(desired, scripts=False)
        names = [drift.key for drift in drifts if drift.section == "units"]
        if not names:
            return
        report.status(f"units {', '.join(names)}")
        word = {True: "yes", False: "no", None: "any"}
        records = ["reload\n"] if _reload(state, written) else []
        for unit in names:
            wanted = desired.units[unit]
            restart = "yes" if unit in state.restarts else "no"
            records.append(f"unit\t{unit}\t{word[wanted.enabled]}\t{word[wanted.running]}\t{restart}\n")
        await self._own(desired, "apply_units.sh", "".join(records), UNITS_DEADLINE, report)

    async def _script(self, desired: Desired, script: WantedScript, report: Reporter) -> str:
        """Run the script's check and, if it says drifted, its apply. Returns why, or nothing."""
        node = desired.connection
        # Under the lock: what a killed run left at work here ends first, and only then is known whether anything is to do. A
        # peer asked for join material takes this node's old place in etcd away, which must not happen to a node that just joined.
        check = self.texts.command(script, "check", lock=node.node)
        result = await self.connections.run(node, check, wait=True, say=report.status)
        drifted, why = verdict(result.status, result.text + "\n" + result.errors.decode(errors="replace"))
        if not drifted:
            return ""
        material = await self.material(desired, script) if script.material else None
        report.status(f"{script.name}: {why}")
        start = time.monotonic()

        def progress(line: str) -> None:
            report.status(
                f"{script.name} ({time.monotonic() - start:.0f} s): {line.strip().splitlines()[-1] if line.strip() else ''}"
            )

        command = self.texts.command(script, "apply", material, lock=node.node)
        try:
            result = await self.connections.run(node, command, wait=True, say=report.status, on_line=progress)
        except ConnectionLost as lost:
            if script.confirm is None:
                raise
            raise cut_off(node, script) from lost
        if result.status:
            raise HostError(f"{node.node}: {script.path} apply failed (exit {result.status}): {explain(result)}")
        if script.confirm is not None:
            report.status(f"{script.name}: waiting for a new connection")
            await confirm(self.connections, self.texts, node, script, script.confirm)
        return why

    async def material(self, desired: Desired, script: WantedScript) -> bytes:
        """What the material script prints on the first peer that can give it; kept nowhere, and blanked out of messages.

        Nothing if every peer answered that it is no member: the script decides what that means (the first control plane
        starts the cluster). A peer that does not answer may be a member, so that is an error.
        """
        assert script.material is not None  # noqa: S101 - told to the type checker
        try:
            peer, result = await self.on_peer(desired, script.material, script)
        except Unable:
            return b""
        if result.status:
            raise HostError(f"{peer.node}: {script.material} failed (exit {result.status}): {explain(result)}")
        self.secrets.add(result.text)
        return result.output

    async def on_peer(
        self, desired: Desired, path: str, script: WantedScript, stdin: bytes = b""
    ) -> tuple[Connection, Result]:
        """Run a script of the checkout on the first peer that answers and can.

        Raises Unable if every peer answered that it is no member, Unreachable if one might have been able.
        """
        command = Command(path, script_text(path), "apply", script.environment, stdin, script.deadline)
        silent: list[str] = []
        unable: list[str] = []
        for peer in desired.peers:
            if peer.node == desired.connection.node:
                continue
            try:
                result = await self.connections.run(peer, command)
            except (Unreachable, Refused) as error:
                silent.append(str(error))
                continue
            if result.status not in (_NOT_A_MEMBER, _NOT_NOW):
                return peer, result
            (silent if result.status == _NOT_NOW else unable).append(f"{peer.node}: {result.reason()}.")
        node = desired.connection.node
        if not silent:
            raise Unable(f"{node}: no peer can run {path}; a ready control plane is needed. {' '.join(unable)}".strip())
        raise Unreachable(
            f"{node}: no peer can run {path} now; one ready control plane is needed. {' '.join(silent + unable)}"
        )


def _reload(state: State, written: Sequence[str]) -> bool:
    folders = ("/etc/systemd/", "/usr/lib/systemd/", "/lib/systemd/")
    return any(path.startswith(folders) for path in written) or any(
        unit.get("NeedDaemonReload") == "yes" for unit in state.units
    )


def explain(result: Result) -> str:
    """The command's own words, with the remedy where the cause is a usual one."""
    reason = result.reason()
    if "No space left on device" in reason:
        return f"{reason}; the disk is full. Free space on the node (`df -h`), then run again."
    if "Read-only file system" in reason:
        return f"{reason}; the file system must be writable. Look at the node's kernel log (`dmesg`)."
    return reason
