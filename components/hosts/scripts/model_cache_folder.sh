#!/usr/bin/env bash
# The folder of the worker's copy of the model: the cache agent's own, read by everybody. Its content is never touched here.
# Environment: CACHE, a folder; OWNER, the number of the agent's user and group.
set -euo pipefail

objection() {
  [[ -d $CACHE && ! -L $CACHE ]] || { echo "no folder $CACHE"; return; }
  local found
  found=$(stat -c '%u:%g %a' -- "$CACHE")
  if [[ $found != "$OWNER:$OWNER 755" ]]; then echo "$CACHE is $found, wanted $OWNER:$OWNER 755"; fi
}

why=$(objection)
if [[ -z $why ]]; then
  echo "unchanged: $CACHE is the agent's"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $why"
  exit 1
fi

if [[ -e $CACHE && ! -d $CACHE || -L $CACHE ]]; then
  echo "$CACHE is not a folder; the copy of the model is kept there. Move it away or set modelStore.cachePath" >&2
  exit 2
fi
mkdir -p -- "$CACHE"
chown -- "$OWNER:$OWNER" "$CACHE"
chmod 755 -- "$CACHE"
echo "made $CACHE"
