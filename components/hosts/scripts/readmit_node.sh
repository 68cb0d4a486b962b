#!/usr/bin/env bash
# Runs on a control plane, after another node's driver was exchanged: undoes what vacate_node.sh did, and prints `yes`.
# Environment: NODE_NAME. Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail

admin=/etc/kubernetes/admin.conf
lock=qwen3-vl-gpu-maintenance
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
api() { kubectl --kubeconfig "$admin" --request-timeout 10s "$@"; }

if ! found=$(api get node "$NODE_NAME" --ignore-not-found -o name 2>&1); then
  echo "the API does not answer here: $found" >&2
  exit 4
fi
if [[ -n $found ]]; then
  api uncordon "$NODE_NAME" >&2
  api annotate node "$NODE_NAME" qwen3-vl/vacated- >&2
fi
if [[ $(api -n kube-system get configmap "$lock" --ignore-not-found -o 'jsonpath={.data.node}') == "$NODE_NAME" ]]; then
  api -n kube-system delete configmap "$lock" --ignore-not-found >&2
fi
printf yes
