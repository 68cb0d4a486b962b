#!/usr/bin/env bash
# What `make doctor` asks each node: KEY<tab>VALUE... lines, keys may repeat. Changes nothing, and prints no key, password or token.
# Environment: NODE_ADDRESS; API_HOST (empty: not asked) and API_PORT, the endpoint; API_SERVER and MODEL_CACHE, `yes` and the copies'
# folder where the node has them. A question that a node cannot answer has no lines; it keeps none of the others from being asked.
set -euo pipefail
: "${NODE_ADDRESS:?}" "${API_HOST?}" "${API_PORT:?}"

kubernetes=/etc/kubernetes
backups=/var/lib/qwen3-vl-backups

say() { local IFS=$'\t'; printf '%s\n' "$*"; }
flat() { tr -s '\n\t ' ' '; }

system() {
  local newest running unit state
  if [[ -e /var/run/reboot-required ]]; then
    say reboot "$(flat 2>/dev/null </var/run/reboot-required.pkgs || echo "asked for by a package")"
  else
    running=/boot/vmlinuz-$(uname -r)
    newest=$(find /boot -maxdepth 1 -name 'vmlinuz-*' | sort -V | tail -n 1)
    if [[ -e $running && $newest != "$running" ]]; then say reboot "${newest#/boot/vmlinuz-} is installed"; fi
  fi
  say disk "$(df -Pk /var | awk 'NR == 2 { print $2 "\t" $4 }')"
  for unit in chrony.service containerd.service kubelet.service keepalived.service etcd-backup.timer; do
    if [[ $(systemctl is-enabled "$unit" 2>/dev/null) == enabled ]]; then
      state=$(systemctl is-active "$unit" 2>/dev/null) || true
      say unit "$unit" "$state"
    fi
  done
}

versions() {
  local file
  if type -P kubelet >/dev/null; then say kubelet "$(kubelet --version | awk '{ print $2 }')"; fi
  if type -P containerd >/dev/null; then say containerd "$(containerd --version | awk '{ print $3 }')"; fi
  for file in "$kubernetes"/manifests/*.yaml; do
    if [[ -r $file ]]; then say runs "$(basename "$file" .yaml)" "$(awk '$1 == "image:" { print $2; exit }' "$file")"; fi
  done
}

certificates() {
  local file text end
  for file in "$kubernetes"/pki/*.crt "$kubernetes"/pki/etcd/*.crt "$kubernetes"/{admin,super-admin,controller-manager,scheduler}.conf \
    /var/lib/kubelet/pki/kubelet-client-current.pem; do
    if [[ ! -s $file ]]; then continue; fi
    # openssl reads the first certificate of what it is given, and prints its end only.
    if [[ $file == *.conf ]]; then
      text=$(awk '$1 == "client-certificate-data:" { print $2; exit }' "$file" | base64 -d)
    else
      text=$(<"$file")
    fi
    end=$(openssl x509 -noout -enddate <<<"$text" 2>/dev/null) || end=
    say certificate "${file#"$kubernetes"/}" "$(if [[ -n $end ]]; then date -d "${end#notAfter=}" +%s; else echo 0; fi)"
  done
}

packet_filter() {
  local said script=/usr/local/lib/qwen3-vl/firewall.sh
  if [[ ! -e $script ]]; then
    say firewall absent
    return
  fi
  said=$(FIREWALL=on bash "$script" check 2>&1) || true # its check only looks
  say firewall "$(flat <<<"$said")"
}

api() {
  local url
  if [[ -z $API_HOST ]]; then return; fi
  for url in "address $API_HOST" ${API_SERVER:+"own $NODE_ADDRESS"}; do
    say api "${url% *}" "$(curl -sk --noproxy '*' -m 3 -o /dev/null -w '%{http_code}' "https://${url#* }:$API_PORT/readyz" || true)"
  done
  if [[ -n $(ip -o -4 addr show to "$API_HOST" 2>/dev/null) ]]; then say holds "$API_HOST"; fi
}

# etcd's own gateway from JSON to gRPC: no program has to be taken out of its image.
etcd() {
  local what path body answer pki=$kubernetes/pki/etcd
  if [[ ! -s $kubernetes/manifests/etcd.yaml ]]; then return; fi
  while read -r what path body; do
    answer=$(curl -sS --noproxy '*' -m 3 --cacert "$pki/ca.crt" --cert "$pki/server.crt" --key "$pki/server.key" \
      -d "$body" "https://$NODE_ADDRESS:2379/v3/$path" 2>&1) || { say etcd failed "$(flat <<<"$answer")"; return; }
    say etcd "$what" "$(flat <<<"$answer")"
  done <<'QUESTIONS'
status maintenance/status {}
members cluster/member/list {"linearizable":false}
alarms maintenance/alarm {"action":"GET"}
QUESTIONS
}

snapshots() {
  if [[ -d $backups ]]; then
    find "$backups/own" "$backups/received" -maxdepth 1 -name 'etcd-*.cms' -printf 'snapshot\t%f\t%s\n' 2>/dev/null || true
  fi
}

gpus() {
  local said
  if ! type -P nvidia-smi >/dev/null; then return; fi
  if said=$(timeout 10 nvidia-smi --query-gpu=driver_version,uuid,ecc.errors.uncorrected.volatile.total --format=csv,noheader 2>&1); then
    while IFS= read -r line; do say gpu "$line"; done <<<"$said"
  else
    say smi "$(flat <<<"$said")"
  fi
  # What the driver reports of a GPU that is in trouble, since the boot and within a day.
  journalctl -k -b -q --no-pager -o cat --since=-24h 2>/dev/null | sed -n 's/.*NVRM: Xid/xid\tXid/p' | tail -n 3 || true
}

model() {
  local folder
  if [[ -z ${MODEL_CACHE:-} ]]; then return; fi
  for folder in "$MODEL_CACHE"/revisions/*/; do
    if [[ -d $folder ]]; then say revision "$(basename "$folder")"; fi
  done
  if [[ -r $MODEL_CACHE/status.json ]]; then say copy "$(flat <"$MODEL_CACHE/status.json")"; fi
}

for question in system versions certificates packet_filter api etcd snapshots gpus model; do
  "$question" || true
done
