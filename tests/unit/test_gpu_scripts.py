"""The driver's root scripts on a make-believe node: the lab's stand-ins for NVIDIA's programs, and every failure they know."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.scripts import ROOT, FakeNode, Ran

SCRIPTS = "components/hosts/scripts"
STAND_INS = ROOT / "lab/mirror/nvidia-packages"
KERNEL = platform.release()
VERSION, OLDER = "580.95.05", "570.124.06"
PLACES = re.compile(r"/(etc/nvidia-stand-in|usr/share/nvidia-stand-in|usr/src|var/lib/dkms|run)\b")
MODPROBE = """\
verb=load
if [[ $1 == -r ]]; then verb=unload; shift; fi
if [[ $1 == nouveau ]]; then
  if [[ ! -e $NODE_ROOT/nouveau-in-use ]]; then rm -rf "$NODE_ROOT/sys/module/nouveau"; fi
  exit 0
fi
if [[ $1 != nvidia ]]; then exit 0; fi
set -- $verb
"""


class Worker(FakeNode):
    """A node with one GPU and the stand-in packages of one driver release installed."""

    def install(self, version: str, *, headers: bool = True, library: str = "") -> None:
        for name in ("nvidia-smi", "dkms"):
            self.programs[name] = self.text(name)
        self.programs["modprobe"] = MODPROBE + self.text("module")
        self.programs |= {"sleep": "", "update-initramfs": "", "sync": ""}
        self.write("/usr/share/nvidia-stand-in/module", f"{version} open\n")
        self.write("/usr/share/nvidia-stand-in/library", f"{library or version}\n")
        self.write(f"/usr/src/nvidia-{version}/kind")
        self.write("/run/cdi/qwenvl-lab-gpus", "1")  # as systemd-tmpfiles writes it
        self.up(100000)
        if headers:
            self.write(f"/usr/src/linux-headers-{KERNEL}/kernel")

    def up(self, seconds: int) -> None:
        self.programs["ps"] = f"echo {seconds}"

    def text(self, name: str) -> str:
        return PLACES.sub(rf"{self.root}/\1", (STAND_INS / name).read_text())

    def switch(self, name: str) -> None:
        self.write(f"/etc/nvidia-stand-in/{name}")

    def driver(self, verb: str, stdin: str = "", owner: str = "program", version: str = VERSION) -> Ran:
        return self.run(f"{SCRIPTS}/gpu_driver.sh", verb, stdin, OWNER=owner, DRIVER_VERSION=version, MODULE="open")


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    node = Worker(tmp_path / "node")
    node.install(VERSION)
    return node


def restarted(ran: Ran) -> bool:
    return "systemctl reboot" in ran.calls


def test_a_fresh_driver_is_built_and_loaded_once(worker: Worker) -> None:
    assert worker.driver("check").output == "drifted: the driver's module is not loaded\n"
    ran = worker.driver("apply")
    assert (ran.code, ran.output.splitlines()[-1]) == (0, f"driver {VERSION} is loaded"), ran.errors
    assert f"dkms autoinstall -k {KERNEL}" in ran.calls
    assert not restarted(ran)
    again = worker.driver("apply")
    assert (again.code, again.output) == (0, f"unchanged: driver {VERSION} is loaded\n")
    assert {call.split()[0] for call in again.calls} == {"nvidia-smi"}, "a look changes nothing"


def test_a_module_that_is_built_is_not_built_again(worker: Worker) -> None:
    worker.write(f"/var/lib/dkms/nvidia/{VERSION}/{KERNEL}")
    assert not [call for call in worker.driver("apply").calls if call.startswith("dkms autoinstall")]


def test_no_headers_of_the_running_kernel(tmp_path: Path) -> None:
    node = Worker(tmp_path / "node")
    node.install(VERSION, headers=False)
    ran = node.driver("apply")
    assert ran.code == 2
    assert ran.errors.startswith(f"no headers of the running kernel {KERNEL}; the driver's module is built with them.")
    assert not restarted(ran)


def test_a_driver_that_does_not_build_for_the_kernel(worker: Worker) -> None:
    worker.switch("build-fails")
    ran = worker.driver("apply")
    assert ran.code == 2
    assert ran.errors.startswith(f"the driver's module {VERSION} cannot be built for kernel {KERNEL};")
    assert "make.log" in ran.errors


def test_secure_boot_refuses_the_module(worker: Worker) -> None:
    worker.switch("secure-boot")
    ran = worker.driver("apply")
    assert ran.code == 2
    assert ran.errors.startswith("the kernel refuses the driver's module: Secure Boot is on and the key")
    assert not restarted(ran), "a restart would not help"


def test_programs_without_the_driver_are_a_broken_installation(worker: Worker) -> None:
    del worker.programs["nvidia-smi"]
    assert worker.driver("check").output == "drifted: no nvidia-smi\n"
    ran = worker.driver("apply")
    assert ran.code == 2
    assert "installation is broken" in ran.errors


def upgraded(worker: Worker) -> None:
    """The older driver is loaded, the newer one's packages are there."""
    worker.install(OLDER)
    assert worker.driver("apply", version=OLDER).code == 0
    worker.install(VERSION)


def test_libraries_upgraded_beside_a_loaded_module_are_named_and_the_module_is_exchanged(worker: Worker) -> None:
    upgraded(worker)
    found = worker.driver("check")
    assert found.code == 1
    assert "libraries are 580.95: upgraded without a restart" in found.output
    ran = worker.driver("apply")
    assert ran.code == 0, ran.errors
    assert not restarted(ran)
    assert worker.driver("check").output == f"unchanged: driver {VERSION} is loaded\n"


def test_a_module_in_use_takes_a_restart(worker: Worker) -> None:
    upgraded(worker)
    worker.switch("in-use")
    ran = worker.driver("apply", "yes")
    assert restarted(ran)
    assert worker.exists("/var/lib/qwen3-vl/vacated")
    # What the restart does: nothing is loaded, then the new module.
    (worker.root / "run/nvidia-stand-in/loaded").unlink()
    assert worker.driver("apply").code == 0
    assert not worker.exists("/var/lib/qwen3-vl/restarted")
    assert worker.exists("/var/lib/qwen3-vl/vacated"), "bringing the node back is another script's"


def test_a_restart_that_did_not_help_is_not_tried_again(worker: Worker) -> None:
    upgraded(worker)
    worker.switch("in-use")
    assert restarted(worker.driver("apply"))
    worker.up(60)
    ran = worker.driver("apply")
    assert ran.code == 2
    assert not restarted(ran)
    assert "also after a restart" in ran.errors


def test_nouveau_goes_now_or_with_a_restart(worker: Worker) -> None:
    worker.write("/sys/module/nouveau/refcnt")
    assert worker.driver("check").output == "drifted: nouveau holds the GPUs\n"
    worker.write("/nouveau-in-use")
    ran = worker.driver("apply")
    assert restarted(ran)
    assert f"update-initramfs -u -k {KERNEL}" in ran.calls
    (worker.root / "nouveau-in-use").unlink()
    worker.up(5000)
    assert worker.driver("apply").code == 0


def test_the_kind_of_module_that_is_loaded_counts(worker: Worker) -> None:
    assert worker.driver("apply").code == 0
    line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {VERSION}  Wed Feb 26 01:56:22 UTC 2025\n"
    worker.write("/proc/driver/nvidia/version", line)
    assert worker.driver("check").output == "drifted: the loaded module is not the open one\n"
    worker.write("/proc/driver/nvidia/version", line.replace("x86_64 Kernel Module", "Open Kernel Module for x86_64"))
    assert worker.driver("check").code == 0


def test_a_gpu_that_is_missing_is_not_the_drivers_fault(worker: Worker) -> None:
    assert worker.driver("apply").code == 0
    worker.write(
        "/proc/driver/nvidia/version", f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}  x\n"
    )
    worker.write("/run/cdi/qwenvl-lab-gpus", "0\n")
    assert worker.driver("check").code == 0


def a_real_h100(worker: Worker, says: str = "echo '580.159.04, GPU-00000000-0000-0000-0000-000000000000'") -> None:
    """What nvidia-smi and the kernel said on one, with another UUID."""
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)  \n"
    worker.write("/proc/driver/nvidia/version", line + "GCC version:  gcc version 15.3.0 (GCC) \n")
    worker.programs["nvidia-smi"] = says


def test_the_driver_of_a_real_h100_is_understood(worker: Worker) -> None:
    a_real_h100(worker)
    ran = worker.driver("check", owner="installed", version="")
    assert (ran.code, ran.output) == (0, "unchanged: driver 580.159.04 is loaded\n")
    assert worker.driver("check").output == f"drifted: the loaded module is 580.159.04, wanted {VERSION}\n"


@pytest.mark.parametrize(
    "says",
    [
        "echo 'No devices were found'; exit 6",  # its device file hidden
        "echo 'Failed to initialize NVML: GPU access blocked by the operating system'; exit 17",  # nvidiactl hidden
    ],
)
def test_a_real_h100_out_of_reach_is_not_the_drivers_fault(worker: Worker, says: str) -> None:
    a_real_h100(worker, says)
    ran = worker.driver("check", version="580.159.04")
    assert (ran.code, ran.output) == (0, "unchanged: driver 580.159.04 is loaded\n")


@pytest.mark.parametrize("broken", ["unloaded", "mismatch"])
def test_a_driver_of_somebody_else_is_never_touched(worker: Worker, broken: str) -> None:
    if broken == "mismatch":
        upgraded(worker)
    ran = worker.driver("apply", owner="installed", version="")
    assert ran.code == 2
    assert "with gpu.driver.owner: installed this program does not touch the driver" in ran.errors
    assert {call.split()[0] for call in ran.calls} <= {"nvidia-smi"}


def test_any_version_of_somebody_elses_driver_will_do(worker: Worker) -> None:
    worker.install(OLDER)
    assert worker.driver("apply", version=OLDER).code == 0
    assert worker.driver("check", owner="installed", version="").code == 0


KUBECTL = """\
case "$*" in
  *"get node gpu-1"*) cat "$NODE_ROOT/node" 2>/dev/null ;;
  *"get pods"*) cat "$NODE_ROOT/owners" ;;
  *"create configmap"*) if [[ -e $NODE_ROOT/lock ]]; then exit 1; fi; echo gpu-1 >"$NODE_ROOT/lock" ;;
  *"get configmap"*) cat "$NODE_ROOT/lock" 2>/dev/null; exit 0 ;;
  *"delete configmap"*) rm -f "$NODE_ROOT/lock" ;;
esac
"""


@pytest.fixture
def peer(tmp_path: Path) -> FakeNode:
    """A control plane whose API knows the node gpu-1, in service, with a pod of a Deployment."""
    node = FakeNode(tmp_path / "peer")
    node.write("/etc/kubernetes/admin.conf")
    node.programs |= {"kubectl": KUBECTL, "sleep": ""}
    node.write("/node", "gpu-1||\n")
    node.write("/owners", "DaemonSet\nReplicaSet\n")
    return node


def on_peer(node: FakeNode, script: str) -> Ran:
    return node.run(f"{SCRIPTS}/{script}.sh", "apply", NODE_NAME="gpu-1", DRAIN_SECONDS="240")


def drains(ran: Ran) -> bool:
    return any(" drain gpu-1 " in call for call in ran.calls)


def test_a_node_is_emptied_under_a_lock_and_comes_back(peer: FakeNode) -> None:
    ran = on_peer(peer, "vacate_node")
    assert (ran.code, ran.output) == (0, "yes")
    assert drains(ran)
    order = [next(i for i, call in enumerate(ran.calls) if word in call) for word in ("configmap", "annotate", "drain")]
    assert order == sorted(order), "the mark is there before the node is taken out, or nobody would bring it back"
    back = on_peer(peer, "readmit_node")
    assert (back.code, back.output) == (0, "yes")
    assert any("uncordon gpu-1" in call for call in back.calls)
    assert not peer.exists("/lock")


@pytest.mark.parametrize(
    ("state", "owners"),
    [
        ("", "ReplicaSet\n"),  # not a member yet
        ("gpu-1||true\n", "ReplicaSet\n"),  # somebody took it out of service
        ("gpu-1||\n", "DaemonSet\nNode\n"),  # nothing on it that could move
    ],
)
def test_a_node_that_has_nothing_to_lose_is_left_alone(peer: FakeNode, state: str, owners: str) -> None:
    peer.write("/node", state)
    peer.write("/owners", owners)
    ran = on_peer(peer, "vacate_node")
    assert (ran.code, ran.output) == (0, "")
    assert not drains(ran)
    assert not peer.exists("/lock")


def test_an_interrupted_run_goes_on(peer: FakeNode) -> None:
    peer.write("/node", "gpu-1|driver|true\n")
    peer.write("/lock", "gpu-1\n")
    assert on_peer(peer, "vacate_node").output == "yes"


def test_one_gpu_node_at_a_time(peer: FakeNode) -> None:
    peer.write("/lock", "gpu-2\n")
    peer.programs["sleep"] = 'rm -f "$NODE_ROOT/lock"'
    ran = on_peer(peer, "vacate_node")
    assert ran.output == "yes"
    waited = ran.calls.index("sleep 5")
    assert not any("drain" in call for call in ran.calls[:waited])


def test_a_lock_is_never_taken_from_another_node(peer: FakeNode) -> None:
    peer.write("/lock", "gpu-2\n")
    assert on_peer(peer, "readmit_node").code == 0
    assert (peer.root / "lock").read_text() == "gpu-2\n"


@pytest.mark.parametrize("script", ["vacate_node", "readmit_node"])
def test_another_peer_is_asked_where_this_one_cannot(peer: FakeNode, script: str) -> None:
    peer.programs["kubectl"] = "echo refused >&2; exit 1"
    assert on_peer(peer, script).code == 4
    (peer.root / "etc/kubernetes/admin.conf").unlink()
    assert on_peer(peer, script).code == 3


def test_a_node_returns_only_when_a_control_plane_said_so(worker: Worker) -> None:
    script = f"{SCRIPTS}/return_to_service.sh"
    assert worker.run(script, "check").output == "unchanged: in service\n"
    worker.write("/var/lib/qwen3-vl/vacated")
    assert worker.run(script, "check").code == 1
    assert worker.run(script, "apply").code == 2
    assert worker.exists("/var/lib/qwen3-vl/vacated")
    assert worker.run(script, "apply", "yes").code == 0
    assert worker.run(script, "check").code == 0


def test_every_stand_in_is_a_sound_script() -> None:
    for name in ("dkms", "module", "nvidia-smi", "nvidia-container-runtime", "postinst", "prerm"):
        subprocess.run(["bash", "-n", STAND_INS / name], check=True)
