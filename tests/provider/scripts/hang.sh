#!/usr/bin/env bash
# Runs for ever, with one child in its process group and one that left it.
set -euo pipefail

if [[ $1 == check ]]; then
  echo "drifted: always"
  exit 1
fi
echo "before the wait"
setsid sleep "$NAP" &
sleep "$NAP" &
wait
