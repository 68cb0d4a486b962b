#!/usr/bin/env bash
# Gives sshd the hardened settings so that it cannot lock the operator out: `apply` sets a timer that takes the change back, then
# changes; `confirm`, which comes over a new connection, makes it last; `revert` is what the timer does, and the next boot.
# Environment of check and apply: HARDEN, on or off; of apply: UNDO_SECONDS, how long a change waits to be confirmed.
set -euo pipefail

wanted=/etc/qwen3-vl/sshd.conf
live=/etc/ssh/sshd_config.d/00-qwen3-vl.conf # sshd takes the first value it reads
former=/var/lib/qwen3-vl/sshd.former # what was live before a change that is not confirmed; empty: nothing
undo=qwen3-vl-ssh-undo

# Says what sshd would not do although the file is there; another file may have spoken first. Needs sshd's own folder.
ineffective() {
  local found line
  [[ -d /run/sshd ]] || return 0
  found=$(sshd -T 2>&1) || { echo "sshd refuses its configuration: $(tail -n 1 <<<"$found")"; return; }
  for line in "passwordauthentication no" "kbdinteractiveauthentication no" "maxauthtries 4"; do
    grep -Fqix -- "$line" <<<"$found" || { echo "sshd does not say \"$line\"; /etc/ssh/sshd_config must read sshd_config.d first"; return; }
  done
}

objection() {
  if [[ $HARDEN == off ]]; then
    if [[ -e $live ]]; then echo "$live is there, wanted none"; fi
  elif [[ -e $former ]]; then
    echo "a change was never confirmed"
  elif ! cmp -s "$wanted" "$live"; then
    echo "$live is not the wanted one"
  else
    ineffective
  fi
}

# The timer's lock, too: a change is either confirmed or taken back. No program started from here may keep it.
own() {
  mkdir -p /run/qwen3-vl /run/sshd /var/lib/qwen3-vl
  exec 9>/run/qwen3-vl/ssh.lock
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

# At a boot sshd does not run yet, or is not run until somebody comes.
reload() { systemctl --no-block try-reload-or-restart ssh.service 9>&-; }

take_back() {
  if [[ -s $former ]]; then
    cp -- "$former" "$live.new"
    mv -- "$live.new" "$live"
  else
    rm -f -- "$live"
  fi
  rm -f -- "$former"
}

case $1 in
  check | apply)
    why=$(objection)
    if [[ -z $why ]]; then
      echo "unchanged: $HARDEN"
      exit 0
    fi
    ;;&
  check)
    echo "drifted: $why"
    exit 1
    ;;
  apply)
    own
    if [[ $HARDEN == off ]]; then
      disarm
      rm -f -- "$live" "$former"
      reload
      echo "off"
      exit 0
    fi
    arm
    # An unconfirmed change of an ended run left there what to go back to.
    if [[ ! -e $former ]]; then
      if [[ -e $live ]]; then cp -- "$live" "$former"; else : >"$former"; fi
      sync -- "$former"
    fi
    install -D -m 0600 -- "$wanted" "$live.new"
    mv -- "$live.new" "$live"
    why=$(ineffective)
    if [[ -n $why ]]; then
      take_back
      disarm
      echo "$why. Mend it on the node, or set ssh.harden to false. Nothing was changed" >&2
      exit 2
    fi
    reload
    echo "in force for $UNDO_SECONDS s unless confirmed"
    ;;
  confirm)
    own
    if [[ ! -e $former ]]; then
      why=$(objection)
      [[ -z $why ]] || {
        echo "the settings were taken back before they were confirmed" >&2
        exit 2
      }
      exit 0
    fi
    rm -f -- "$former"
    disarm
    echo "confirmed"
    ;;
  revert)
    own
    if [[ -e $former ]]; then
      take_back
      reload
      echo "taken back: nobody confirmed the settings"
    fi
    disarm
    ;;
esac
