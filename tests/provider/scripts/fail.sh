#!/usr/bin/env bash
# Fails at apply, after it has shown its input on both outputs.
set -euo pipefail

if [[ $1 == check ]]; then
  echo "drifted: always"
  exit 1
fi
value=$(cat)
echo "working with $value"
echo "cannot use $value here" >&2
exit 7
