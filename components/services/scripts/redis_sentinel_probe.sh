#!/usr/bin/env bash
# Whether this member's Sentinel answers and is not stuck. Where an address refused a connection while Sentinel opened it and took it a
# moment later, as the Service of a member does whose pod is being made, Linux keeps the refusal in the connection's queue of errors. That
# wakes Sentinel for ever, and it never looks there (redis/redis#9956). It then takes all CPU that it is allowed, and is late with what it
# counts. A restart opens all connections anew; what Sentinel knows is in STATE.
#   BUSY  share of one CPU since the last call, in percent, above which it is held for stuck; at work it takes one or two
#   PID   Sentinel's
# shellcheck source=components/services/scripts/redis_members.sh
. "$(dirname "$0")/redis_members.sh"
: "${BUSY:=10}" "${PID:=1}"

[[ $(ask "$SELF" "$SENTINEL" default PING) == PONG ]] || { echo "Sentinel does not answer" >&2 && exit 1; }

# Seconds of CPU and seconds since the machine's start; fields are counted behind the name, which may have spaces.
now=$(sed 's/^.*) //' "/proc/$PID/stat" | awk -v hz="$(getconf CLK_TCK)" '{ printf "%.2f", ($12 + $13) / hz }')
now="$now $(cut -d' ' -f1 /proc/uptime)"
before=$(cat "$STATE/cpu" 2>/dev/null || echo "$now")
echo "$now" >"$STATE/cpu"
awk -v before="$before" -v now="$now" -v most="$BUSY" 'BEGIN {
  split(before, b, " "); split(now, n, " ")
  share = n[2] > b[2] ? 100 * (n[1] - b[1]) / (n[2] - b[2]) : 0
  if (share > most) { printf "Sentinel has taken %.0f %% of a CPU for %.0f s\n", share, n[2] - b[2] > "/dev/stderr"; exit 1 }
}'
