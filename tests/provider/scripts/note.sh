#!/usr/bin/env bash
# Notes that it ran, and for whom.
set -euo pipefail

echo "$NOTE" >>"$TARGET"
