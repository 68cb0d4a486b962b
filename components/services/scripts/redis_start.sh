#!/usr/bin/env bash
# Starts this member's Redis.
#
# The volume lives as long as the pod. With data on it (the container was restarted) Redis goes on, as a replica if the others have
# another primary by now. Without, it must never become the primary by itself, or the others would copy its emptiness: it waits
# until their Sentinels name another one. Only the first member of a group that does not exist yet begins as the primary.
# shellcheck source=components/services/scripts/redis_members.sh
. "$(dirname "$0")/redis_members.sh"
conf=$DATA/redis.conf

# No other pod of the group is there whose data could be lost. DNS knows them, ready or not; that it knows this one shows that it
# works. Silence of their addresses would not do: a member that is cut off is silent too.
alone() {
  pod_exists "$name" || return 1
  while read -r other _; do
    [[ $other == "$name" ]] || ! pod_exists "$other" || return 1
  done <"$FILES/members"
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
