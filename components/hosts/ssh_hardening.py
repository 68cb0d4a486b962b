"""sshd's hardened settings: keys only, few attempts, no algorithm that is out of date."""

from __future__ import annotations

from components.hosts.confirmed import confirmed_script, installed, installed_file
from host.resources import File, Script, Unit

SCRIPT = "components/hosts/scripts/harden_ssh.sh"
INSTALLED = installed(SCRIPT)
WANTED = "/etc/qwen3-vl/sshd.conf"
UNDO_UNIT = "qwen3-vl-ssh-undo.service"

# Algorithms are taken away from sshd's own list, so that newer ones are there as soon as sshd has them.
SETTINGS = """\
# Written by Pulumi.
PermitRootLogin {root}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
MaxAuthTries 4
LoginGraceTime 30
X11Forwarding no
PermitUserEnvironment no
KexAlgorithms -*-sha1,ecdh-sha2-*,diffie-hellman-group14-*
Ciphers -*-cbc,*arcfour*
MACs -*sha1*,*md5*,umac-64*,hmac-sha2-256,hmac-sha2-512,umac-128@openssh.com
HostKeyAlgorithms -ssh-rsa,ssh-dss*,ssh-rsa-cert*
"""
# After a boot nobody is there any more to confirm what was not.
UNDO = f"""\
[Unit]
Description=Take back settings of sshd that nobody confirmed
ConditionPathExists=/var/lib/qwen3-vl/sshd.former
Before=ssh.service

[Service]
Type=oneshot
ExecStart={INSTALLED} revert

[Install]
WantedBy=multi-user.target
"""


def sshd_settings(user: str) -> str:
    """sshd_config(5) where `user` is who logs in: root needs to be able to only if it is root."""
    return SETTINGS.format(root="prohibit-password" if user == "root" else "no")


def hardening_files(user: str) -> dict[str, File]:
    """Files by path."""
    return installed_file(SCRIPT) | {
        WANTED: File(content=sshd_settings(user), mode="0600"),
        f"/etc/systemd/system/{UNDO_UNIT}": File(content=UNDO),
    }


def hardening_units() -> dict[str, Unit]:
    """For the next boot."""
    return {UNDO_UNIT: Unit(running=None)}


def hardening_script(*, on: bool) -> Script:
    return confirmed_script(SCRIPT, "HARDEN", on=on)
