#!/usr/bin/env bash
# Keeps kubelet running once the node is a member: before that it only fails and starts again, which is why it is no plain unit.
set -euo pipefail

if [[ ! -s /etc/kubernetes/kubelet.conf ]]; then
  echo "unchanged: not a member yet, joining starts it"
  exit 0
fi
if systemctl is-enabled --quiet kubelet && systemctl is-active --quiet kubelet; then
  echo "unchanged: kubelet runs"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: kubelet is $(systemctl is-active kubelet || true) and $(systemctl is-enabled kubelet || true)"
  exit 1
fi
systemctl enable --now --quiet kubelet
echo "kubelet runs"
