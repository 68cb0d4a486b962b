#!/usr/bin/env bash
# A control plane's side of tools/restore_etcd.py: etcd and its keys go back to what a backup holds. One verb after the other, each on
# every node that takes part before the next begins; all may be run again.
#
# look     what this node is: `member` or `bare`, the digest of its cluster's CA, free MiB, and the names of the backups here
# fetch    the backup NAME of this node, encrypted as it is
# stage    takes the decrypted content from standard input and verifies it
# stop     ends API server, controller manager, scheduler and etcd; until `start` kubelet has nothing to start
# restore  replaces etcd's data and the keys of Secrets; what was there stays beside
# start    starts them again and waits until they are well
# clear    removes what was staged
#
# Environment: NODE_NAME, NODE_ADDRESS, API_PORT; for restore also RESTORE_ID and MEMBERS (`name=https://address:2380,...`).
# A bare node is for `look` and `stage` only: what is staged there, `up` starts the cluster from (`etcd-backup seed`).
set -euo pipefail
umask 077

backups=/var/lib/qwen3-vl-backups
staged=$backups/restore
kubernetes=/etc/kubernetes
manifests=$kubernetes/manifests
aside=$kubernetes/stopped-for-restore
data=/var/lib/etcd
components=(kube-apiserver kube-controller-manager kube-scheduler etcd)
limit=${READY_SECONDS:-300}

fail() {
  echo "$1" >&2
  exit 2
}
member() { [[ -s $manifests/etcd.yaml || -s $aside/etcd.yaml ]]; }
listens() { (exec 3<>"/dev/tcp/$NODE_ADDRESS/$1") 2>/dev/null; }
digest() { if [[ -s $1 ]]; then sha256sum -- "$1" | cut -c 1-64; else echo -; fi; }

programs=
release() { if [[ -n $programs ]]; then ctr -n k8s.io images unmount --rm "$programs" >/dev/null 2>&1 && rmdir -- "$programs" || true; fi; }
trap release EXIT
mount_programs() {
  local image manifest=$manifests/etcd.yaml
  [[ -s $manifest ]] || manifest=$aside/etcd.yaml
  image=$(sed -n 's/^ *image: //p' "$manifest" | head -n 1)
  programs=$(mktemp -d -- "$backups/.image.XXXXXX")
  ctr -n k8s.io images mount "$image" "$programs" >/dev/null || fail "cannot open the image $image with etcd's programs"
}

# Until the condition holds.
wait_for() {
  local end=$((SECONDS + limit)) what=$1
  shift
  until "$@"; do
    ((SECONDS < end)) || fail "$what after $limit s; look at \`journalctl -u kubelet\` and run the restore again"
    sleep 1
  done
}
silent() { ! listens 2379 && ! listens 2380 && ! listens "$API_PORT"; }
etcd_well() {
  "$programs/usr/local/bin/etcdctl" --endpoints "https://$NODE_ADDRESS:2379" --cacert "$kubernetes/pki/etcd/ca.crt" \
    --cert "$kubernetes/pki/etcd/server.crt" --key "$kubernetes/pki/etcd/server.key" endpoint health >/dev/null 2>&1
}
api_well() { curl -sfk -o /dev/null -m 5 "https://$NODE_ADDRESS:$API_PORT/readyz"; }

case $1 in
  look)
    if member; then echo "state member"; else echo "state bare"; fi
    echo "ca $(digest "$kubernetes/pki/ca.crt")"
    install -d -m 0755 "$backups"
    echo "free $(($(df -Pk "$backups" | awk 'NR == 2 { print $4 }') / 1024))"
    find "$backups/own" "$backups/received" -maxdepth 1 -name 'etcd-*.cms' -printf 'backup %f\n' 2>/dev/null || true
    ;;
  fetch)
    [[ $NAME =~ ^etcd-[a-z0-9-]+-[0-9]{8}T[0-9]{6}Z\.cms$ ]] || fail "not the name of a backup"
    for folder in own received; do
      if [[ -f $backups/$folder/$NAME ]]; then exec cat -- "$backups/$folder/$NAME"; fi
    done
    fail "$NAME is not here"
    ;;
  stage)
    rm -rf -- "$staged"
    install -d -m 0755 "$backups"
    install -d -m 0700 "$staged"
    tar -C "$staged" --no-same-owner -xzf - || fail "the backup did not arrive whole; run again"
    (cd -- "$staged" && sha256sum --quiet --strict --check SHA256SUMS) >&2 || fail "the backup's files are not what its digests say"
    if ! member; then exit 0; fi
    # Everybody can encrypt for the backups' key. Who knows the authority's key too is a control plane of this cluster.
    cmp -s -- "$staged/pki/ca.key" "$kubernetes/pki/ca.key" ||
      fail "the backup was not made by a control plane of this cluster; the key of its authority is another one"
    mount_programs
    "$programs/usr/local/bin/etcdutl" snapshot status "$staged/snapshot.db" --write-out json || fail "the backup's snapshot is damaged"
    ;;
  stop)
    install -d -m 0700 "$aside"
    for component in "${components[@]}"; do
      if [[ -e $manifests/$component.yaml ]]; then mv -f -- "$manifests/$component.yaml" "$aside/$component.yaml"; fi
    done
    wait_for "etcd or the API server still runs" silent
    ;;
  restore)
    [[ -s $staged/snapshot.db ]] || fail "nothing is staged here; run the restore from its beginning"
    silent || fail "etcd or the API server runs; stop comes before restore"
    mount_programs
    find "$data" -mindepth 1 -maxdepth 1 -name '.restored*' -exec rm -rf -- {} +
    # Revisions go on far above those that clients have seen, and what they watched is told to be gone: everybody reads anew.
    "$programs/usr/local/bin/etcdutl" snapshot restore "$staged/snapshot.db" --name "$NODE_NAME" \
      --initial-cluster "$MEMBERS" --initial-cluster-token "restored-$RESTORE_ID" \
      --initial-advertise-peer-urls "https://$NODE_ADDRESS:2380" --data-dir "$data/.restored" \
      --bump-revision 1000000000 --mark-compacted >&2
    keys=$kubernetes/apiserver/encryption.yaml
    if ! cmp -s -- "$staged/apiserver/encryption.yaml" "$keys"; then
      cp -p -- "$keys" "$keys.before-restore"
      install -m 0600 -- "$staged/apiserver/encryption.yaml" "$keys.new"
      mv -f -- "$keys.new" "$keys"
    fi
    if [[ -d $data/member ]]; then mv -T -- "$data/member" "$data/before-restore-$(date -u +%Y%m%dT%H%M%S.%NZ)"; fi
    mv -T -- "$data/.restored/member" "$data/member"
    rm -rf -- "$data/.restored"
    # The two newest are kept: of a restore that is run twice the first one is the cluster's own.
    find "$data" -maxdepth 1 -name 'before-restore-*' | LC_ALL=C sort -r | tail -n +3 | xargs -r rm -rf --
    sync -f "$data"
    echo "$NODE_NAME holds the backup"
    ;;
  start)
    mount_programs
    if [[ -e $aside/etcd.yaml ]]; then mv -f -- "$aside/etcd.yaml" "$manifests/etcd.yaml"; fi
    wait_for "etcd is not well" etcd_well
    for component in "${components[@]}"; do
      if [[ -e $aside/$component.yaml ]]; then mv -f -- "$aside/$component.yaml" "$manifests/$component.yaml"; fi
    done
    wait_for "the API server is not ready" api_well
    rmdir -- "$aside" 2>/dev/null || true
    echo "$NODE_NAME serves again"
    ;;
  clear) rm -rf -- "$staged" ;;
esac
