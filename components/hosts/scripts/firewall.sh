#!/usr/bin/env bash
# Brings the packet filter into force so that it cannot lock the operator out: `apply` sets a timer that takes the change back,
# then changes; `confirm`, which comes over a new connection, makes it last; `revert` is what the timer does, also by hand.
# Environment of check and apply: FIREWALL, on or off; of apply: UNDO_SECONDS, how long a change waits to be confirmed.
set -euo pipefail

wanted=/etc/qwen3-vl/firewall.nft
kept=/var/lib/qwen3-vl/firewall.nft # confirmed; what a boot loads
listing=/var/lib/qwen3-vl/firewall.listing # the same as the kernel shows it
trial=/run/qwen3-vl/firewall.nft # in force, not confirmed; gone after a boot, as the rules are
undo=qwen3-vl-firewall-undo
table=(inet qwen3_vl)

# Without counters, and in numbers: a package that comes later brings names of protocols.
in_force() { nft -s -n list table "${table[@]}" 2>/dev/null || true; }

objection() {
  if [[ $FIREWALL == off ]]; then
    if [[ -e $kept || -e $trial || -n $(in_force) ]]; then echo "in force, wanted off"; fi
  elif [[ -e $trial ]]; then
    echo "a change was never confirmed"
  elif [[ ! -e $kept ]]; then
    echo "no rules were confirmed yet"
  elif ! cmp -s "$wanted" "$kept"; then
    echo "the rules are not the wanted ones"
  elif [[ $(in_force) != "$(cat "$listing")" ]]; then
    echo "the rules in force were changed by hand"
  fi
}

# The timer's lock, too: a change is either confirmed or taken back. No program started from here may keep it.
own() {
  mkdir -p /run/qwen3-vl /var/lib/qwen3-vl
  exec 9>/run/qwen3-vl/firewall.lock
  flock 9
}

disarm() {
  systemctl stop "$undo.timer" 2>/dev/null 9>&- || true
  systemctl reset-failed "$undo.timer" "$undo.service" 2>/dev/null 9>&- || true
}

arm() {
  disarm
  systemctl daemon-reload 9>&-
  systemd-run --quiet --on-active="$UNDO_SECONDS" --timer-property=AccuracySec=1s --unit="$undo.service" 9>&-
}

remove_table() {
  if [[ -n $(in_force) ]]; then nft delete table "${table[@]}"; fi
}

# What cannot be loaded leaves the node open rather than closed to everybody.
take_back() {
  if [[ ! -s $kept ]] || ! nft -f "$kept"; then remove_table; fi
  rm -f -- "$trial"
}

case $1 in
  check | apply)
    why=$(objection)
    if [[ -z $why ]]; then
      echo "unchanged: $FIREWALL"
      exit 0
    fi
    ;;&
  check)
    echo "drifted: $why"
    exit 1
    ;;
  apply)
    own
    if [[ $FIREWALL == off ]]; then
      disarm
      remove_table
      rm -f -- "$kept" "$listing" "$trial" /etc/systemd/system/sysinit.target.wants/qwen3-vl-firewall.service
      echo "off"
      exit 0
    fi
    nft -c -f "$wanted" || {
      echo "nft refuses $wanted; the rules must be valid and the kernel must have nf_tables. Nothing was changed" >&2
      exit 2
    }
    arm
    cp -- "$wanted" "$trial"
    nft -f "$trial" || {
      take_back
      disarm
      echo "the kernel refuses $wanted; it must have nf_tables with sets and conntrack. Nothing was changed" >&2
      exit 2
    }
    echo "in force for $UNDO_SECONDS s unless confirmed"
    ;;
  confirm)
    own
    if [[ ! -e $trial ]]; then
      why=$(objection)
      [[ -z $why ]] || {
        echo "the rules were taken back before they were confirmed" >&2
        exit 2
      }
      exit 0
    fi
    in_force >"$listing"
    cp -- "$trial" "$kept.new"
    sync -- "$kept.new"
    mv -- "$kept.new" "$kept"
    rm -f -- "$trial"
    disarm
    echo "confirmed"
    ;;
  revert)
    own
    if [[ -e $trial ]]; then
      take_back
      echo "taken back: nobody confirmed the rules"
    fi
    disarm
    ;;
esac
