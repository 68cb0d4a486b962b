#!/usr/bin/env bash
# Material for keep_once.sh: another value at each call.
set -euo pipefail

echo "minted-$RANDOM$RANDOM$RANDOM$RANDOM"
