#!/usr/bin/env bash
# Leaves `key$GENERATION` as the only key that Secrets are encrypted with in etcd. The way there has four rounds, and no control plane
# begins one before all have ended the one before; so at every moment each API server can read what any other writes:
#   offer    every node has the new key, as the last one: it reads with it
#   use      every node has it first: it writes with it
#   rewrite  every Secret is written once more, so with it
#   drop     every node forgets the other keys, once etcd holds nothing that was written with one of them
# The API servers read the file anew by themselves, once a minute; none is restarted. A run that was killed leaves nodes at different
# points of this, and the next one begins at `offer`: what is done already is passed over.
# Environment: GENERATION; ROUND for `apply`.
# Standard input of `offer`: what the first node printed, so that all have the same key; empty on that node itself.
set -euo pipefail

encryption=/etc/kubernetes/apiserver/encryption.yaml
admin=/etc/kubernetes/admin.conf
manifests=/etc/kubernetes/manifests
key=key$GENERATION
limit=${READY_SECONDS:-150} # API servers look once a minute

if [[ ! -s $manifests/kube-apiserver.yaml || ! -s $encryption ]]; then
  echo "unchanged: no control plane yet, joining brings the keys of the others"
  exit 0
fi

declare -a names=()
declare -A secrets=()
# From standard input: the keys' names in their order, and the keys.
read_keys() {
  local line name=
  names=() secrets=()
  while read -r line; do
    case $line in
      '- name: '*) name=${line#*: } && names+=("$name") ;;
      'secret: '*) secrets[$name]=${line#*: } ;;
    esac
  done
}
# The file, in the form that joining gives it. Only builtins see the keys: no argument and no environment holds one.
file() {
  local name
  printf '%s\n' 'apiVersion: apiserver.config.k8s.io/v1' 'kind: EncryptionConfiguration' 'resources:' '- resources:' \
    '  - secrets' '  providers:' '  - secretbox:' '      keys:'
  for name in "${names[@]}"; do printf '      - name: %s\n        secret: %s\n' "$name" "${secrets[$name]:-}"; done
  printf '  - identity: {}\n'
}
write_keys() {
  (umask 077 && file >"$encryption.new")
  mv -f -- "$encryption.new" "$encryption"
}

read_keys <"$encryption"
# Other providers, or more of them: its keys would not be what they are taken for here.
if [[ $(file) != "$(<"$encryption")" ]]; then
  if [[ $GENERATION == 1 ]]; then
    echo "unchanged: $encryption was made by other means and is left alone"
    exit 0
  fi
  echo "$encryption was made by other means, so its keys cannot be changed here. Bring it into the form that joining gives it, or set kubernetes.encryptionKeyGeneration back to 1" >&2
  exit 2
fi
if [[ $1 == check ]]; then
  if [[ ${names[*]} == "$key" ]]; then
    echo "unchanged: Secrets are encrypted with $key"
    exit 0
  fi
  echo "drifted: Secrets are to be encrypted with $key alone, there is ${names[*]}"
  exit 1
fi

field() { awk -v key="--$1=" 'index($2, key) == 1 { print substr($2, length(key) + 1); exit }' "$manifests/$2.yaml"; }
server=https://$(field advertise-address kube-apiserver):$(field secure-port kube-apiserver)
api() { kubectl --kubeconfig "$admin" --server "$server" "$@"; }

# Its own API server tells the digest of the file that it works with. One of 1.33 does not: it tells when it last read another file.
loaded() {
  local metrics
  metrics=$(api --request-timeout 10s get --raw /metrics 2>/dev/null) || return 1
  awk -v digest="$(sha256sum <"$encryption" | cut -d' ' -f1)" -v written="$(stat -c %.Y "$encryption")" '
    /^apiserver_encryption_config_controller_last_config_info\{/ { told = 1; if (index($0, "hash=\"sha256:" digest "\"")) same = 1 }
    /^apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds\{.*status="success"/ { if ($NF > written) newer = 1 }
    /^process_start_time_seconds / { if ($NF > written) newer = 1 }
    END { exit !(told ? same : newer) }' <<<"$metrics"
}
# Nothing is undone where this fails: each round's keys read all that was written before it.
wait_until_loaded() {
  local end=$((SECONDS + limit))
  until loaded; do
    if ((SECONDS >= end)); then
      echo "the API server at $server does not work with the keys of $encryption after $limit s. Look at its log; no Secret is lost. Run again" >&2
      exit 2
    fi
    sleep 2
  done
}

# How many Secrets etcd holds, and how many of them are encrypted with the new key.
stored() {
  api --request-timeout 60s -n kube-system exec "etcd-$(field name etcd)" -c etcd -- etcdctl --endpoints https://127.0.0.1:2379 \
    --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key \
    get /registry/secrets/ --prefix |
    { LC_ALL=C grep -aoE "^(/registry/secrets/[^/]+/[^/]+|k8s:enc:secretbox:v1:$key:)" || true; } |
    LC_ALL=C awk '/^\// { all++ } /^k8s:/ { new++ } END { print all + 0, new + 0 }'
}
all_rewritten() {
  local counts all new
  counts=$(stored) || return 1
  read -r all new <<<"$counts"
  ((all == new))
}

others() {
  local name
  for name in "${names[@]}"; do [[ $name == "$key" ]] || echo "$name"; done
}

case $ROUND in
  offer)
    given=$(cat)
    if [[ -z $given ]]; then
      if [[ -z ${secrets[$key]:-} ]]; then
        names+=("$key") secrets[$key]=$(head -c 32 /dev/urandom | base64)
        write_keys
      fi
    else
      own=${secrets[$key]:-}
      theirs=$(read_keys < <(base64 -d <<<"$given") && echo "${secrets[$key]:-}")
      [[ -n $theirs ]] || { echo "the first control plane gave no $key. Run again" >&2; exit 2; }
      if [[ $own != "$theirs" ]]; then
        if [[ ${names[0]} == "$key" ]]; then
          echo "the first control plane has another $key than this one, which writes with it: one of them is not of this cluster. Copy $encryption of the right one to the other" >&2
          exit 2
        fi
        mapfile -t names < <(others)
        names+=("$key") secrets[$key]=$theirs
        write_keys
      fi
    fi
    wait_until_loaded
    base64 -w 0 "$encryption"
    ;;
  use)
    [[ -n ${secrets[$key]:-} ]] || { echo "no $key in $encryption. Run again" >&2; exit 2; }
    if [[ ${names[0]} != "$key" ]]; then
      mapfile -t names < <(echo "$key" && others)
      write_keys
    fi
    wait_until_loaded
    ;;
  rewrite)
    # A Secret that somebody changes or removes meanwhile is refused or gone: looked at again.
    for _ in {1..10}; do
      if all_rewritten; then exit 0; fi
      api get secrets --all-namespaces --show-managed-fields -o json | api replace -f - >/dev/null 2>&1 || sleep 1
    done
    all_rewritten || { echo "etcd still holds Secrets that are not encrypted with $key (all, with $key: $(stored)). Run again" >&2; exit 2; }
    ;;
  drop)
    [[ ${names[*]} != "$key" ]] || exit 0
    [[ ${names[0]} == "$key" ]] || { echo "$key is not the first key in $encryption. Run again" >&2; exit 2; }
    all_rewritten || { echo "etcd holds Secrets that are not encrypted with $key (all, with $key: $(stored)), so no key is dropped. Run again" >&2; exit 2; }
    names=("$key")
    write_keys
    wait_until_loaded
    ;;
  *) echo "ROUND is $ROUND; offer, use, rewrite or drop" >&2 && exit 2 ;;
esac
