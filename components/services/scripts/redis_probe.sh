#!/usr/bin/env bash
# redis_probe.sh alive|ready: whether Redis answers, and whether it has the primary's data or is the primary.
# shellcheck source=components/services/scripts/redis_members.sh
. "$(dirname "$0")/redis_members.sh"
case $1 in
alive) [[ $(ask "$SELF" "$REDIS" probe PING) == PONG ]] ;;
ready) ask "$SELF" "$REDIS" probe INFO replication | grep -qxE 'role:master|master_link_status:up' ;;
*) echo "redis_probe.sh: $1; alive or ready" >&2 && exit 2 ;;
esac
