#!/usr/bin/env bash
# Makes this node a control plane: joins the cluster that a peer is a member of, or starts it if there is none yet.
#
# Interrupted attempts are finished by the next run. A node that has etcd data and no peer to learn from is never reset: `kubeadm init`
# runs again over what is there, which keeps certificates and data. A node is only reset when a healthy peer has just given
# join material, so that everything it could lose is in the cluster.
# A finished member is none of this script's business, whatever it lacks: minting material takes its place in etcd away.
#
# Environment: NODE_NAME, NODE_ADDRESS, API_ENDPOINT (host:port).
# Standard input of `apply`: what mint_join_material.sh printed on a peer; empty when every peer answered that it is no member.
set -euo pipefail

init=/etc/kubeadm/init.yaml
template=/etc/kubeadm/join.yaml
admin=/etc/kubernetes/admin.conf
ca=/etc/kubernetes/pki/ca.crt
# The keys of Secrets in etcd. Like the CA's key they are made where the cluster starts, go from one control plane to the next, and are
# kept nowhere else: whoever loses the program's state loses nothing of the cluster.
encryption=/etc/kubernetes/apiserver/encryption.yaml
# Written after kubeadm has finished; lies where `kubeadm reset` removes it.
marker=/var/lib/kubelet/.control-plane-complete
port=${API_ENDPOINT##*:}

pieces=(
  /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf /etc/kubernetes/controller-manager.conf /etc/kubernetes/scheduler.conf
  /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/etcd/server.crt
  /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/manifests/kube-apiserver.yaml
  /etc/kubernetes/manifests/kube-controller-manager.yaml /etc/kubernetes/manifests/kube-scheduler.yaml
  /var/lib/kubelet/config.yaml
)
missing=()
for piece in "${pieces[@]}"; do
  [[ -s $piece ]] || missing+=("$piece")
done

local_api() { kubectl --kubeconfig "$admin" --server "https://$NODE_ADDRESS:$port" --request-timeout 5s "$@"; }
has_etcd_data() { [[ -d /var/lib/etcd/member ]]; }
leftovers() { ((${#missing[@]} < ${#pieces[@]})) || [[ -e /etc/kubernetes/bootstrap-kubelet.conf ]] || has_etcd_data; }

# What kubeadm does last, seen through the API: for a cluster that was made by hand.
finished_by_api() {
  [[ -n $(local_api get node "$NODE_NAME" -l node-role.kubernetes.io/control-plane -o name 2>/dev/null) ]] &&
    local_api -n kube-system get configmap/kubeadm-config configmap/kubelet-config daemonset/kube-proxy deployment/coredns -o name >/dev/null 2>&1 &&
    local_api -n kube-public get configmap/cluster-info -o name >/dev/null 2>&1
}

# Taken out of the cluster while it was away: the API answers elsewhere and no longer knows it as a control plane, and its own
# API server has no etcd to answer from. Without an answer the marker is believed.
taken_out() {
  local role
  curl -sfk -o /dev/null -m 5 "https://$NODE_ADDRESS:$port/readyz" && return 1
  role=$(kubectl --kubeconfig "$admin" --server "https://$API_ENDPOINT" --request-timeout 5s get nodes -o name \
    --field-selector "metadata.name=$NODE_NAME" -l node-role.kubernetes.io/control-plane 2>/dev/null) || return 1
  [[ -z $role ]]
}

reason=
if [[ -e $marker ]]; then
  if ((${#missing[@]} == 0)) && taken_out; then reason="taken out of the cluster while it was away"; fi
elif ((${#missing[@]} == 0)) && finished_by_api; then
  :
elif ! leftovers; then
  reason="not a member"
else
  reason="joining was interrupted"
  if ((${#missing[@]})); then reason+=", missing: ${missing[*]}"; fi
fi
if [[ -z $reason ]]; then
  echo "unchanged: a control plane already"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi

token='' ca_hash='' key='' keys=''
while read -r line; do
  value=${line#*=} # read with IFS would take a = off its end, and base64 ends with some
  case ${line%%=*} in
    token) token=$value ;;
    ca_hash) ca_hash=$value ;;
    certificate_key) key=$value ;;
    encryption) keys=$value ;;
  esac
done

finish() {
  systemctl enable --quiet kubelet
  : >"$marker"
  echo "$1 the cluster at $API_ENDPOINT"
  exit 0
}

# From standard input, so that no key is in an argument.
write_encryption() {
  install -d -m 0700 "${encryption%/*}"
  (umask 077 && cat >"$encryption.new")
  mv -f -- "$encryption.new" "$encryption"
}

# secretbox, because it needs no care about how often a key is used; identity reads what was written without one.
new_encryption() {
  cat <<'YAML'
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources:
  - secrets
  providers:
  - secretbox:
      keys:
      - name: key1
YAML
  printf '        secret: '
  head -c 32 /dev/urandom | base64
  echo '  - identity: {}'
}

start() {
  local ignored=()
  # A backup that tools/restore_etcd.py left here, because no control plane has etcd any longer.
  if [[ -s /var/lib/qwen3-vl-backups/restore/snapshot.db ]] && ! has_etcd_data; then etcd-backup seed; fi
  if leftovers; then
    echo "finishing an interrupted start of the cluster"
    # Certificates without their keys cannot be continued; before etcd has data nothing is lost by beginning anew.
    if has_etcd_data; then
      ignored=(--ignore-preflight-errors "$(again)")
    else
      clean
    fi
  fi
  if [[ ! -s $encryption ]]; then new_encryption | write_encryption; fi
  kubeadm init --config "$init" --skip-phases show-join-command --skip-token-print --skip-certificate-key-print "${ignored[@]}"
  # The kubeadm-config of this cluster is now the same for every control plane; nothing remembers who came first.
  finish "started"
}

# The checks that an earlier attempt of our own trips, beside those the settings ignore.
again() {
  local own=DirAvailable--var-lib-etcd,Port-10250,Port-10257,Port-10259,Port-2379,Port-2380,Port-$port component
  for component in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    own+=,FileAvailable--etc-kubernetes-manifests-$component.yaml
  done
  awk -v own="$own" '
    /^---/ { exit }
    /ignorePreflightErrors:/ { list = 1; next }
    list && /^ *- / { sub(/^ *- /, ""); own = own "," $0; next }
    { list = 0 }
    END { print own }' "$init"
}

clean() {
  timeout 150 kubeadm reset --force --skip-phases remove-etcd-member >/dev/null
  rm -rf -- /var/lib/etcd/member
}

join() {
  local config
  if leftovers; then
    echo "cleaning up after an interrupted attempt"
    clean
  fi
  # Only shell builtins handle the secrets, and kubeadm reads them from a pipe: they are in no argument and in no file of ours.
  printf '%s' "$keys" | base64 -d | write_encryption
  config=$(<"$template")
  config=${config//@TOKEN@/$token}
  config=${config//@CA_HASH@/$ca_hash}
  config=${config//@CERTIFICATE_KEY@/$key}
  kubeadm join --config <(printf '%s\n' "$config")
  finish "joined"
}

if [[ -n $token ]]; then
  if [[ ! $token =~ ^[a-z0-9]{6}\.[a-z0-9]{16}$ || ! $ca_hash =~ ^sha256:[0-9a-f]{64}$ || ! $key =~ ^[0-9a-f]{64}$ || ! $keys =~ ^[A-Za-z0-9+/]+=*$ ]]; then
    echo "the join material of the peer is not usable; it should be a token, a CA hash, a certificate key and the keys of Secrets. Run again" >&2
    exit 2
  fi
  join
fi

# Nobody gave material. Starting a second cluster beside a living one is the one mistake that cannot be undone. An API that shows
# a certificate of the CA that lies here is this cluster's own, half started.
if curl -sk -o /dev/null -m 5 "https://$API_ENDPOINT/livez" &&
  ! { [[ -s $ca ]] && curl -s -o /dev/null -m 5 --cacert "$ca" "https://$API_ENDPOINT/livez"; }; then
  echo "an API answers at $API_ENDPOINT, but no control plane of the list is a member of it; a second cluster there would break the first. Add one of its control planes to the list, or choose another kubernetes.apiAddress" >&2
  exit 2
fi
start
