#!/usr/bin/env bash
# Makes this node a worker of the cluster. An attempt that was interrupted is cleaned away and begun again.
# Environment: NODE_NAME, NODE_ADDRESS, API_ENDPOINT (host:port). Standard input of `apply`: what mint_join_material.sh printed.
set -euo pipefail

template=/etc/kubeadm/join.yaml
kubelet_conf=/etc/kubernetes/kubelet.conf

# kubeadm writes kubelet.conf last, once the API has signed the kubelet's certificate.
first_missing() {
  local path
  for path in "$kubelet_conf" /var/lib/kubelet/pki/kubelet-client-current.pem /var/lib/kubelet/config.yaml /etc/kubernetes/pki/ca.crt; do
    [[ -s $path ]] || { echo "$path"; return; }
  done
}

cluster() { awk '$1 == "server:" { sub("https://", "", $2); print $2; exit }' "$kubelet_conf"; }

missing=$(first_missing)
reason=
if [[ $missing == "$kubelet_conf" && ! -e /etc/kubernetes/bootstrap-kubelet.conf && ! -e /var/lib/kubelet/config.yaml ]]; then
  reason="not a member"
elif [[ -n $missing ]]; then
  reason="joining was interrupted, $missing is missing"
elif [[ $(cluster) != "$API_ENDPOINT" ]]; then
  reason="the API endpoint of its cluster is $(cluster)"
fi
if [[ -z $reason ]]; then
  echo "unchanged: member of the cluster at $API_ENDPOINT"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi

if [[ -z $missing ]]; then
  echo "$reason, not $API_ENDPOINT; it is fixed when a cluster starts. Set kubernetes.apiAddress and apiPort back, or, if the node comes from another cluster, take it out there and run \`kubeadm reset\` on it" >&2
  exit 2
fi

token='' ca_hash=''
while IFS='=' read -r name value; do
  case $name in
    token) token=$value ;;
    ca_hash) ca_hash=$value ;;
  esac
done
if [[ ! $token =~ ^[a-z0-9]{6}\.[a-z0-9]{16}$ || ! $ca_hash =~ ^sha256:[0-9a-f]{64}$ ]]; then
  echo "no control plane could mint join material; one that is ready is needed. Look at the control planes, then run again" >&2
  exit 2
fi

if [[ -e /etc/kubernetes/bootstrap-kubelet.conf || -e /var/lib/kubelet/config.yaml || -e $kubelet_conf ]]; then
  echo "cleaning up after an interrupted attempt"
  timeout 120 kubeadm reset --force --skip-phases remove-etcd-member >/dev/null
fi
# Only shell builtins handle the token, and kubeadm reads it from a pipe: it is in no argument and in no file of ours.
config=$(<"$template")
config=${config//@TOKEN@/$token}
config=${config//@CA_HASH@/$ca_hash}
kubeadm join --config <(printf '%s\n' "$config")
systemctl enable --quiet kubelet
echo "joined the cluster at $API_ENDPOINT"
