"""Unattended upgrades: security updates every day, never what the cluster changes one node after another, never a restart.

A restart is a step of the cluster's own: all nodes at four in the morning would be an outage. Nodes say in
/var/run/reboot-required that they wait for one.
"""

from __future__ import annotations

from components.settings import Upgrades

# The distribution's name and suite, as unattended-upgrades fills them in; what a release file does not carry matches nothing.
ORIGINS = (
    "origin=Debian,codename=${distro_codename},label=Debian-Security",
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu",
)
NEVER = ("^containerd", "^runc$", "^kube", "^cri-tools$", "^nvidia-", "^libnvidia-")


def upgrades_conf(upgrades: Upgrades) -> str:
    """apt's configuration, read after the distribution's own files. Held packages are left out by the program itself."""
    never = " ".join(f'"{pattern}";' for pattern in NEVER)
    lines = [
        "// Upgrades of these are steps of the cluster's own, one node after another.",
        f"Unattended-Upgrade::Package-Blacklist {{ {never} }};",
        'Unattended-Upgrade::Automatic-Reboot "false";',
    ]
    if upgrades.security:
        origins = "".join(f'  "{origin}";\n' for origin in (*ORIGINS, *upgrades.origins))
        lines += [
            "// Security updates only, whatever the distribution's own files say.",
            "#clear Unattended-Upgrade::Allowed-Origins;",
            "#clear Unattended-Upgrade::Origins-Pattern;",
            f"Unattended-Upgrade::Origins-Pattern {{\n{origins}}};",
            'Unattended-Upgrade::Remove-Unused-Dependencies "false";',
            'APT::Periodic::Update-Package-Lists "1";',
            'APT::Periodic::Unattended-Upgrade "1";',
        ]
    return "\n".join(lines) + "\n"
