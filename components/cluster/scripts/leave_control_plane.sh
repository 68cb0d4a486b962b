#!/usr/bin/env bash
# First step of leaving, on the node itself: notes that it is no complete control plane any longer. If the rest is interrupted and the
# node is put back on the list, it joins anew instead of passing for a member. On the last one, which stays, repair notes it again.
set -euo pipefail

marker=/var/lib/kubelet/.control-plane-complete
if [[ ! -e $marker ]]; then
  echo "unchanged: not marked as a control plane"
  exit 0
fi
rm -f -- "$marker"
echo "no longer marked as a control plane"
