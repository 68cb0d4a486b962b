#!/usr/bin/env bash
# Lets keys log in as LOGIN_USER, and others no more; keys that nothing is said of stay. A key that this very run has logged in with
# is never taken out: the next run could not come back.
# Environment: LOGIN_USER; AUTHORIZED and REVOKED, a public key in each line; HOST_LOGIN_KEY, the key of this log-in (base64).
set -euo pipefail

home=$(getent passwd "$LOGIN_USER" | cut -d: -f6)
[[ -n $home ]] || { echo "no user $LOGIN_USER" >&2; exit 2; }
# The files that sshd reads for this user; new keys go into the first.
files=()
read -ra patterns < <(sshd -T -C "user=$LOGIN_USER,host=localhost,addr=127.0.0.1" 2>/dev/null | sed -n 's/^authorizedkeysfile //p') || true
for pattern in "${patterns[@]:-.ssh/authorized_keys}"; do
  pattern=${pattern//%h/$home} pattern=${pattern//%u/$LOGIN_USER}
  [[ $pattern == /* ]] || pattern=$home/$pattern
  files+=("$pattern")
done

blobs() { while read -r _ blob _; do if [[ -n $blob ]]; then echo "$blob"; fi; done <<<"$1"; }
# Whether a file has a key: it is one of a line's words, behind options there may be.
has() { [[ -e $2 ]] && awk -v blob="$1" '/^[[:space:]]*#/ { next } { for (i = 1; i <= NF; i++) if ($i == blob) found = 1 } END { exit !found }' "$2"; }
anywhere() {
  local file
  for file in "${files[@]}"; do if has "$1" "$file"; then return 0; fi; done
  return 1
}

missing=() present=()
while read -r line; do
  blob=$(blobs "$line")
  if [[ -n $blob ]] && ! anywhere "$blob"; then missing+=("$line"); fi
done <<<"$AUTHORIZED"
while read -r blob; do
  if [[ -n $blob ]] && anywhere "$blob"; then present+=("$blob"); fi
done < <(blobs "$REVOKED")
if ((${#missing[@]} + ${#present[@]} == 0)); then
  echo "unchanged: the keys of $LOGIN_USER are as wanted"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: keys of $LOGIN_USER: ${#missing[@]} to be let in, ${#present[@]} to be taken out"
  exit 1
fi

for blob in "${present[@]}"; do
  if [[ $blob == "${HOST_LOGIN_KEY:-}" ]]; then
    echo "ssh.revokedKeys has the key that this run logs in with; the next run could not come back. Set the secret sshPrivateKey or ssh.privateKeyFile to the new key, then run again" >&2
    exit 2
  fi
done
group=$(id -gn "$LOGIN_USER")
for index in "${!files[@]}"; do
  file=${files[index]}
  [[ $index == 0 || -e $file ]] || continue
  if [[ ! -d ${file%/*} ]]; then install -d -m 0700 -o "$LOGIN_USER" -g "$group" "${file%/*}"; fi
  file=$(readlink -m "$file")
  {
    if [[ -e $file ]]; then
      awk -v revoked="${present[*]}" '
        BEGIN { count = split(revoked, list, " "); for (i = 1; i <= count; i++) gone[list[i]] = 1 }
        /^[[:space:]]*#/ { print; next }
        { for (i = 1; i <= NF; i++) if ($i in gone) next; print }' "$file"
    fi
    if [[ $index == 0 ]]; then printf '%s\n' "${missing[@]}" | grep . || true; fi
  } >"$file.new"
  # Complete before it takes the place of the old one: a log-in at this moment reads one or the other.
  chown "$LOGIN_USER:$group" "$file.new"
  chmod 0600 "$file.new"
  mv -f -- "$file.new" "$file"
done
echo "let in ${#missing[@]}, took out ${#present[@]}"
