#!/usr/bin/env bash
# Fetches the control plane's images before it is this node's turn to join: the pulls of all nodes go on at the same time,
# the joins one after another.
# Environment: KUBERNETES_VERSION, CRI_SOCKET.
set -euo pipefail

if [[ -s /etc/kubernetes/kubelet.conf ]]; then
  echo "unchanged: a member, kubelet fetches what it needs"
  exit 0
fi
if [[ $1 == check ]] && ! command -v kubeadm >/dev/null; then
  echo "drifted: no kubeadm yet"
  exit 1
fi
wanted=$(kubeadm config images list --kubernetes-version "$KUBERNETES_VERSION" 2>/dev/null)
there=$(ctr --namespace k8s.io images list --quiet)
missing=()
for image in $wanted; do
  [[ $'\n'$there$'\n' == *$'\n'$image$'\n'* ]] || missing+=("$image")
done
if ((${#missing[@]} == 0)); then
  echo "unchanged: all images of $KUBERNETES_VERSION are here"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: not here: ${missing[*]}"
  exit 1
fi
kubeadm config images pull --kubernetes-version "$KUBERNETES_VERSION" --cri-socket "$CRI_SOCKET"
