#!/usr/bin/env bash
# Looks whether etcd of this control plane is saved as often as the settings say, and saves it at once if it is not. What then stands
# in the way is told and left to the timer: a backup that fails must not keep `up` from mending the cluster.
# Environment: EVERY_HOURS.
set -euo pipefail

if [[ ! -s /etc/kubernetes/manifests/etcd.yaml ]]; then
  echo "unchanged: no etcd here yet"
  exit 0
fi
newest=$(find /var/lib/qwen3-vl-backups/own -maxdepth 1 -name 'etcd-*.cms' -printf '%T@\n' 2>/dev/null | sort -n | tail -n 1) || true
if [[ -z $newest ]]; then
  reason="etcd has never been saved here"
else
  hours=$((($(date +%s) - ${newest%%.*}) / 3600))
  if ((hours <= 2 * EVERY_HOURS)); then
    echo "unchanged: etcd was saved $hours h ago"
    exit 0
  fi
  reason="etcd was saved $hours h ago, every $EVERY_HOURS h is wanted"
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi
# By its unit, which tries again by itself: in a first `up` some keepers may not be ready yet.
if timeout 840 systemctl start etcd-backup.service; then
  echo "etcd is saved"
else
  echo "no complete backup yet, it is tried again: $(journalctl --no-pager -q -o cat -n 1 -t etcd-backup 2>/dev/null || true)"
fi
