#!/usr/bin/env bash
# Lies on every keeper as /usr/local/lib/qwen3-vl/receive-backup: the only thing that the login of the control planes can do there
# (forced command of its key). Takes one encrypted backup from standard input; never gives one out, and knows no key to read it.
#
#   receive-backup KEEP DAYS, and in SSH_ORIGINAL_COMMAND: put NAME BYTES SHA256
set -euo pipefail
umask 077

keep=$1 days=$2
received=$HOME/received

refuse() {
  echo "$1" >&2
  exit 1
}

[[ ${SSH_ORIGINAL_COMMAND:-} =~ ^put\ (etcd-([a-z0-9-]{1,63})-[0-9]{8}T[0-9]{6}Z\.cms)\ ([0-9]{1,12})\ ([0-9a-f]{64})$ ]] ||
  refuse "only backups of etcd are taken here"
name=${BASH_REMATCH[1]} source=${BASH_REMATCH[2]} size=${BASH_REMATCH[3]} sum=${BASH_REMATCH[4]}

exec 9>"$received/.lock"
flock -w 1200 9 || refuse "another backup is still being taken"
# What an earlier transfer left that broke off.
find "$received" -maxdepth 1 -name '.incoming.*' -delete
if [[ -e $received/$name ]]; then
  echo "has $name"
  exit 0
fi
# A tenth of the disk stays free: what is kept here must never fill the node up.
read -r all free < <(df -Pk "$received" | awk 'NR == 2 { print $2, $4 }')
((free - size / 1024 > all / 10)) || refuse "$((free / 1024)) MiB are free for $((size / 1048576)) MiB, and a tenth of the disk stays free; make room"

incoming=$(mktemp -- "$received/.incoming.XXXXXX")
trap 'rm -f -- "$incoming"' EXIT
head -c "$size" >"$incoming"
found=$(sha256sum -- "$incoming")
[[ ${found%% *} == "$sum" ]] || refuse "$name arrived damaged or not whole"
sync -- "$incoming"
mv -n -- "$incoming" "$received/$name"

index=0
while IFS= read -r each; do
  # The rest of a longer node name would be part of this pattern's star.
  [[ ${each%-*} == "etcd-$source" ]] || continue
  index=$((index + 1))
  if ((index > keep)); then rm -f -- "$received/$each"; fi
done < <(find "$received" -maxdepth 1 -name "etcd-$source-*.cms" -printf '%f\n' | LC_ALL=C sort -r)
# Also of control planes that are no more.
find "$received" -maxdepth 1 -name 'etcd-*.cms' ! -name "$name" -mtime "+$days" -delete
echo "took $name"
