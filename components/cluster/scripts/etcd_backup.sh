#!/usr/bin/env bash
# Lies on every control plane as /usr/local/sbin/etcd-backup. Saves etcd, with the keys without which a copy of it is of no use,
# encrypted for a key that is on no node; keeps it here and on the keepers of /etc/qwen3-vl/backup/keepers.
#
# run  what the timer does: a snapshot if the newest one is old enough, then the newest one to every keeper that lacks it
# now  the same, with a snapshot in any case
# seed puts what tools/restore_etcd.py staged on a bare node in its place: `kubeadm init` then starts the cluster from it
# What became of it is shown to node-exporter: the alerts BackupOld and BackupFailed are made of that.
# Exit 1: no snapshot could be made, or a keeper did not get it. The unit tries again, and the message names each.
set -euo pipefail
umask 077

config=/etc/qwen3-vl/backup
own=/var/lib/qwen3-vl-backups/own
kubernetes=/etc/kubernetes
shown=/var/lib/node-exporter/textfile
# Without these a snapshot cannot be served: what every certificate and token is signed by, and the keys of Secrets.
keys=(
  pki/ca.crt pki/ca.key pki/sa.key pki/sa.pub pki/front-proxy-ca.crt pki/front-proxy-ca.key pki/etcd/ca.crt pki/etcd/ca.key
  apiserver/encryption.yaml
)

# NODE_NAME, NODE_ADDRESS, EVERY_HOURS, KEEP, KEEP_DAYS
# shellcheck disable=SC1090,SC1091
source "$config/settings"

verb=$1

fail() {
  echo "$1" >&2
  exit 1
}

if [[ $verb != seed && ! -s $kubernetes/manifests/etcd.yaml ]]; then
  echo "no etcd here yet; nothing to save"
  exit 0
fi
install -d -m 0700 "$own"
exec 9>"$own/.lock"
flock -w 600 9 || fail "another backup is still at work after 600 s; look at it: systemctl status etcd-backup"

work=$(mktemp -d -- "$own/.work.XXXXXX")
programs=

# The time is that of the newest snapshot that every keeper has; a run that failed leaves it as it was.
show() {
  local result=$1 name=etcd_backup_last_success_timestamp_seconds saved=
  if ((result)); then
    saved=$(stat -c %Y -- "$own/$(newest)")
  elif [[ -s $shown/etcd-backup.prom ]]; then
    saved=$(sed -n "s/^$name //p" "$shown/etcd-backup.prom")
  fi
  install -d -m 0755 "${shown%/*}" "$shown"
  {
    echo "etcd_backup_last_result $result"
    if [[ -n $saved ]]; then echo "$name $saved"; fi
  } >"$shown/.etcd-backup"
  chmod 0644 "$shown/.etcd-backup"
  mv -- "$shown/.etcd-backup" "$shown/etcd-backup.prom" # in one step: it is read at any moment
}

cleanup() {
  local code=$?
  if [[ $verb != seed ]]; then show "$((code == 0))" || true; fi
  if [[ -n $programs ]]; then ctr -n k8s.io images unmount --rm "$programs" >/dev/null 2>&1 || true; fi
  rm -rf --one-file-system -- "$work"
}
trap cleanup EXIT
# What a run left that was killed.
find "$own" -mindepth 1 -maxdepth 1 -name '.work.*' ! -path "$work" -mmin +60 -exec rm -rf --one-file-system -- {} +

newest() { find "$own" -maxdepth 1 -name 'etcd-*.cms' -printf '%f\n' | LC_ALL=C sort | tail -n 1; }

# The programs of the version that runs here, out of its own image: nothing to install, and no API server that has to answer.
mount_programs() {
  local image
  if [[ -s $kubernetes/manifests/etcd.yaml ]]; then
    image=$(sed -n 's/^ *image: //p' "$kubernetes/manifests/etcd.yaml" | head -n 1)
  else
    image=$(kubeadm config images list --config /etc/kubeadm/init.yaml 2>/dev/null | grep -m 1 /etcd:)
  fi
  mkdir "$work/image"
  programs=$work/image
  ctr -n k8s.io images mount "$image" "$programs" >/dev/null || fail "cannot open the image $image with etcd's programs"
}

save() {
  local name size free about cipher=-aes-256-gcm
  size=$(du -k /var/lib/etcd/member/snap/db | cut -f 1)
  free=$(df -Pk "$own" | awk 'NR == 2 { print $4 }')
  # The snapshot, what is made of it, and a gibibyte that stays free for the node.
  ((free > 2 * size + 1048576)) || fail "$((free / 1024)) MiB are free below $own, too few for a snapshot of $((size / 1024)) MiB; make room"
  mount_programs
  mkdir "$work/content"
  local etcdctl=("$programs/usr/local/bin/etcdctl" --endpoints "https://$NODE_ADDRESS:2379" --cacert "$kubernetes/pki/etcd/ca.crt"
    --cert "$kubernetes/pki/etcd/server.crt" --key "$kubernetes/pki/etcd/server.key")
  # Asked first, because a snapshot of one that does not answer is tried for all of its time. This one alone: no majority is needed.
  { "${etcdctl[@]}" --command-timeout 20s endpoint status &&
    "${etcdctl[@]}" --command-timeout 300s snapshot save "$work/content/snapshot.db"; } >"$work/said" 2>&1 ||
    fail "etcd gives no snapshot: $(tail -n 1 "$work/said")"
  # Reads the whole file, and refuses one that is no sound database.
  about=$("$programs/usr/local/bin/etcdutl" snapshot status "$work/content/snapshot.db" --write-out json) ||
    fail "the snapshot of etcd is damaged; the disk may be at fault"
  tar -C "$kubernetes" -cf - "${keys[@]}" | tar -C "$work/content" -xf -
  printf '%s\n' "$about" >"$work/content/about.json"
  (cd "$work/content" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >"$work/SHA256SUMS")
  mv -- "$work/SHA256SUMS" "$work/content/SHA256SUMS"
  # OpenSSL 1.1 (Ubuntu 20.04) has no authenticated cipher for CMS: there only the digests inside tell of a change.
  if [[ $(openssl version) == "OpenSSL 1."* ]]; then cipher=-aes-256-cbc; fi
  tar -C "$work/content" -czf - . | openssl cms -encrypt -binary -stream "$cipher" -outform DER \
    -recip "$config/recipient.pem" -keyopt ecdh_kdf_md:sha256 -out "$work/sealed"
  name=etcd-$NODE_NAME-$(date -u +%Y%m%dT%H%M%SZ).cms
  sync -- "$work/sealed"
  mv -- "$work/sealed" "$own/$name"
  echo "saved $name: $(stat -c %s -- "$own/$name") bytes, $about"
}

prune() {
  local name index=0
  while IFS= read -r name; do
    index=$((index + 1))
    # The newest one stays, however old it is.
    if ((index > KEEP)) || { ((index > 1)) && [[ -n $(find "$own/$name" -mtime "+$KEEP_DAYS") ]]; }; then rm -f -- "$own/$name"; fi
  done < <(find "$own" -maxdepth 1 -name 'etcd-*.cms' -printf '%f\n' | LC_ALL=C sort -r)
}

# Lines of the file: name, user@address, port. The other side takes nothing but `put`.
copy() {
  local name=$1 size sum keeper place port said failed=()
  size=$(stat -c %s -- "$own/$name")
  sum=$(sha256sum -- "$own/$name")
  while read -r keeper place port <&3; do
    if said=$(timeout 1800 ssh -F none -i "$config/login.pem" -p "$port" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
      -o "UserKnownHostsFile=$config/known_hosts" -o GlobalKnownHostsFile=none -o "HostKeyAlias=$keeper" -o ConnectTimeout=10 \
      -o ServerAliveInterval=15 "$place" "put $name $size ${sum%% *}" <"$own/$name" 2>&1); then
      echo "$keeper: $said"
    else
      echo "$keeper: $name was not taken: ${said##*$'\n'}" >&2
      failed+=("$keeper")
    fi
  done 3<"$config/keepers"
  ((${#failed[@]} == 0)) || fail "no copy of $name at: ${failed[*]}"
}

# Keys first and data last: with data in its place a start of the cluster keeps all that is there.
seed() {
  local file mode data=/var/lib/etcd staged=/var/lib/qwen3-vl-backups/restore
  [[ -s $staged/snapshot.db && ! -e $data/member ]] || fail "nothing is staged, or etcd has data already; nothing was changed"
  mount_programs
  for file in "${keys[@]}"; do
    mode=0600
    if [[ $file == *.crt || $file == *.pub ]]; then mode=0644; fi
    install -D -m "$mode" -- "$staged/$file" "$kubernetes/$file"
  done
  rm -rf -- "$data/.restored"
  # As in restore_etcd.sh: nobody waits for revisions that the lost cluster had.
  "$programs/usr/local/bin/etcdutl" snapshot restore "$staged/snapshot.db" --name "$NODE_NAME" \
    --initial-cluster "$NODE_NAME=https://$NODE_ADDRESS:2380" --initial-advertise-peer-urls "https://$NODE_ADDRESS:2380" \
    --data-dir "$data/.restored" --bump-revision 1000000000 --mark-compacted >&2
  mv -T -- "$data/.restored/member" "$data/member"
  rm -rf -- "$data/.restored" "$staged"
  echo "etcd and its keys are those of the backup"
}

if [[ $verb == seed ]]; then
  seed
  exit 0
fi
last=$(newest)
# Half an hour less, because the timer starts at a random moment of a quarter.
if [[ $verb == now || -z $last ]] || (($(date +%s) - $(stat -c %Y -- "$own/$last") >= EVERY_HOURS * 3600 - 1800)); then save; fi
prune
copy "$(newest)"
