"""What the host provider makes of what a node says: pure code, no node."""

from __future__ import annotations

import pytest

from host.configuration import changed_inputs
from host.desired import Desired, WantedUnit, applied, sysctl_text
from host.errors import HostError
from host.facts import changed
from host.reading import compare, parse, unit_faults, verdict
from host.remote import Command, Result
from host.secrets import Secrets
from host.values import UNKNOWN, plain, property_of

SHA = "a" * 64
CONNECTION = {"node": "n1", "address": "10.0.0.1"}


def desired(**inputs: object) -> Desired:
    return Desired.from_inputs({"connection": CONNECTION, **inputs}, "n1-base")


def answer(text: str) -> Result:
    return Result(0, (text + "end\n").encode(), b"")


@pytest.mark.parametrize(
    ("status", "output", "expected"),
    [
        (0, "unchanged: all there\n", (False, "all there")),
        (0, "", (False, "")),
        (1, "noise\ndrifted: gone\n", (True, "gone")),
        (1, "grep: no such file\n", (True, "its check failed with exit 1: grep: no such file")),
        (2, "a\nb\nc\nd\n", (True, "its check failed with exit 2: b / c / d")),
        (124, "", (True, "its check ran past its deadline")),
    ],
)
def test_verdict_of_a_check(status: int, output: str, expected: tuple[bool, str]) -> None:
    assert verdict(status, output) == expected


@pytest.mark.parametrize(
    ("wanted", "properties", "expected"),
    [
        ((True, True), "enabled active running", []),
        ((True, True), "static reloading x", []),
        ((True, True), "disabled active x", ["disabled"]),
        ((True, True), "enabled activating auto-restart", ["activating (auto-restart)"]),
        ((None, None), "disabled failed x", []),
        ((False, False), "masked inactive dead", []),
        ((False, False), "enabled active x", ["enabled, wanted disabled", "active, wanted stopped"]),
        ((None, True), "enabled active x yes", ["unit file changed, not reloaded"]),
    ],
)
def test_faults_of_a_unit(wanted: tuple[bool | None, bool | None], properties: str, expected: list[str]) -> None:
    names = ("UnitFileState", "ActiveState", "SubState", "NeedDaemonReload")
    state = dict(zip(names, properties.split(), strict=False))
    assert unit_faults(WantedUnit((), *wanted), {"LoadState": "loaded", **state}) == expected


def test_a_unit_that_is_not_there() -> None:
    assert unit_faults(WantedUnit((), True, True), {"LoadState": "not-found"}) == ["no such unit"]
    assert unit_faults(WantedUnit((), False, False), {"LoadState": "not-found", "ActiveState": "inactive"}) == []


def test_half_an_answer_proves_nothing() -> None:
    with pytest.raises(HostError, match="n1: reading the node's state failed"):
        parse(Result(0, b"package\tcurl\tinstall ok installed\t1\n", b""), "n1")
    with pytest.raises(HostError, match=r"exit 127.*bash: not found"):
        parse(Result(127, b"", b"bash: not found"), "n1")


def test_an_answer_is_read_whole_with_a_checks_output_in_it() -> None:
    state = parse(
        answer(
            "check\tjoin\t1\t25\ndrifted: two\nfile\t/x\tlink\n"
            "file\t/a b\tother\nmode\t/c\t644\troot:root\n"
            f"{SHA}  /c\nsysctl\tnet.x\t32768\t60999\nrestart\ta.service\n"
            "unit\tLoadState=loaded\nunit\tActiveState=active\nunit\t\nunit\tLoadState=masked\n"
        ),
        "n1",
    )
    assert state.checks == {"join": (1, "drifted: two\nfile\t/x\tlink")}
    assert state.kinds == {"/a b": "other"}
    assert (state.attributes, state.digests) == ({"/c": ("0644", "root:root")}, {"/c": SHA})
    assert state.sysctls == {"net.x": "32768 60999"}
    assert state.units == [{"LoadState": "loaded", "ActiveState": "active"}, {"LoadState": "masked"}]
    assert state.restarts == {"a.service"}


def test_nothing_wrong_is_nothing_drifted() -> None:
    wanted = desired(
        files={"/c": {"content": SHA, "mode": "644", "owner": "root:root"}},
        packages={"kubelet": "1.2-3", "curl": ""},
    )
    text = f"mode\t/c\t644\troot:root\n{SHA}  /c\n"
    text += "package\tkubelet\thold ok installed\t1.2-3\npackage\tcurl\tinstall ok installed\t7\n"
    assert compare(wanted, parse(answer(text), "n1")) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "package kubelet (not installed)"),
        ("package\tkubelet\thold ok installed\t1.2-2\n", "package kubelet (1.2-2, wanted 1.2-3)"),
        ("package\tkubelet\tinstall ok installed\t1.2-3\n", "package kubelet (not held)"),
        ("package\tkubelet\tinstall ok half-configured\t1.2-3\n", "package kubelet (ok half-configured)"),
        ("package\tkubelet\tdeinstall ok config-files\t1.2-3\n", "package kubelet (not installed)"),
    ],
)
def test_drift_of_a_package(line: str, expected: str) -> None:
    assert [str(drift) for drift in compare(desired(packages={"kubelet": "1.2-3"}), parse(answer(line), "n1"))] == [
        expected
    ]


def test_sysctls_make_a_file_named_after_the_concern() -> None:
    wanted = desired(sysctls={"net.b": "1", "net.a": "0"})
    assert list(wanted.files) == ["/etc/sysctl.d/60-base.conf"]
    assert sysctl_text(wanted.sysctls).splitlines()[1:] == ["net.a = 0", "net.b = 1"]


def test_what_is_known_later_is_left_out_and_counts_as_unknown() -> None:
    wanted = desired(files={"/a": {"content": UNKNOWN, "mode": "0644", "owner": "root:root"}}, packages={"x": ""})
    assert (wanted.files, dict(wanted.packages), wanted.unknown) == ({}, {"x": ""}, True)


def test_inputs_that_mean_work_and_inputs_that_do_not() -> None:
    def script(**fields: object) -> dict[str, object]:
        return {"name": "s", "path": "a.sh", "sha256": "1", "environment": {}} | fields

    old = {
        "connection": CONNECTION,
        "files": {"/a": {"content": "1"}, "/gone": {"content": "2"}},
        "packages": {"p": "1", "q": "1"},
        "units": {"u": {}},
        "scripts": [script()],
        "peers": [],
    }
    same = {**old, "connection": {"node": "n1", "address": "10.0.0.2"}, "peers": [CONNECTION], "removal": [script()]}
    same |= {"scripts": [script(sha256="2", deadlineSeconds=9)], "packages": {"p": "1"}, "units": {}}
    assert changed_inputs(old, same) == []
    new = {**old, "files": {"/a": {"content": "3"}}, "packages": {"p": "2", "q": "1"}}
    assert changed_inputs(old, new) == ['files["/a"]', 'files["/gone"]', 'packages["p"]']
    assert changed_inputs(old, {**old, "scripts": [script(environment={"A": "1"})]}) == ["scripts[0].environment"]


def test_the_digest_of_what_was_applied_tells_nothing_about_secrets() -> None:
    plain_file = {"/a": {"content": SHA}}
    one = applied({"files": {**plain_file, "/s": {"content": "b" * 64}}}, {"b" * 64})
    two = applied({"files": {**plain_file, "/s": {"content": "c" * 64}}}, {"c" * 64})
    assert one == two
    assert applied({"files": {"/a": {"content": "d" * 64}}}, set()) != applied({"files": plain_file}, set())


def test_lasting_facts_with_a_tolerance_for_what_is_measured() -> None:
    before = {"cpus": 4, "memoryMib": 16000, "addresses": ["10.0.0.1"], "joined": False}
    assert changed(before, {**before, "memoryMib": 15900, "addresses": ["10.0.0.9"], "joined": True}) == []
    assert changed(before, {**before, "memoryMib": 8000, "cpus": 2}) == ["cpus", "memoryMib"]
    assert changed({}, before) == ["cpus", "memoryMib"]


def test_secrets_are_blanked_whole_and_in_telling_parts() -> None:
    secrets = Secrets()
    secrets.add("kubeadm join 10.77.0.10:6443 --token abcdef.0123456789abcdef\n--certificate-key 0011223344556677")
    shown = secrets.redact(
        "cannot join 10.77.0.10:6443 with abcdef.0123456789abcdef and 0011223344556677: --token is bad"
    )
    assert shown == "cannot join 10.77.0.10:6443 with [secret] and [secret]: --token is bad"
    secrets.add("hunter2 ")
    assert secrets.redact("password hunter2.") == "password [secret]."
    secrets.add("ab")
    assert secrets.redact("table") == "table"


def test_the_command_line_shows_no_content() -> None:
    command = Command("x.sh", "echo canary-body", "apply", {"A": "canary-environment"}, b"canary-stdin", 60, lock="n1")
    line = command.line("operator")
    assert "canary" not in line
    assert line.startswith("sudo -n flock -o -E 75 -w 60 /run/lock/host-n1.lock timeout -k 5 60 bash -c ")
    size, _, rest = command.payload().partition(b"\n")
    assert rest[int(size) :] == b"canary-stdin"
    assert command.line("root").startswith("flock ")


def test_values_survive_the_way_to_the_engine_and_back() -> None:
    value = {"a": [1, 2.5, True, None, "x"], "b": {"c": UNKNOWN}}
    assert plain(property_of(value)) == value
    seen: list[str] = []
    plain(property_of({"s": "hidden"}, secret=True), seen.append)
    assert seen == ["hidden"]
