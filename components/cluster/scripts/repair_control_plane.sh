#!/usr/bin/env bash
# Mends a node that is a control plane already: files it has lost are made again from what is there, nothing is reset and no
# peer is asked. A node that is none yet is left to join_control_plane.sh.
# Environment: NODE_NAME, NODE_ADDRESS, API_ENDPOINT (host:port).
set -euo pipefail

init=/etc/kubeadm/init.yaml
admin=/etc/kubernetes/admin.conf
marker=/var/lib/kubelet/.control-plane-complete # left by join_control_plane.sh
port=${API_ENDPOINT##*:}
encryption=/etc/kubernetes/apiserver/encryption.yaml

missing=()
for piece in \
  /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf /etc/kubernetes/controller-manager.conf /etc/kubernetes/scheduler.conf \
  /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/etcd/server.crt \
  /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/manifests/kube-apiserver.yaml \
  /etc/kubernetes/manifests/kube-controller-manager.yaml /etc/kubernetes/manifests/kube-scheduler.yaml "$encryption" /var/lib/kubelet/config.yaml; do
  [[ -s $piece ]] || missing+=("$piece")
done

# Which cluster the administrator's credentials are for; nothing where there are none.
cluster=
if [[ -s $admin ]]; then cluster=$(awk '$1 == "server:" { sub("https://", "", $2); print $2; exit }' "$admin"); fi
# What kubeadm does last, seen through the API.
finished_by_api() {
  local api=(kubectl --kubeconfig "$admin" --server "https://$NODE_ADDRESS:$port" --request-timeout 5s)
  [[ -n $("${api[@]}" get node "$NODE_NAME" -l node-role.kubernetes.io/control-plane -o name 2>/dev/null) ]] &&
    "${api[@]}" -n kube-system get configmap/kubeadm-config configmap/kubelet-config daemonset/kube-proxy deployment/coredns -o name >/dev/null 2>&1 &&
    "${api[@]}" -n kube-public get configmap/cluster-info -o name >/dev/null 2>&1
}

reason=
if [[ -n $cluster && $cluster != "$API_ENDPOINT" ]]; then
  reason="the API endpoint of its cluster is $cluster"
elif [[ -e $marker ]]; then
  if ((${#missing[@]})); then reason="missing: ${missing[*]}"; fi
elif ((${#missing[@]} == 0)) && finished_by_api; then
  reason="a control plane made by other means, not marked as complete"
fi
if [[ -z $reason ]]; then
  echo "unchanged: nothing to mend"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi

if [[ -n $cluster && $cluster != "$API_ENDPOINT" ]]; then
  echo "$reason, not $API_ENDPOINT; it is fixed when a cluster starts. Set kubernetes.apiAddress and apiPort back, or, if the node comes from another cluster, take it out there and run \`kubeadm reset\` on it" >&2
  exit 2
fi
if [[ ! -e $marker ]]; then
  : >"$marker"
  echo "adopted a control plane of the cluster at $API_ENDPOINT"
  exit 0
fi
if [[ ! -s /etc/kubernetes/pki/ca.key || ! -s /etc/kubernetes/pki/ca.crt ]]; then
  echo "the cluster's CA is missing in /etc/kubernetes/pki; without it nothing can be made again here. Copy ca.crt and ca.key from another control plane, or take the node off the list, run up, and put it back" >&2
  exit 2
fi
if [[ ! -s $encryption ]]; then
  echo "$encryption is missing; without its keys the Secrets in etcd cannot be read here. Copy it from another control plane, or take the node off the list, run up, and put it back" >&2
  exit 2
fi
# Each phase keeps what is there.
for phase in "certs all" "kubeconfig admin" "kubeconfig kubelet" "kubeconfig controller-manager" "kubeconfig scheduler" "etcd local" "control-plane all"; do
  # shellcheck disable=SC2086 # two words
  kubeadm init phase $phase --config "$init"
done
if [[ ! -s /var/lib/kubelet/config.yaml ]]; then kubeadm init phase kubelet-start --config "$init"; fi
echo "mended ${missing[*]}"
