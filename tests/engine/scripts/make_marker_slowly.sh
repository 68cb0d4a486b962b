#!/usr/bin/env bash
# Makes $MARKER in some seconds and notes its begin and end in $MARKER.begun.
set -euo pipefail

cat >/dev/null
if [[ -e $MARKER ]]; then
  echo "unchanged: $MARKER is there"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $MARKER is missing"
  exit 1
fi
echo begin >>"$MARKER.begun"
sleep 4
echo end >>"$MARKER.begun"
echo "made" >"$MARKER"
