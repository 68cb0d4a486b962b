#!/bin/bash
# Makes the root filesystem every node of the lab starts from: what a Debian 12 server has after its
# installer, and no more, so that a step that forgets to install something fails here as it would there.
# Writes to TARGET.partial and renames at the end: TARGET exists only when it is whole.
set -euo pipefail

target=${1:?usage: build-base.sh TARGET PACKAGES MIRROR}
packages=${2:?comma separated list of packages}
mirror=${3:?address of a Debian archive}

if [ -e "$target/etc/lab-base" ]; then
  echo "unchanged: $target is whole"
  exit 0
fi
partial=$target.partial
rm -rf --one-file-system -- "$partial" "$target"
mkdir -p "$partial"
if ! debootstrap --variant=minbase --include="$packages" bookworm "$partial" "$mirror" > "$target.log" 2>&1; then
  echo "debootstrap failed; last lines of $target.log:" >&2
  tail -n 5 "$target.log" "$partial/debootstrap/debootstrap.log" >&2 || true
  exit 1
fi

# One machine's identity must not become every machine's.
rm -f "$partial"/etc/ssh/ssh_host_*_key "$partial"/etc/ssh/ssh_host_*_key.pub "$partial/var/lib/dbus/machine-id"
: > "$partial/etc/machine-id"
rm -f "$partial"/var/cache/apt/archives/*.deb "$partial"/var/cache/apt/*.bin "$partial/etc/hostname" "$partial/etc/resolv.conf"
find "$partial/var/lib/apt/lists" -type f -delete
: > "$partial/etc/apt/sources.list"
: > "$partial/etc/fstab"
echo "LANG=C.UTF-8" > "$partial/etc/default/locale"
# A container has no console to log in on; the unit would be restarted for ever.
systemctl --root "$partial" --quiet mask console-getty.service getty.target
systemctl --root "$partial" --quiet set-default multi-user.target
systemctl --root "$partial" --quiet enable ssh.service

# A base built again under the same name is another base: a node's changes fit only the one they were made on.
cat /proc/sys/kernel/random/uuid > "$partial/etc/lab-base"
sync -f "$partial"
mv "$partial" "$target"
rm -f "$target.log"
