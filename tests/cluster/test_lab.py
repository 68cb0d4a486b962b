"""The lab itself, on real containers: bare nodes, faults on purpose, repair from any condition, nothing left behind.

Takes the lab `small` over: whatever it held is removed.
"""

import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import ROOT, Lab

GATEWAY = "10.78.0.1"

# Python, package tools of the product, container programs: none is on a server after its installer.
NOT_ON_A_BARE_SERVER = ("python3", "curl", "containerd", "kubeadm", "nft", "keepalived", "gpg")


@pytest.fixture(scope="module")
def bare(small: Lab) -> Iterator[Lab]:
    """The lab `small`, made from nothing."""
    small.run("down")
    small.run("up", seconds=3600)
    yield small
    small.run("down")


@pytest.fixture
def lab(bare: Lab) -> Lab:
    """The lab, whole again after what the test before did to it."""
    bare.run("up")
    return bare


def node(lab: Lab, name: str) -> dict[str, object]:
    found: dict[str, object] = {entry["name"]: entry for entry in lab.status()["nodes"]}[name]
    return found


def leftovers(name: str) -> list[str]:
    """Everything on this machine that carries the lab's name."""
    interfaces = [path.name for path in Path("/sys/class/net").glob(f"qvl-{name}")]
    interfaces += [path.name for path in Path("/sys/class/net").glob(f"qvl-{name[0]}-*")]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/qvl-{name}*")]
    folder = Lab(name).state
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{folder}/" in line]
    return [*interfaces, *groups, *mounts, *processes(name), *([str(folder)] if folder.exists() else [])]


def processes(name: str) -> list[str]:
    """Process ids whose command line names the lab's folder or gateway: the containers' monitors and the mirror."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"{Lab(name).state}/" in words or f"/mirror-served/{GATEWAY}/" in words:
            found.append(path.name)
    return found


def test_nodes_are_whole_systems_with_identities_of_their_own(lab: Lab) -> None:
    status = lab.status()
    assert status["up"]
    assert status["bridge"]
    assert status["mirror"]
    assert [(entry["name"], entry["system"], entry["booted"]) for entry in status["nodes"]] == [
        ("head", "running", True),
        ("box", "running", True),
    ]
    assert [lab.shell(name, "hostname").strip() for name in ("head", "box")] == ["head", "box"]
    assert len({lab.shell(name, "cat /etc/machine-id") for name in ("head", "box")}) == 2
    assert lab.shell("head", "ping -c1 -W2 10.78.0.21 > /dev/null && echo reached").strip() == "reached"


def test_nodes_are_bare(lab: Lab) -> None:
    found = lab.shell("head", f"for p in {' '.join(NOT_ON_A_BARE_SERVER)}; do command -v $p; done; true")
    assert found == ""
    packages = lab.shell("head", "dpkg-query -f '${Package}\\n' -W").split()
    assert 100 < len(packages) < 200


def test_the_small_lab_lets_ops_in_with_sudo_and_root_not_at_all(lab: Lab) -> None:
    assert lab.shell("head", "id -un; sudo -n id -un").split() == ["ops", "root"]
    listed = json.loads((lab.state / "nodes.json").read_text())
    refused = subprocess.run(
        ["ssh", "-F", "none", "-i", listed["key"], "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
         "-o", f"UserKnownHostsFile={listed['known_hosts']}", "root@10.78.0.11", "true"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr


def test_packages_come_signed_from_the_labs_own_mirror(lab: Lab) -> None:
    assert "http://10.78.0.1:8081/debian bookworm" in lab.shell("box", "sudo apt-get update 2>&1")
    assert "10.78.0.1:8081" in lab.shell("box", "apt-cache policy containerd")
    lab.shell("box", "sudo rm /usr/share/keyrings/qwenvl-lab.gpg")
    assert "NO_PUBKEY" in lab.shell("box", "sudo apt-get update 2>&1; true")
    lab.run("up")
    assert "NO_PUBKEY" not in lab.shell("box", "sudo apt-get update 2>&1")


def test_a_second_up_changes_nothing_and_costs_little(lab: Lab) -> None:
    """Under 3 s on an idle machine; the processor time says so on a busy one, too."""
    before = lab.shell("head", "cut -d' ' -f22 /proc/1/stat")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = lab.run("up").stdout
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime < 2
    assert "none touched" in said
    assert lab.shell("head", "cut -d' ' -f22 /proc/1/stat") == before


def test_shell_passes_words_and_exit_code_on(lab: Lab) -> None:
    assert lab.run("shell", "head", "--", "printf", "%s|", "a b", "$HOME").stdout == "a b|$HOME|"
    assert lab.run("shell", "head", "--", "exit 42", check=False).returncode == 42


def test_a_power_cut_keeps_the_disk_and_the_identity(lab: Lab) -> None:
    identity = lab.shell("head", "cat /etc/machine-id; echo kept > kept; sync")
    lab.run("kill", "head")
    assert node(lab, "head")["running"] is False
    assert "unchanged" in lab.run("kill", "head").stdout
    lab.run("start", "head")
    assert lab.shell("head", "cat /etc/machine-id") == identity
    assert lab.shell("head", "cat kept").strip() == "kept"
    assert "unchanged" in lab.run("start", "head").stdout


def test_a_cut_node_runs_on_in_silence_until_it_is_healed(lab: Lab) -> None:
    lab.run("cut", "box")
    cut = node(lab, "box")
    assert (cut["running"], cut["cut"], cut["booted"], cut["system"]) == (True, True, False, "running")
    assert lab.shell("head", "ping -c1 -W1 10.78.0.21 > /dev/null || echo silent").strip() == "silent"
    lab.run("heal", "box")
    assert lab.shell("head", "ping -c3 -W1 10.78.0.21 > /dev/null && echo reached").strip() == "reached"
    lab.run("kill", "box")
    refused = lab.run("cut", "box", check=False)
    assert refused.returncode == 1
    assert refused.stderr == "lab: box: is off; its network cable does nothing. Run `lab/lab start box`\n"


def test_an_added_machine_stays_and_a_removed_one_stays_away(lab: Lab) -> None:
    lab.run("add", "extra", "worker", "--gpus", "1")
    first = str(node(lab, "extra")["address"])
    assert lab.shell("extra", "hostname").strip() == "extra"
    taken = lab.run("add", "other", "worker", "--address", first, check=False)
    assert (taken.returncode, taken.stderr) == (1, f"lab: other: address {first} belongs to extra; use another\n")
    assert "none touched" in lab.run("up").stdout
    lab.run("remove", "extra")
    assert not Path("/sys/class/net/qvl-s-extra").exists()
    assert first not in (lab.state / "known_hosts").read_text()
    assert "extra" not in lab.run("up").stdout
    lab.run("add", "extra", "worker")
    assert node(lab, "extra")["address"] != first
    lab.run("remove", "extra")


def test_reset_gives_back_bare_nodes_with_the_same_address_and_host_key(lab: Lab) -> None:
    pinned = (lab.state / "known_hosts").read_text()
    identity = lab.shell("head", "cat /etc/machine-id")
    lab.shell("head", "echo trace | sudo tee /var/lib/etcd/trace /var/log/trace /usr/trace")
    (lab.state / "state" / "trace").write_text("")
    lab.run("reset")
    assert lab.shell("head", "ls /var/lib/etcd/trace /var/log/trace /usr/trace 2>/dev/null; true") == ""
    assert lab.shell("head", "cat /etc/machine-id") != identity
    assert (lab.state / "known_hosts").read_text() == pinned
    assert list((lab.state / "state").iterdir()) == []


def test_up_starts_nodes_whose_processes_were_ended(lab: Lab) -> None:
    lab.shell("head", "echo kept > kept; sync")
    for pid in processes("small"):
        if b"[lxc monitor]" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.5)
    assert [entry["running"] for entry in lab.status()["nodes"]] == [False, False]
    assert "2 touched" in lab.run("up").stdout
    assert lab.shell("head", "cat kept").strip() == "kept"


def test_up_mends_the_network(lab: Lab) -> None:
    subprocess.run(["ip", "link", "delete", "qvl-small"], check=True)
    assert not lab.status()["bridge"]
    lab.run("up")
    assert lab.shell("head", "ping -c1 -W2 10.78.0.21 > /dev/null && echo reached").strip() == "reached"


def test_up_power_cycles_a_node_that_runs_but_does_not_answer(lab: Lab) -> None:
    lab.shell("head", "sudo systemctl stop ssh.socket ssh.service")
    said = lab.run("up").stdout
    assert "head: runs but is silent" in said
    assert "1 touched" in said
    assert node(lab, "head")["booted"]


def test_up_finishes_a_half_made_node_and_leaves_the_others(lab: Lab) -> None:
    lab.shell("head", "echo kept > kept; sync")
    lab.run("kill", "box")
    (lab.state / "nodes/box/node.json").unlink()
    assert "1 touched" in lab.run("up").stdout
    assert lab.shell("head", "cat kept").strip() == "kept"


def test_a_lost_disk_rebuilds_the_whole_lab_and_empties_the_state(lab: Lab) -> None:
    lab.shell("head", "echo old > old")
    (lab.state / "state" / "old").write_text("")
    lab.run("kill", "box")
    subprocess.run(["rm", "-rf", str(lab.state / "nodes/box/delta")], check=True)
    assert "2 touched" in lab.run("up").stdout
    assert lab.shell("head", "ls old 2>/dev/null; true") == ""
    assert list((lab.state / "state").iterdir()) == []


@pytest.mark.parametrize(
    "seconds", [0.3, *(pytest.param(each, marks=pytest.mark.chaos) for each in (0.1, 0.2, 0.45, 0.6, 0.9))]
)
def test_an_up_killed_at_any_moment_is_finished_by_the_next(lab: Lab, seconds: float) -> None:
    lab.run("down")
    with subprocess.Popen(
        [str(ROOT / "lab/lab"), "up"],
        env={**os.environ, "LAB": "small"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
    lab.run("up")
    assert [entry["system"] for entry in lab.status()["nodes"]] == ["running", "running"]


def test_two_ups_at_once_wait_for_each_other(lab: Lab) -> None:
    lab.run("reset")
    environment = {**os.environ, "LAB": "small"}
    for name in ("head", "box"):
        lab.run("kill", name)
    both = [
        subprocess.Popen([str(ROOT / "lab/lab"), "up"], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(re.findall(r"2 touched|none touched", "".join(said))) == ["2 touched", "none touched"]


def test_down_leaves_nothing_even_of_a_broken_lab(lab: Lab) -> None:
    assert len(processes("small")) >= 4  # two monitors, two servers
    (lab.state / "mirror/mirror.json").unlink()
    (lab.state / "nodes/head/config").unlink()
    (lab.state / "nodes.json").unlink()
    subprocess.run(["ip", "link", "delete", "qvl-small"], check=True)
    lab.run("down")
    assert leftovers("small") == []
    assert "small: down" in lab.run("status").stdout
    assert lab.run("shell", "head", check=False).stderr == "lab: lab small: not up; run `lab/lab up`\n"
    lab.run("down")
