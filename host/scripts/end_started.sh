#!/usr/bin/env bash
# Ends every process that a command past its deadline has left behind, also those that made themselves a session of
# their own: all of them carry the command's mark in their environment. Standard input: the mark.
set -euo pipefail

IFS= read -r mark
[[ $mark =~ ^[0-9a-f]{32}$ ]] || exit 2
for signal in TERM KILL; do
  found=()
  for environment in /proc/[0-9]*/environ; do
    if grep -qzFx -- "HOST_COMMAND=$mark" "$environment" 2>/dev/null; then
      pid=${environment#/proc/}
      found+=("${pid%/environ}")
    fi
  done
  ((${#found[@]})) || exit 0
  kill -s "$signal" -- "${found[@]}" 2>/dev/null || true
  sleep 1
done
