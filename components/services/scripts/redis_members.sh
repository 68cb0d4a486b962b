# shellcheck shell=bash
# What the programs of a Redis pod share: who the members are, and how one of them is asked. Sourced by the others.
#   FILES   the ConfigMap: `members` (a name and an address in each line), redis.conf, sentinel.conf, these scripts
#   ACCESS  the Secrets: `internal`, the password of the members among themselves; users.acl and `sentinel-users`, what is taken
#   DATA    what Redis writes, its rewritten configuration among it; lives as long as the pod
#   STATE   the same of Sentinel
#   LOOKUP  what finds a pod by its name
#   SELF    where this pod reaches itself without leaving it
set -euo pipefail
: "${FILES:=/etc/redis}" "${ACCESS:=/etc/redis-access}" "${DATA:=/data}" "${STATE:=/state}" "${LOOKUP:=getent hosts}" "${SELF:=127.0.0.1}"
REDIS=6379 SENTINEL=26379 GROUP=chats
name=${HOSTNAME:?}

address_of() { awk -v name="$1" '$1 == name { print $2 }' "$FILES/members"; }

pod_exists() { $LOOKUP "$1.redis-members" >/dev/null; }

peers() { awk -v name="$name" '$1 != name { print $2 }' "$FILES/members"; }

# shellcheck disable=SC2034  # for those who source this
me=$(address_of "$name")

# ask ADDRESS PORT USER COMMAND...: the answer's lines; none if nobody answers within 2 s. The password goes by standard input.
ask() {
  local address=$1 port=$2 user=$3
  shift 3
  { printf 'AUTH %s ' "$user" && cat "$ACCESS/internal" && printf '\n%s\n' "$*"; } 2>/dev/null |
    timeout 2 redis-cli -h "$address" -p "$port" 2>/dev/null | tr -d '\r' | tail -n +2 || true
}

# The address of the primary as the others' Sentinels have it; of two opinions the one of the later fail-over. Empty: nobody tells.
known_primary() {
  local address
  while read -r address; do
    ask "$address" "$SENTINEL" default SENTINEL MASTER "$GROUP" |
      awk '{ value[key] = $0; key = (NR % 2) ? $0 : "" } END { if (value["ip"] != "") print value["config-epoch"], value["ip"] }'
  done < <(peers) | sort -rn | awk 'NR == 1 { print $2 }'
}

role() { ask "$SELF" "$REDIS" probe INFO replication | sed -n 's/^role://p'; }
