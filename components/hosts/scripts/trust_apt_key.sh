#!/usr/bin/env bash
# Fetches the key that signs a package source, once, and keeps it only if it is the expected one.
# Environment: KEY_URL, KEY_PATH; KEY_SHA256 of the file and KEY_FINGERPRINT of its primary key where they are known.
set -euo pipefail

# Says why the key in file $1 is not the expected one; nothing if it is.
objection() {
  local found
  [[ -s $1 ]] || { echo "no key in it"; return; }
  if [[ -n $KEY_SHA256 ]]; then
    found=$(sha256sum -- "$1")
    [[ ${found%% *} == "$KEY_SHA256" ]] || echo "SHA-256 ${found%% *}, wanted $KEY_SHA256"
  fi
  if [[ -n $KEY_FINGERPRINT ]]; then
    # Every primary key must be the expected one: apt trusts all keys of the file.
    found=$(gpg --homedir "$scratch" --show-keys --with-colons -- "$1" 2>/dev/null |
      awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
    [[ $found == "$KEY_FINGERPRINT" ]] || echo "fingerprint ${found:-unreadable}, wanted $KEY_FINGERPRINT"
  fi
}

if [[ $1 == check && ! -s $KEY_PATH ]]; then
  echo "drifted: no $KEY_PATH"
  exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
why=$(objection "$KEY_PATH")
if [[ -z $why ]]; then
  echo "unchanged: $KEY_PATH is the expected key"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $KEY_PATH: $why"
  exit 1
fi

curl -fsSL --connect-timeout 10 --max-time 60 --retry 3 -o "$scratch/key" -- "$KEY_URL" || {
  echo "cannot fetch $KEY_URL; the node must reach it. Check its network and proxy, or name a mirror in \`mirrors\`" >&2
  exit 2
}
why=$(objection "$scratch/key")
if [[ -n $why ]]; then
  echo "$KEY_URL delivers another key: $why; the packages cannot be trusted. Compare the key with its publisher's" >&2
  exit 2
fi
install -D -m 0644 -- "$scratch/key" "$KEY_PATH.new"
mv -- "$KEY_PATH.new" "$KEY_PATH"
echo "trusted $KEY_PATH"
