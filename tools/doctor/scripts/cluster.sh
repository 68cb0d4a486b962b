#!/usr/bin/env bash
# What `make doctor` asks the API server of one control plane: a line for each object, its fields parted by tabs. Reads no Secret and
# changes nothing. Environment: NODE_ADDRESS, API_PORT, INGRESS_HOST. Exit 3: not a control plane; exit 4: its API server does not answer.
set -euo pipefail
: "${NODE_ADDRESS:?}" "${API_PORT:?}" "${INGRESS_HOST:?}"

admin=/etc/kubernetes/admin.conf
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
get() { kubectl --kubeconfig "$admin" --server "https://$NODE_ADDRESS:$API_PORT" --request-timeout 8s get "$@"; }

get nodes -o 'jsonpath={range .items[*]}node{"\t"}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\t"}{.spec.unschedulable}{"\t"}{.status.nodeInfo.kubeletVersion}{"\t"}{.status.allocatable.nvidia\.com/gpu}{"\n"}{end}' || exit 4
get deployments,statefulsets -A -o 'jsonpath={range .items[*]}workload{"\t"}{.kind}{"\t"}{.metadata.namespace}{"\t"}{.metadata.name}{"\t"}{.spec.replicas}{"\t"}{.status.readyReplicas}{"\n"}{end}' || exit 4
get daemonsets -A -o 'jsonpath={range .items[*]}workload{"\t"}{.kind}{"\t"}{.metadata.namespace}{"\t"}{.metadata.name}{"\t"}{.status.desiredNumberScheduled}{"\t"}{.status.numberReady}{"\n"}{end}' || exit 4
get hpa -A -o 'jsonpath={range .items[*]}hpa{"\t"}{.metadata.namespace}{"\t"}{.metadata.name}{"\t"}{.spec.minReplicas}{"\t"}{.spec.maxReplicas}{"\t"}{.status.currentReplicas}{"\t"}{.status.desiredReplicas}{"\n"}{end}' || exit 4
# What is asked over HTTP afterwards, each from the node it runs on: a policy lets nobody else in.
get pods -A -l 'app in (prometheus,redis-proxy)' -o 'jsonpath={range .items[*]}pod{"\t"}{.metadata.namespace}{"\t"}{.metadata.labels.app}{"\t"}{.spec.nodeName}{"\t"}{.status.podIP}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' || exit 4
# An operator's Prometheus, which may read the stack in the place of ours.
get pods -A -l 'app.kubernetes.io/name=prometheus,!app' -o 'jsonpath={range .items[*]}pod{"\t"}{.metadata.namespace}{"\t"}{.metadata.labels.app\.kubernetes\.io/name}{"\t"}{.spec.nodeName}{"\t"}{.status.podIP}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' || exit 4
address=$(get service -n traefik traefik -o 'jsonpath={.status.loadBalancer.ingress[0].ip}' 2>/dev/null) || true
printf 'address\t%s\n' "$address"
# MetalLB's own record of who announces an address.
get servicel2statuses.metallb.io -A -o 'jsonpath={range .items[*]}announced{"\t"}{.status.serviceNamespace}{"\t"}{.status.serviceName}{"\t"}{.status.node}{"\n"}{end}' 2>/dev/null || true

# The gateway as a machine in the nodes' own network sees it, for whom it is not in reach: nothing is verified here.
if [[ -n $address ]]; then
  status=$(curl -sk --noproxy '*' -m 4 -o /dev/null -w '%{http_code}' --resolve "$INGRESS_HOST:443:$address" "https://$INGRESS_HOST/" || true)
  printf 'gateway\thttps\t%s\n' "$status"
  status=$(curl -s --noproxy '*' -m 4 -o /dev/null -w '%{http_code}' --resolve "$INGRESS_HOST:80:$address" "http://$INGRESS_HOST/" || true)
  printf 'gateway\thttp\t%s\n' "$status"
fi
