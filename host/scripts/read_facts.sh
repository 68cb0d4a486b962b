#!/usr/bin/env bash
# Prints what a node is, as KEY<tab>VALUE lines; keys may repeat. Needs no root and no Python. Changes nothing.
set -euo pipefail

say() { printf '%s\t%s\n' "$1" "$2"; }
first() { local line=; IFS= read -r line 2>/dev/null <"$1" || true; printf '%s' "$line"; }

say hostname "$(uname -n)"
say machineId "$(first /etc/machine-id)"
say kernel "$(uname -r)"
say architecture "$(uname -m)"
say cpus "$(nproc)"
if [[ -r /etc/os-release ]]; then
  # shellcheck disable=SC1091
  (. /etc/os-release && say osId "${ID:-}" && say osVersionId "${VERSION_ID:-}" && say osCodename "${VERSION_CODENAME:-}")
fi
while read -r key value _; do
  if [[ $key == MemTotal: ]]; then say memoryMib $((value / 1024)); fi
done </proc/meminfo
df -Pk / | while read -r _ size _ free _ mount; do
  if [[ $mount == / ]]; then say rootDiskKib "$size"; say rootFreeKib "$free"; fi
done
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then say cgroupVersion 2; else say cgroupVersion 1; fi

if type -P ip >/dev/null; then
  ip -o -4 addr show scope global | while read -r _ name _ address _; do say address "${address%/*} ${name%%@*}"; done
else
  for address in $(hostname -I 2>/dev/null || true); do say address "$address"; done
fi

{ read -r _; while read -r name _; do say swap "$name"; done; } </proc/swaps || true
for device in /sys/bus/pci/devices/*; do
  [[ -r $device/class && $(first "$device/class") == 0x03* && $(first "$device/vendor") == 0x10de ]] || continue
  vendor=$(first "$device/vendor") model=$(first "$device/device")
  say gpu "${vendor#0x}:${model#0x}"
done

# The variable's last byte says whether the firmware checks what it starts; the kernel then checks modules in turn.
secure_boot() {
  local variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c key
  if [[ ! -r $variable || $(od -An -t u1 -j 4 -N 1 "$variable" | tr -d ' ') != 1 ]]; then echo off; return; fi
  # The key that Ubuntu's, and that DKMS' own modules are signed with.
  for key in /var/lib/shim-signed/mok/MOK.der /var/lib/dkms/mok.pub; do
    if [[ $(mokutil --test-key "$key" 2>/dev/null) == *"is already enrolled"* ]]; then echo enrolled; return; fi
  done
  echo on
}
say secureBoot "$(secure_boot)"

# State 0A is LISTEN; the port is the hexadecimal part of the local address.
for table in /proc/net/tcp /proc/net/tcp6; do
  [[ -r $table ]] || continue
  while read -r _ local _ state _; do
    if [[ $state == 0A ]]; then say listening $((16#${local##*:})); fi
  done <"$table"
done

# What other nodes are to know this one by; read over a connection whose host key was verified.
for file in /etc/ssh/ssh_host_*_key.pub; do
  if [[ -r $file ]] && read -r kind key _ <"$file"; then say hostKey "$kind $key"; fi
done
say python "$(type -P python3 || true)"
if [[ $EUID == 0 ]] || sudo -n true 2>/dev/null; then say sudo yes; else say sudo no; fi
if [[ -e /etc/kubernetes/kubelet.conf || -e /etc/kubernetes/bootstrap-kubelet.conf ]]; then say joined yes; else say joined no; fi
say bootId "$(first /proc/sys/kernel/random/boot_id)"
# Last, so that it is close to the moment the operator's clock is read.
say clock "$(date +%s.%N)"
