#!/usr/bin/env bash
# Removes the file of make_marker.sh.
set -euo pipefail

rm -f -- "$MARKER"
