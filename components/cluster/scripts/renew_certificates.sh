#!/usr/bin/env bash
# Renews what kubeadm issued for this control plane once a third of its year is left, and restarts what holds it in memory, one after
# another. The control planes come one after another too, so the API goes on elsewhere. Authorities (ten years) and kubelets'
# own certificates, which kubelets renew by themselves, are not touched.
# Environment: NODE_NAME, NODE_ADDRESS, API_ENDPOINT (host:port).
set -euo pipefail

init=/etc/kubeadm/init.yaml
kubernetes=/etc/kubernetes
# What is still to be restarted after a renewal; outlives an interrupted run.
pending=$kubernetes/.restart-for-certificates
limit=${READY_SECONDS:-240}
# Of kubeadm's 365 days. Not of the time since a certificate's first day: kubeadm dates each back to the first day of its authority.
third=$((365 * 86400 / 3))
port=${API_ENDPOINT##*:}
declare -A health=(
  [etcd]=http://127.0.0.1:2381/health
  [kube-apiserver]="https://$NODE_ADDRESS:$port/readyz"
  [kube-controller-manager]=https://127.0.0.1:10257/healthz
  [kube-scheduler]=https://127.0.0.1:10259/healthz
)

if [[ ! -s $kubernetes/manifests/kube-apiserver.yaml ]]; then
  echo "unchanged: no control plane yet"
  exit 0
fi

# Name of what ends first and its end in seconds since 1970.
first_end() {
  local file name text end first='' when=''
  for file in "$kubernetes"/pki/*.crt "$kubernetes"/pki/etcd/*.crt "$kubernetes"/{admin,super-admin,controller-manager,scheduler}.conf; do
    name=${file#"$kubernetes"/}
    if [[ ! -s $file || $name == pki/ca.crt || $name == pki/front-proxy-ca.crt || $name == pki/etcd/ca.crt ]]; then continue; fi
    text=$(<"$file")
    if [[ $name == *.conf ]]; then
      text=$(awk '$1 == "client-certificate-data:" { print $2; exit }' "$file" | base64 -d)
    fi
    end=$(openssl x509 -noout -enddate <<<"$text" 2>/dev/null) || { echo "$name 0"; return; }
    end=$(date -d "${end#notAfter=}" +%s)
    if [[ -z $when ]] || ((end < when)); then first=$name when=$end; fi
  done
  echo "$first $when"
}

read -r name end < <(first_end)
days=$(((end - $(date +%s)) / 86400))
due='' reason=''
if ((end == 0)); then
  due="$name cannot be read"
elif ((end - $(date +%s) < third)); then
  due="$name ends in $days days"
elif [[ -s $pending ]]; then
  reason="certificates were renewed, and are not yet used by: $(tr '\n' ' ' <"$pending")"
fi
reason=${due:-$reason}
if [[ -z $reason ]]; then
  echo "unchanged: no certificate ends within $days days"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi

running() { pgrep -f "^$1( |\$)" | tr '\n' ' ' || true; }
healthy() { curl -sfk -o /dev/null -m 5 "${health[$1]}"; }
# Another process than before, and one that works.
restart() {
  local component=$1 before now end=$((SECONDS + limit))
  before=$(running "$component")
  # kubelet starts it again at once. Nothing of its manifest is touched, so nothing is missing if this ends here.
  pkill -TERM -f "^$component( |\$)" || true
  while ((SECONDS < end)); do
    now=$(running "$component")
    if [[ -n $now && $now != "$before" ]] && healthy "$component"; then return; fi
    sleep 1
  done
  echo "$component is not well $limit s after its restart with renewed certificates. Look at its log below /var/log/pods; the other control planes were left alone" >&2
  exit 2
}

if [[ -n $due ]]; then
  # First, so that a run that is ended in between is finished by the next.
  printf '%s\n' etcd kube-apiserver kube-controller-manager kube-scheduler >"$pending"
  kubeadm certs renew all --config "$init" >/dev/null
  echo "renewed, because $due"
fi
while read -r component <"$pending"; do
  restart "$component"
  sed -i 1d "$pending"
  echo "$component has the renewed certificates"
done
rm -f -- "$pending"
