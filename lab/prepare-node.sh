#!/bin/bash
# Turns the shared base into one machine: name, identity, addresses, operator's key, package source.
# Runs in a mount namespace of its own (unshare --mount), so that a crash leaves no mount behind.
# Usage: prepare-node.sh NODE_FOLDER BASE NAME ADDRESS GATEWAY USER PUBLIC_KEY_FILE
set -euo pipefail

folder=$1 base=$2 name=$3 address=$4 gateway=$5 user=$6 public_key=$7
delta=$folder/delta
root=$folder/rootfs

if [ -s "$delta/etc/machine-id" ]; then
  echo "unchanged: $name is prepared"
  exit 0
fi

rm -rf --one-file-system -- "$delta" "$folder/work" "$folder/volumes"
mkdir -p "$delta" "$folder/work" "$root"
for volume in containerd kubelet etcd exports; do
  mkdir -p "$folder/volumes/$volume"
done
cp -a "$base/var/log" "$folder/volumes/log"

mount -t overlay "overlay-$name" -o "lowerdir=$base,upperdir=$delta,workdir=$folder/work" "$root"

echo "$name" > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n%s\t%s\n\n::1\tlocalhost ip6-localhost ip6-loopback\n' "$address" "$name" > "$root/etc/hosts"
# Nothing resolves names outside the lab; a resolver that refuses at once beats none (CoreDNS wants one) and one that times out.
echo "nameserver $gateway" > "$root/etc/resolv.conf"
echo "deb [signed-by=/usr/share/keyrings/qwenvl-lab.gpg] http://$gateway:8081/debian bookworm main" > "$root/etc/apt/sources.list"
install -m 600 "$folder"/host-keys/ssh_host_*_key "$root/etc/ssh/"
install -m 644 "$folder"/host-keys/ssh_host_*_key.pub "$root/etc/ssh/"
echo "PasswordAuthentication no" > "$root/etc/ssh/sshd_config.d/lab.conf"

home=/root
if [ "$user" != root ]; then
  chroot "$root" useradd --create-home --shell /bin/bash "$user"
  install -m 440 /dev/null "$root/etc/sudoers.d/$user"
  echo "$user ALL=(ALL) NOPASSWD: ALL" > "$root/etc/sudoers.d/$user"
  echo "PermitRootLogin no" >> "$root/etc/ssh/sshd_config.d/lab.conf"
  home=/home/$user
fi
chroot "$root" install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
install -m 600 "$public_key" "$root$home/.ssh/authorized_keys"
chroot "$root" chown "$user:$user" "$home/.ssh/authorized_keys"

# Written last: its presence is what says that the node is prepared.
tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"
umount "$root"
echo "prepared $name"
