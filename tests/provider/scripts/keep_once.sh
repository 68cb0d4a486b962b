#!/usr/bin/env bash
# Keeps the material it is given in $TARGET, once.
set -euo pipefail

if [[ -s $TARGET ]]; then
  echo "unchanged: $TARGET is there"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $TARGET is missing"
  exit 1
fi
cat >"$TARGET"
