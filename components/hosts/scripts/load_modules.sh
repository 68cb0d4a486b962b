#!/usr/bin/env bash
# Loads kernel modules for this boot; /etc/modules-load.d does it at the next ones.
# A module counts as there when it is loaded, built into the kernel, or its work is visible: a node that is itself a
# container has no /lib/modules and uses what its machine has loaded.
# Environment: MODULES, names separated by spaces.
set -euo pipefail

usable() {
  local module=$1
  [[ -d /sys/module/${module//-/_} ]] && return 0
  grep -Eqs "/${module//[-_]/[-_]}\.ko" "/lib/modules/$(uname -r)/modules.builtin" && return 0
  case $module in
    overlay) grep -qw overlay /proc/filesystems ;;
    br_netfilter) [[ -d /proc/sys/net/bridge ]] ;;
    *) return 1 ;;
  esac
}

missing=()
for module in $MODULES; do
  usable "$module" || missing+=("$module")
done
if ((${#missing[@]} == 0)); then
  echo "unchanged: $MODULES usable"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: not loaded: ${missing[*]}"
  exit 1
fi

for module in "${missing[@]}"; do
  modprobe -- "$module" || true
  usable "$module" || {
    echo "kernel module $module cannot be loaded into $(uname -r); Kubernetes needs it. Install the kernel's modules, or reboot into the installed kernel" >&2
    exit 2
  }
done
echo "loaded ${missing[*]}"
