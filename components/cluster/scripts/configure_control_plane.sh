#!/usr/bin/env bash
# Brings API server, controller manager and scheduler of this control plane to the flags of its kubeadm configuration. The nodes come
# one after another, so the others serve meanwhile; what does not get well again is put back, and the run ends before the next
# node. Versions are left alone: the manifests keep the images they have.
# Environment: NODE_NAME, NODE_ADDRESS, API_ENDPOINT (host:port).
set -euo pipefail

init=/etc/kubeadm/init.yaml
manifests=/etc/kubernetes/manifests
admin=/etc/kubernetes/admin.conf
port=${API_ENDPOINT##*:}
limit=${READY_SECONDS:-240}
declare -A health=(
  [kube-apiserver]="https://$NODE_ADDRESS:$port/readyz"
  [kube-controller-manager]=https://127.0.0.1:10257/healthz
  [kube-scheduler]=https://127.0.0.1:10259/healthz
)
order=(kube-apiserver kube-controller-manager kube-scheduler)

for component in "${order[@]}"; do
  if [[ ! -s $manifests/$component.yaml ]]; then
    echo "unchanged: no control plane yet, joining makes its manifests"
    exit 0
  fi
done

wanted=$(mktemp -d)
trap 'rm -rf -- "$wanted"' EXIT
# kubeadm itself says what it would write; a dry run of one phase touches nothing but this folder.
KUBEADM_INIT_DRYRUN_DIR=$wanted kubeadm init phase control-plane all --config "$init" --dry-run >/dev/null
changed=()
for component in "${order[@]}"; do
  image=$(grep -m 1 '^ *image: ' "$manifests/$component.yaml")
  sed -i "s|^ *image: .*|$image|" "$wanted/$component.yaml"
  cmp -s "$wanted/$component.yaml" "$manifests/$component.yaml" || changed+=("$component")
done
if ((${#changed[@]} == 0)); then
  echo "unchanged: the static pods have the flags of $init"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: other flags than in $init: ${changed[*]}"
  exit 1
fi

# Which container it is now, as kubelet tells the cluster; nothing while the API is away.
container() {
  kubectl --kubeconfig "$admin" --request-timeout 5s -n kube-system get pod "$1-$NODE_NAME" \
    -o 'jsonpath={.status.containerStatuses[0].state.running.startedAt}{.status.containerStatuses[0].containerID}' 2>/dev/null || true
}
last_words() { find /var/log/pods -path "*/kube-system_$1-*" -name '*.log' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2- | xargs -r tail -n 1; }
healthy() { curl -sfk -o /dev/null -m 5 "${health[$1]}"; }

# A new container, and one that works.
wait_for() {
  local component=$1 before=$2 end=$((SECONDS + limit)) now
  while ((SECONDS < end)); do
    now=$(container "$component")
    if [[ -n $now && $now != "$before" ]] && healthy "$component"; then return 0; fi
    sleep 1
  done
  return 1
}

# By a rename: kubelet reads the folder at any moment. The copy lies outside of it, because kubelet takes every file there for a pod.
put() {
  install -m 0600 "$1" "$manifests/../.$2.new"
  mv -f -- "$manifests/../.$2.new" "$manifests/$2.yaml"
}

for component in "${changed[@]}"; do
  kept=$wanted/$component.kept
  cp -p -- "$manifests/$component.yaml" "$kept"
  before=$(container "$component")
  put "$wanted/$component.yaml" "$component"
  if ! wait_for "$component" "$before"; then
    reason=$(last_words "$component" 2>/dev/null || true)
    put "$kept" "$component"
    echo "$component is not well within $limit s with the flags of $init, so it has its old ones again: ${reason:-no log}. Correct the settings; the other control planes were left alone" >&2
    exit 2
  fi
  echo "$component runs with new flags"
done
# Control planes that join later take their flags from here.
kubeadm init phase upload-config kubeadm --config "$init" --kubeconfig "$admin"
