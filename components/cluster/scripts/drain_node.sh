#!/usr/bin/env bash
# Runs on a control plane: moves the pods off a node that leaves. Disruption budgets are kept until the deadline; then the node
# goes anyway, because whoever took it off the list has decided that.
# Environment: NODE_NAME, DRAIN_SECONDS. Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail

admin=/etc/kubernetes/admin.conf
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
api() { kubectl --kubeconfig "$admin" --request-timeout "${limit:-10s}" "$@"; }

if ! found=$(api get node "$NODE_NAME" --ignore-not-found -o name 2>&1); then
  echo "the API does not answer here: $found" >&2
  exit 4
fi
if [[ -z $found ]]; then
  echo "unchanged: $NODE_NAME is not in the cluster"
  exit 0
fi
# Pods of a node that is gone never report their end; do not wait for them.
ready=$(api get node "$NODE_NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
wait=$DRAIN_SECONDS
if [[ $ready != True ]]; then wait=20; fi
limit=0 timeout -k 5 $((wait + 30)) kubectl --kubeconfig "$admin" drain "$NODE_NAME" --ignore-daemonsets --delete-emptydir-data --force \
  --timeout "${wait}s" --skip-wait-for-delete-timeout 20 ||
  echo "not everything left $NODE_NAME within ${wait} s; going on"
echo "drained $NODE_NAME"
