#!/usr/bin/env bash
# Before this member is stopped: if it is the primary, another one takes over first, so that nothing acknowledged is lost.
# shellcheck source=components/services/scripts/redis_members.sh
. "$(dirname "$0")/redis_members.sh"

# A replica has all that was written here.
followed() {
  ask "$SELF" "$REDIS" probe INFO replication | awk -F '[:,=]' '
    /^master_repl_offset:/ { written = $2 }
    /^slave[0-9]+:/ { for (i = 1; i < NF; i++) if ($i == "offset") has[$(i + 1)] }
    END { exit !(written in has) }'
}

[[ $(role) == master ]] || exit 0
# What it would still acknowledge while another one is being made the primary is what nobody else gets. The pause holds up Sentinel
# too, so this member is the primary in its own eyes until it ends.
ask "$SELF" "$REDIS" probe CLIENT PAUSE 20000 WRITE >/dev/null
for _ in {1..20}; do
  if followed; then break; fi
  sleep 0.1
done
while read -r address; do
  # Not its own Sentinel, which is being stopped as well.
  [[ $(ask "$address" "$SENTINEL" default SENTINEL FAILOVER "$GROUP") == OK ]] && break
done < <(peers)
for _ in {1..50}; do
  [[ $(known_primary) == "$me" ]] || exit 0
  sleep 0.2
done
echo "$name: still the primary after 10 s; stopping all the same" >&2
