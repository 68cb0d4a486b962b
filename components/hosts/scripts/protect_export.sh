#!/usr/bin/env bash
# The export's folder belongs to its writer, or to root where there is none, and nothing in it may be written by everybody.
# Environment: EXPORT, a folder; OWNER, the number of its user and group.
set -euo pipefail

objection() {
  [[ -d $EXPORT && ! -L $EXPORT ]] || { echo "$EXPORT is not a folder"; return; }
  local found
  found=$(stat -c '%u:%g %a' -- "$EXPORT")
  [[ $found == "$OWNER:$OWNER 755" ]] || { echo "$EXPORT is $found, wanted $OWNER:$OWNER 755"; return; }
  found=$(find "$EXPORT" -xdev \( -type d -o -type f \) -perm /002 -print -quit)
  if [[ -n $found ]]; then echo "$found may be written by everybody"; fi
}

why=$(objection)
if [[ -z $why ]]; then
  echo "unchanged: $EXPORT is protected"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $why"
  exit 1
fi

[[ -d $EXPORT && ! -L $EXPORT ]] || {
  echo "$why; models are served from one. Move it away" >&2
  exit 2
}
chown -- "$OWNER:$OWNER" "$EXPORT"
chmod 755 -- "$EXPORT"
find "$EXPORT" -xdev \( -type d -o -type f \) -perm /002 -exec chmod o-w -- {} +
echo "protected $EXPORT"
