#!/usr/bin/env bash
# Runs on a control plane: prints how far a DaemonSet's roll-out is. First `wanted<tab>N`, N the number of nodes that get a pod
# (none while the controller has not seen the newest DaemonSet), then for each pod NODE<tab>NODE_READY<tab>POD_READY<tab>CURRENT
# (True, False or Unknown; CURRENT: made of the newest template and not on its way out).
# Environment: namespace, daemon_set. Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail
: "${namespace:?}" "${daemon_set:?}"

admin=/etc/kubernetes/admin.conf
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
get() { kubectl --kubeconfig "$admin" --request-timeout 10s get "$@" || exit 4; }

set_=$(get daemonset -n "$namespace" "$daemon_set" -o \
  'jsonpath={.metadata.uid}{"\t"}{.metadata.generation}{"\t"}{.status.observedGeneration}{"\t"}{.status.desiredNumberScheduled}')
IFS=$'\t' read -r uid generation observed wanted <<<"$set_"
revisions=$(get controllerrevisions -n "$namespace" -o \
  'jsonpath={range .items[*]}{.metadata.ownerReferences[0].uid}{"\t"}{.revision}{"\t"}{.metadata.labels.controller-revision-hash}{"\n"}{end}')
newest=$(awk -F'\t' -v uid="$uid" '$1 == uid && $2 + 0 > most { most = $2 + 0; hash = $3 } END { print hash }' <<<"$revisions")
nodes=$(get nodes -o 'jsonpath={range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}')
pods=$(get pods -n "$namespace" -o \
  'jsonpath={range .items[*]}{.metadata.ownerReferences[0].uid}{"\t"}{.spec.nodeName}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\t"}{.metadata.labels.controller-revision-hash}{"\t"}{.metadata.deletionTimestamp}{"\n"}{end}')

[[ $generation == "$observed" ]] || wanted=
printf 'wanted\t%s\n' "$wanted"
awk -F'\t' -v uid="$uid" -v newest="$newest" '
  NR == FNR { ready[$1] = $2; next }
  $1 == uid && $2 != "" {
    print $2 "\t" ready[$2] "\t" ($3 == "" ? "False" : $3) "\t" (newest != "" && $4 == newest && $5 == "" ? "True" : "False")
  }' <(printf '%s\n' "$nodes") <(printf '%s\n' "$pods")
