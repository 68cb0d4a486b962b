#!/usr/bin/env bash
# Writes files, each at once or not at all: beside the target, flushed, then renamed over it.
#
# Standard input, records separated by newlines, fields by tabs:
#   restart UNIT                       to be restarted once the files are there; survives an interruption
#   file PATH MODE OWNER SIZE, followed by SIZE bytes
#   attributes PATH MODE OWNER         the content is right already
#   remove PATH SHA256                 only if it still has this content
set -euo pipefail
umask 022

temporary=
trap 'if [[ -n $temporary ]]; then rm -f -- "$temporary"; fi' EXIT

fail() {
  echo "$1" >&2
  exit 1
}

while IFS=$'\t' read -r kind path mode owner size; do
  case $kind in
    restart)
      mkdir -p /run/host-provider/restart
      : >"/run/host-provider/restart/$path"
      ;;
    file)
      [[ ! -d $path || -L $path ]] || fail "$path is a directory; a file is wanted there. Move it away."
      folder=${path%/*}
      mkdir -p -- "${folder:-/}" || fail "cannot create the folder $folder of $path"
      temporary=$(mktemp -- "${folder:-}/.${path##*/}.XXXXXX") || fail "cannot write in $folder; $path is unchanged"
      head -c "$size" >"$temporary" || fail "cannot write $path; it is unchanged"
      [[ $(stat -c %s -- "$temporary") == "$size" ]] || fail "cannot write $path: the transfer ended early; it is unchanged"
      chown -- "$owner" "$temporary" || fail "cannot give $path to $owner; it is unchanged"
      chmod -- "$mode" "$temporary"
      sync -- "$temporary" || fail "cannot write $path; it is unchanged"
      if [[ -L $path ]]; then echo "$path: replaced the symbolic link, its target is untouched"; fi
      mv -fT -- "$temporary" "$path"
      temporary=
      ;;
    attributes)
      # Without following: a link put there in the meantime would change its target.
      chown -h -- "$owner" "$path"
      [[ -L $path ]] || chmod -- "$mode" "$path"
      ;;
    remove)
      if [[ -f $path && ! -L $path ]]; then
        actual=$(sha256sum -- "$path")
        if [[ ${actual:0:64} == "$mode" ]]; then
          rm -f -- "$path"
        else
          echo "$path: no longer wanted, but changed by hand; left in place"
        fi
      fi
      ;;
    *) fail "unknown record '$kind'" ;;
  esac
done
