#!/usr/bin/env bash
# Runs on a control plane: prints what every node has of a resource, as NODE<tab>READY<tab>AMOUNT lines (READY: True, False or
# Unknown; no amount: the node does not know the resource).
# Environment: resource. Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail
: "${resource:?}"

admin=/etc/kubernetes/admin.conf
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
key=${resource//./\\.}
format='{range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\t"}{.status.allocatable.'$key'}{"\n"}{end}'
kubectl --kubeconfig "$admin" --request-timeout 10s get nodes -o "jsonpath=$format" || exit 4
