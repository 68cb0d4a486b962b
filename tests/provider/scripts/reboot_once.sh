#!/usr/bin/env bash
# Ends its own connection the first time, as a reboot does.
set -euo pipefail

if [[ -e $TARGET ]]; then
  echo "unchanged: it has rebooted"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: it has not rebooted"
  exit 1
fi
touch "$TARGET"
# The session's sshd is the parent of the shell that runs timeout: walk up to it.
pid=$$
while [[ $(cat "/proc/$pid/comm") != sshd ]]; do
  pid=$(awk '{ print $4 }' "/proc/$pid/stat")
done
kill -KILL "$pid"
sleep 30
