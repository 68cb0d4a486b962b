#!/usr/bin/env bash
# Runs on a control plane, before another node's driver is exchanged: takes that node out of service and moves its pods away.
# One GPU node at a time; disruption budgets are kept until the deadline. Prints `yes`, or nothing if the node is no member
# yet or somebody else has taken it out of service, who then also brings it back.
# Environment: NODE_NAME, DRAIN_SECONDS. Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail

admin=/etc/kubernetes/admin.conf
lock=qwen3-vl-gpu-maintenance
mark=qwen3-vl/vacated
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
api() { kubectl --kubeconfig "$admin" --request-timeout 10s "$@"; }

if ! found=$(api get node "$NODE_NAME" --ignore-not-found -o 'jsonpath={.metadata.name}|{.metadata.annotations.qwen3-vl/vacated}|{.spec.unschedulable}' 2>&1); then
  echo "the API does not answer here: $found" >&2
  exit 4
fi
IFS='|' read -r name marked unschedulable <<<"$found"
[[ -n $name ]] || exit 0
if [[ $marked != driver ]]; then
  if [[ $unschedulable == true ]]; then exit 0; fi
  # A node that just joined has nothing to lose, and need not wait for its turn.
  owners=$(api get pods --all-namespaces --field-selector "spec.nodeName=$NODE_NAME" \
    -o 'jsonpath={range .items[*]}{.metadata.ownerReferences[0].kind}{"\n"}{end}')
  if ! grep -Eqvx 'DaemonSet|Node|' <<<"$owners"; then exit 0; fi
fi

# Creating an object is atomic: whoever makes it first goes first.
end=$((SECONDS + 1200))
until api -n kube-system create configmap "$lock" --from-literal "node=$NODE_NAME" >/dev/null 2>&1; do
  holder=$(api -n kube-system get configmap "$lock" --ignore-not-found -o 'jsonpath={.data.node}' 2>/dev/null) || holder=
  if [[ $holder == "$NODE_NAME" ]]; then break; fi
  if ((SECONDS >= end)); then
    echo "the GPU node $holder has been out of service for 20 minutes; only one may be at a time. Finish it with another run, or delete the ConfigMap kube-system/$lock" >&2
    exit 2
  fi
  sleep 5
done
api annotate node "$NODE_NAME" "$mark=driver" --overwrite >&2
kubectl --kubeconfig "$admin" drain "$NODE_NAME" --ignore-daemonsets --delete-emptydir-data --force \
  --timeout "${DRAIN_SECONDS}s" --skip-wait-for-delete-timeout 20 >&2 ||
  echo "not everything left $NODE_NAME within $DRAIN_SECONDS s; going on" >&2
# Too short to be taken for a secret, as what such a script prints otherwise is.
printf yes
