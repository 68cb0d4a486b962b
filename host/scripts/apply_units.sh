#!/usr/bin/env bash
# Enables, starts, stops and restarts units. Standard input, fields separated by tabs:
#   reload                             re-read the unit files first
#   unit NAME ENABLED RUNNING RESTART  yes|no each; `any` leaves it as it is
set -euo pipefail

fail() {
  echo "$2" >&2
  # The last lines of the unit's own log say more than systemd's "failed because the control process exited".
  journalctl --no-pager -q -o cat -n 5 -u "$1" >&2 2>/dev/null || true
  exit 1
}

while IFS=$'\t' read -r kind unit enabled running restart; do
  if [[ $kind == reload ]]; then
    systemctl daemon-reload
    continue
  fi
  if [[ $(systemctl show -p LoadState --value -- "$unit") == masked ]]; then
    systemctl -q unmask -- "$unit"
  fi
  case $enabled in
    yes) systemctl -q enable -- "$unit" || fail "$unit" "cannot enable $unit" ;;
    no) systemctl -q disable -- "$unit" || fail "$unit" "cannot disable $unit" ;;
  esac
  case $running in
    yes)
      verb=start
      if [[ $restart == yes ]]; then verb=restart; fi
      systemctl reset-failed -- "$unit" 2>/dev/null || true
      systemctl "$verb" -- "$unit" || fail "$unit" "cannot $verb $unit"
      # A simple service that dies at once still counts as started; look again.
      sleep 0.5
      systemctl -q is-active -- "$unit" || fail "$unit" "$unit stopped right after its $verb"
      ;;
    no) systemctl stop -- "$unit" || fail "$unit" "cannot stop $unit" ;;
    any) if [[ $restart == yes ]]; then systemctl try-restart -- "$unit" || fail "$unit" "cannot restart $unit"; fi ;;
  esac
  rm -f -- "/run/host-provider/restart/$unit"
done
