#!/bin/sh
# What sshd runs for every command: the session sees the folders of the host it dialled (the third word of
# SSH_CONNECTION) as its own /etc, /var, /run, /root and /tmp. Kept to the fewest processes: this is paid per command.
set -eu
# shellcheck disable=SC2086 # four words by definition
set -- $SSH_CONNECTION
export host="/mnt/hosts/$3"
# shellcheck disable=SC2016 # expanded inside, after the mounts
exec unshare --mount --propagation private /bin/sh -c '
  mount --all --fstab "$host/fstab" && cd /root && unset host && exec ${SSH_ORIGINAL_COMMAND:+/bin/sh -c} "${SSH_ORIGINAL_COMMAND:-/bin/sh}"'
