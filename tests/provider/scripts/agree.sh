#!/usr/bin/env bash
# In rounds: all nodes get one value, drawn by the first, then each says so. /mnt is the node's own folder.
# Environment: LOG, ROUND.
set -euo pipefail

if [[ $1 == check ]]; then
  if [[ -e /mnt/agreed ]]; then echo "unchanged: agreed" && exit 0; fi
  echo "drifted: not agreed"
  exit 1
fi
echo "$(cat /mnt/name) $ROUND" >>"$LOG"
case $ROUND in
  offer)
    value=$(cat)
    : "${value:=canary-drawn-1}"
    echo "$value" >/mnt/value
    echo "$value"
    ;;
  agree)
    if [[ -e /mnt/broken ]]; then echo "cannot agree on $(cat /mnt/value)" >&2 && exit 2; fi
    mv /mnt/value /mnt/agreed
    ;;
esac
