#!/usr/bin/env bash
# Starts this member's Redis.
#
# The volume lives as long as the pod. With data on it (the container was restarted) Redis goes on, as a replica if the others have
# another primary by now. Without, it must never become the primary by itself, or the others would copy its emptiness: it waits
# until their Sentinels name another one. Only the first member of a group that does not exist yet begins as the primary.
# shellcheck source=components/services/scripts/redis_members.sh
. "$(dirname "$0")/redis_members.sh"
conf=$DATA/redis.conf

# Nobody is there whose data could be lost: every other member's address refuses at once, as a Service without pods does.
# A member that is cut off or starting up is silent instead.
alone() {
  local address port
  while read -r address; do
    for port in "$REDIS" "$SENTINEL"; do
      # 124: no answer in time. 0: there is one.
      timeout 1 bash -c "exec 3<>/dev/tcp/$address/$port" 2>/dev/null && return 1
      [[ $? -ne 124 ]] || return 1
    done
  done < <(peers)
}

if [[ -e $conf ]]; then
  primary=$(known_primary)
else
  echo "$name: new; waiting for the others to name a primary"
  while primary=$(known_primary) && [[ -z $primary || $primary == "$me" ]]; do
    if [[ -z $primary && $name == *-0 ]] && alone; then
      primary=$me
      echo "$name: the first member; begins as the primary"
      break
    fi
    sleep 0.5
  done
  { cat "$FILES/redis.conf" && printf 'replica-announce-ip %s\nmasterauth ' "$me" && cat "$ACCESS/internal" && echo; } >"$conf.new"
  mv "$conf.new" "$conf"
fi
if [[ -n $primary ]]; then
  sed -i '/^replicaof /d' "$conf"
  [[ $primary == "$me" ]] || echo "replicaof $primary $REDIS" >>"$conf"
fi
exec redis-server "$conf"
