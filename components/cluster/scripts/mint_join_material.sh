#!/usr/bin/env bash
# Runs on a control plane, for another node that is about to join: prints what that join needs, as KEY=VALUE lines.
# The token lives 15 minutes. For a control plane: what an earlier, interrupted attempt of that node left in etcd is taken out
# first, the certificates are uploaded under a fresh key, which only these lines carry, and so are the keys of Secrets in etcd.
# Environment: NODE_NAME, NODE_ADDRESS, NODE_ROLE of the joining node.
# Exit 3: this node is not a member. Exit 4: it is a control plane, and cannot do it now. Both: ask another one.
set -euo pipefail

admin=/etc/kubernetes/admin.conf

[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
if [[ ! -s /etc/kubernetes/manifests/kube-apiserver.yaml ]] || ! systemctl is-active --quiet kubelet; then
  echo "its control plane is not running" >&2
  exit 4
fi
# Its own API server, not the endpoint: that one may be the very thing that does not answer.
field() { awk -v key="--$1=" 'index($2, key) == 1 { print substr($2, length(key) + 1); exit }' "/etc/kubernetes/manifests/$2.yaml"; }
server=https://$(field advertise-address kube-apiserver):$(field secure-port kube-apiserver)
ready=
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if kubectl --kubeconfig "$admin" --server "$server" --request-timeout 3s get --raw /readyz >/dev/null 2>&1; then
    ready=yes
    break
  fi
  sleep 2
done
[[ -n $ready ]] || { echo "its API server at $server is not ready" >&2; exit 4; }

# kubectl exec rather than crictl: an API server that is ready answers it, and no further package is needed on the node.
me=$(field name etcd)
etcd() {
  kubectl --kubeconfig "$admin" --server "$server" --request-timeout 30s -n kube-system exec "etcd-$me" -c etcd -- \
    etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
    --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key "$@"
}

# Right after another change of its members etcd refuses the next until all are connected.
remove_member() {
  local attempt
  for attempt in 1 2 3 4 5 6; do
    if etcd member remove "$1" >&2; then return; fi
    if ((attempt < 6)); then sleep 5; fi
  done
  echo "etcd does not let the old member of $NODE_NAME go; a majority of its members must be healthy. Look at the other control planes" >&2
  exit 2
}

# What is secret stays in variables and builtins: no argument, no file.
whole_line=$'(^|\n)([0-9a-f]{64})(\n|$)'
if [[ $NODE_ROLE == control-plane ]]; then
  # Lines: id, status, name, peer URLs, client URLs, is learner.
  members=$(etcd member list)
  while IFS=, read -r id _ name peers _; do
    if [[ ${name# } == "$NODE_NAME" || $peers == *"//$NODE_ADDRESS:"* ]]; then
      remove_member "${id# }"
    fi
  done <<<"$members"
  # kubeadm wants the cluster's version from a file, or it asks the internet for the newest.
  version=$(kubeadm version -o short)
  uploaded=$(kubeadm init phase upload-certs --upload-certs --kubeconfig "$admin" \
    --config <(printf 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: %s\n' "$version"))
  [[ $uploaded =~ $whole_line ]] || { echo "kubeadm printed no certificate key" >&2; exit 2; }
  echo "certificate_key=${BASH_REMATCH[2]}"
  encryption=/etc/kubernetes/apiserver/encryption.yaml
  [[ -s $encryption ]] || { echo "$encryption with the keys of Secrets is missing" >&2; exit 4; }
  echo "encryption=$(base64 -w 0 "$encryption")"
fi
command=$(kubeadm token create --ttl 15m --print-join-command --kubeconfig "$admin")
[[ $command =~ --token\ ([a-z0-9]{6}\.[a-z0-9]{16}) ]] || { echo "kubeadm printed no token" >&2; exit 2; }
echo "token=${BASH_REMATCH[1]}"
[[ $command =~ (sha256:[0-9a-f]{64}) ]] || { echo "kubeadm printed no CA hash" >&2; exit 2; }
echo "ca_hash=${BASH_REMATCH[1]}"
