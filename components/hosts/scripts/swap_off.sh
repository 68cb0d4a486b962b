#!/usr/bin/env bash
# Switches swap off now and at the next boot: kubelet refuses to start with it.
# Swap partitions that systemd finds by itself (no line in fstab) are masked.
set -euo pipefail

active() { tail -n +2 /proc/swaps | cut -d ' ' -f 1; }
configured() { grep -E '^[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]' /etc/fstab 2>/dev/null || true; }

on=$(active)
lines=$(configured)
if [[ -z $on && -z $lines ]]; then
  echo "unchanged: no swap"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: swap is on or configured: ${on:-in /etc/fstab}"
  exit 1
fi

if [[ -n $lines ]]; then
  sed -i -E 's/^([^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]].*)$/# off, kubelet needs it so: \1/' /etc/fstab
  systemctl daemon-reload
fi
units=$(systemctl list-units --type=swap --plain --no-legend | cut -d ' ' -f 1)
swapoff -a
for unit in $units; do
  systemctl mask --quiet -- "$unit"
done
echo "swap is off"
