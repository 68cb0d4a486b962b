"""Changes by hand on different nodes: preview names each of them and nothing else, `up` mends exactly those."""

from __future__ import annotations

from tests.support.lab import Lab
from tests.support.stack import Stack


def test_hand_made_drift_is_named_mended_and_gone(stack: Stack, lab: Lab) -> None:
    lab.shell("master-1", "rm /etc/crictl.yaml")
    lab.shell(
        "gpu-1",
        "apt-get update -q && apt-get install -y -q --allow-downgrades --allow-change-held-packages kubectl=1.34.2-1.0",
    )
    lab.shell("master-2", "systemctl stop chrony.service")
    lab.shell("gpu-2", "sysctl -w net.ipv4.ip_forward=0")

    preview = stack.preview().ok()
    assert preview.changes() == {
        "master-1-kubernetes": "update",
        "gpu-1-kubernetes": "update",
        "master-2-base": "update",
        "gpu-2-kubernetes": "update",
    }
    told = "\n".join(preview.messages)
    for node, what in (
        ("master-1", "/etc/crictl.yaml"),
        ("gpu-1", "kubectl"),
        ("master-2", "chrony.service"),
        ("gpu-2", "net.ipv4.ip_forward"),
    ):
        lines = [line for line in told.splitlines() if line.startswith(f"{node}: drifted:")]
        assert len(lines) == 1, told
        assert what in lines[0]

    up = stack.up().ok()
    assert up.changes() == preview.changes()
    assert lab.shell("gpu-1", "dpkg-query -W -f '${Version}' kubectl") == "1.34.2-1.1"
    assert lab.shell("master-2", "systemctl is-active chrony.service").strip() == "active"
    assert lab.shell("gpu-2", "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    lab.shell("master-1", "test -s /etc/crictl.yaml")
    assert stack.preview("--expect-no-changes").ok().changes() == {}
