#!/usr/bin/env bash
# Runs on another control plane: takes a control plane that leaves out of etcd, so that the quorum no longer counts on it.
# Environment: NODE_NAME, NODE_ADDRESS. Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail

admin=/etc/kubernetes/admin.conf
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
field() { awk -v key="--$1=" 'index($2, key) == 1 { print substr($2, length(key) + 1); exit }' "/etc/kubernetes/manifests/$2.yaml"; }
# Its own API server, not the endpoint: that one may be on the node that leaves.
server=https://$(field advertise-address kube-apiserver):$(field secure-port kube-apiserver)
me=$(field name etcd)
etcd() {
  kubectl --kubeconfig "$admin" --server "$server" --request-timeout 30s -n kube-system exec "etcd-$me" -c etcd -- \
    etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
    --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key "$@"
}

# Lines: id, status, name, peer URLs, client URLs, is learner.
members=$(etcd member list) || { echo "etcd does not answer here" >&2; exit 4; }
removed=
while IFS=, read -r id _ name peers _; do
  [[ ${name# } == "$NODE_NAME" || $peers == *"//$NODE_ADDRESS:"* ]] || continue
  # Right after another change of the members etcd refuses until all are connected.
  for attempt in 1 2 3 4 5 6; do
    if etcd member remove "${id# }"; then
      removed=yes
      break
    fi
    ((attempt < 6)) || { echo "etcd does not let $NODE_NAME go; a majority of its members must be healthy. Look at the other control planes" >&2; exit 2; }
    sleep 5
  done
done <<<"$members"
if [[ -z $removed ]]; then echo "unchanged: $NODE_NAME is not a member of etcd"; fi
