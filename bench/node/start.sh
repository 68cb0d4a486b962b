#!/bin/bash
# Run the farm's sshd in mounts of its own: start.sh FARM SSHD CONFIG. What is mounted here is seen by the farm's
# sessions only and goes with the last of them. /mnt shows the farm, so that a session's own /root and /tmp hide nothing.
set -euo pipefail
farm=$1 sshd=$2 config=$3
mount --bind "$farm" /mnt
mount --bind /mnt/passwd /etc/passwd
mount --bind /mnt/shadow /etc/shadow
mount -t tmpfs -o mode=0755,size=1m farm-run /run
mkdir /run/sshd
exec "$sshd" -D -f "$config" -E /mnt/sshd.log
