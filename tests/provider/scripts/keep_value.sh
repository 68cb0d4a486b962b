#!/usr/bin/env bash
# Keeps what comes by standard input in the file $TARGET.
set -euo pipefail

value=$(cat)
if [[ -e $TARGET && $(<"$TARGET") == "$value" ]]; then
  echo "unchanged: $TARGET holds it"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $TARGET does not hold it"
  exit 1
fi
printf '%s\n' "$value" >"$TARGET"
