#!/usr/bin/env bash
# Starts this member's Sentinel, which keeps what it knows as long as the pod lives. A new one asks the others who is the primary; where
# nobody tells, it is the one that this member's Redis has begun with. It does not wait for Redis when the others name this member:
# its vote may be the one that is missing to choose another.
# shellcheck source=components/services/scripts/redis_members.sh
. "$(dirname "$0")/redis_members.sh"
conf=$STATE/sentinel.conf

begun_with() {
  [[ -e $DATA/redis.conf ]] || return 0
  awk -v me="$me" '$1 == "replicaof" { found = $2 } END { print found ? found : me }' "$DATA/redis.conf"
}

if [[ ! -e $conf ]]; then
  until primary=$(known_primary) && [[ -n $primary ]] || { primary=$(begun_with) && [[ -n $primary ]]; }; do sleep 0.5; done
  internal=$(cat "$ACCESS/internal")
  # `monitor` comes first: the lines after it are about the group that it names. The replicas are known from the beginning: asking
  # the primary for them takes Sentinel up to 10 s, and one it does not know is left behind by a fail-over.
  {
    printf 'sentinel monitor %s %s %s 2\n' "$GROUP" "$primary" "$REDIS"
    awk -v group="$GROUP" -v primary="$primary" -v port="$REDIS" \
      '$2 != primary { print "sentinel known-replica", group, $2, port }' "$FILES/members"
    cat "$FILES/sentinel.conf"
    printf 'sentinel announce-ip %s\nsentinel auth-pass %s %s\n' "$me" "$GROUP" "$internal"
    printf 'sentinel sentinel-pass %s\n' "$internal"
    cat "$ACCESS/sentinel-users"
  } >"$conf.new"
  mv "$conf.new" "$conf"
fi
exec redis-server "$conf" --sentinel
