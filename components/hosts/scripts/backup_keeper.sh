#!/usr/bin/env bash
# Makes this node a keeper of etcd's backups: a user who can do nothing but hand one in, and a folder that is that user's.
# What was kept stays when the node is no keeper any longer; its authorized_keys goes, and with it the way in.
# Environment: KEEPER (the user's name), HOME_FOLDER.
set -euo pipefail

received=$HOME_FOLDER/received
reason=
if ! entry=$(getent passwd "$KEEPER"); then
  reason="no user $KEEPER"
elif [[ $(cut -d: -f 6 <<<"$entry") != "$HOME_FOLDER" ]]; then
  echo "the user $KEEPER is there with another home folder; it is not this program's. Rename or remove it" >&2
  exit 2
elif [[ $(stat -c '%U %a' -- "$received" 2>/dev/null) != "$KEEPER 700" ]]; then
  reason="$received is missing, or not the user's own"
fi
if [[ -z $reason ]]; then
  echo "unchanged: keeps backups of etcd"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi
# `*`: no password opens it, and sshd does not take it for a locked account either.
if [[ -z $entry ]]; then useradd --system --user-group --password '*' --shell /bin/bash --no-create-home --home-dir "$HOME_FOLDER" "$KEEPER"; fi
install -d -m 0755 -o root -g root "$HOME_FOLDER"
install -d -m 0700 -o "$KEEPER" -g "$KEEPER" "$received"
echo "keeps backups of etcd"
