#!/usr/bin/env bash
# Sets kernel parameters of the running system. Standard input: KEY<tab>VALUE lines.
set -euo pipefail

while IFS=$'\t' read -r key value; do
  sysctl -qw -- "$key=$value" || { echo "cannot set $key to '$value'" >&2; exit 1; }
done
