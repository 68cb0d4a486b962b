#!/usr/bin/env bash
# Fails at apply, showing its secret: the message must not.
set -euo pipefail

secret=$(cat)
if [[ $1 == check ]]; then
  echo "drifted: it always is"
  exit 1
fi
echo "working with $secret"
echo "cannot use $secret" >&2
exit 7
