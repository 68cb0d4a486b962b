"""The hosts layer's root scripts by table: swap, kernel modules, package keys."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.scripts import FakeNode, Ran

SCRIPTS = "components/hosts/scripts"
FSTAB = """\
# /etc/fstab
UUID=1 / ext4 defaults 0 1
/swap.img none swap sw 0 0
UUID=2 /swap ext4 defaults 0 2
"""
NO_SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    fake = FakeNode(tmp_path / "node")
    fake.write("/proc/swaps", NO_SWAPS)
    return fake


def test_no_swap_is_nothing_to_do(node: FakeNode) -> None:
    node.write("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n")
    assert node.run(f"{SCRIPTS}/swap_off.sh", "check").output == "unchanged: no swap\n"


def test_swap_goes_off_now_and_at_the_next_boot_and_nothing_else_in_fstab_changes(node: FakeNode) -> None:
    node.write("/etc/fstab", FSTAB)
    node.write("/proc/swaps", NO_SWAPS + "/swap.img file 2097148 0 -2\n")
    found = node.run(f"{SCRIPTS}/swap_off.sh", "check")
    assert (found.code, found.output) == (1, "drifted: swap is on or configured: /swap.img\n")
    assert (node.root / "etc/fstab").read_text() == FSTAB
    ran = node.run(f"{SCRIPTS}/swap_off.sh", "apply")
    assert "swapoff -a" in ran.calls
    changed = FSTAB.replace("/swap.img none", "# off, kubelet needs it so: /swap.img none")
    assert (node.root / "etc/fstab").read_text() == changed
    node.write("/proc/swaps", NO_SWAPS)
    assert node.run(f"{SCRIPTS}/swap_off.sh", "check").code == 0


def test_swap_that_systemd_finds_by_itself_is_masked(node: FakeNode) -> None:
    node.write("/proc/swaps", NO_SWAPS + "/dev/sda3 partition 2097148 0 -2\n")
    node.program("systemctl", "")
    script = f"{SCRIPTS}/swap_off.sh"
    node.programs["systemctl"] = 'if [[ $1 == list-units ]]; then echo "dev-sda3.swap loaded active active Swap"; fi'
    assert "systemctl mask --quiet -- dev-sda3.swap" in node.run(script, "apply").calls


MODULES = "overlay br_netfilter"


@pytest.mark.parametrize("way", ["loaded", "built in", "visible"])
def test_modules_that_are_usable_are_not_loaded_again(node: FakeNode, way: str) -> None:
    """In a container there is no /lib/modules; what its machine has loaded shows by its work."""
    script = f"{SCRIPTS}/load_modules.sh"
    assert node.run(script, "check", MODULES=MODULES).output == f"drifted: not loaded: {MODULES}\n"
    if way == "loaded":
        node.write("/sys/module/overlay/refcnt")
        node.write("/sys/module/br_netfilter/refcnt")
    elif way == "built in":
        release = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
        text = "kernel/fs/overlayfs/overlay.ko\nkernel/net/bridge/br_netfilter.ko\n"
        node.write(f"/lib/modules/{release}/modules.builtin", text)
    else:
        node.write("/proc/filesystems", "nodev\toverlay\n")
        node.write("/proc/sys/net/bridge/bridge-nf-call-iptables")
    assert node.run(script, "check", MODULES=MODULES).output == f"unchanged: {MODULES} usable\n"
    assert not [call for call in node.run(script, "apply", MODULES=MODULES).calls if call.startswith("modprobe")]


def test_a_module_that_cannot_be_loaded_is_named(node: FakeNode) -> None:
    modules = "no-such-module-1"
    assert (
        node.run(f"{SCRIPTS}/load_modules.sh", "check", MODULES=modules).output == f"drifted: not loaded: {modules}\n"
    )
    ran = node.run(f"{SCRIPTS}/load_modules.sh", "apply", MODULES=modules)
    assert ran.code == 2
    assert "kernel module no-such-module-1 cannot be loaded" in ran.errors
    assert f"modprobe -- {modules}" in ran.calls


class Publisher:
    """Whoever publishes a key: what `curl` delivers."""

    def __init__(self, node: FakeNode, content: bytes) -> None:
        self.node = node
        self.publish(content)
        node.programs["curl"] = """\
while [[ $1 != -o ]]; do shift; done
if [[ -e $NODE_ROOT/published ]]; then cp "$NODE_ROOT/published" "$2"; else exit 22; fi
"""

    def publish(self, content: bytes | None) -> None:
        path = self.node.root / "published"
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    def trust(self, verb: str, sha256: str = "", fingerprint: str = "") -> Ran:
        return self.node.run(
            f"{SCRIPTS}/trust_apt_key.sh",
            verb,
            KEY_URL="https://packages.example.com/key.asc",
            KEY_PATH=f"{self.node.root}/etc/apt/keyrings/kubernetes.asc",
            KEY_SHA256=sha256,
            KEY_FINGERPRINT=fingerprint,
        )

    @property
    def kept(self) -> Path:
        return self.node.root / "etc/apt/keyrings/kubernetes.asc"


def test_a_key_is_fetched_once(node: FakeNode) -> None:
    publisher = Publisher(node, b"a key")
    assert publisher.trust("check").output == f"drifted: no {publisher.kept}\n"
    assert publisher.trust("apply").code == 0
    assert publisher.kept.read_bytes() == b"a key"
    publisher.publish(None)
    assert publisher.trust("check").code == 0
    assert publisher.trust("apply").output.startswith("unchanged")


def test_a_key_with_another_digest_is_never_kept(node: FakeNode) -> None:
    publisher = Publisher(node, b"another key")
    wanted = hashlib.sha256(b"a key").hexdigest()
    ran = publisher.trust("apply", sha256=wanted)
    assert ran.code == 2
    assert "delivers another key" in ran.errors
    assert not publisher.kept.exists()
    publisher.publish(b"a key")
    assert publisher.trust("apply", sha256=wanted).code == 0


def test_a_key_that_was_exchanged_on_the_node_is_drift(node: FakeNode) -> None:
    publisher = Publisher(node, b"a key")
    wanted = hashlib.sha256(b"a key").hexdigest()
    publisher.trust("apply", sha256=wanted)
    publisher.kept.write_bytes(b"a thief's key")
    assert publisher.trust("check", sha256=wanted).code == 1
    publisher.trust("apply", sha256=wanted)
    assert publisher.kept.read_bytes() == b"a key"


def test_a_source_that_cannot_be_reached_is_said_with_its_remedy(node: FakeNode) -> None:
    publisher = Publisher(node, b"")
    publisher.publish(None)
    ran = publisher.trust("apply")
    assert ran.code == 2
    assert "cannot fetch https://packages.example.com/key.asc" in ran.errors


@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg")
def test_the_fingerprint_decides_where_the_file_itself_changes(node: FakeNode, tmp_path: Path) -> None:
    """Two keys in one file would both be trusted, so both must be the expected one."""

    def key(name: str) -> tuple[bytes, str]:
        home = tmp_path / name
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
        subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "0"], check=True)
        listed = subprocess.run(
            [*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
        ).stdout
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
        exported = subprocess.run([*gpg, "--export", "--armor"], check=True, capture_output=True).stdout
        return exported, fingerprint

    (good, fingerprint), (bad, _) = key("publisher"), key("thief")
    publisher = Publisher(node, bad)
    assert publisher.trust("apply", fingerprint=fingerprint).code == 2
    publisher.publish(good + bad)
    assert publisher.trust("apply", fingerprint=fingerprint).code == 2
    assert not publisher.kept.exists()
    publisher.publish(good)
    assert publisher.trust("apply", fingerprint=fingerprint).code == 0
    assert publisher.trust("check", fingerprint=fingerprint).code == 0
