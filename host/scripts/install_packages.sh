#!/usr/bin/env bash
# Installs packages at their pinned versions and holds them.
#
# Standard input: NAME<tab>VERSION lines (an empty version: any).
# Environment: update=yes reads the package lists first; lock_wait: seconds to wait for another package manager.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
: "${update:=no}" "${lock_wait:=300}"

# What the package manager prints is the operator's progress.
exec 3>&1

fail() {
  echo "$1" >&2
  exit 1
}

# Who holds a lock of the package manager. fuser may not be installed, /proc is always there. Inode numbers repeat over
# file systems (and containers), so the process must also have the very file open.
holder() {
  local file inode pid fd
  for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
    [[ -e $file ]] || continue
    inode=$(stat -c %i -- "$file")
    while read -r pid; do
      for fd in "/proc/$pid/fd/"*; do
        if [[ $fd -ef $file ]]; then
          echo "$file is held by process $pid ($(cat "/proc/$pid/comm"))"
          return 0
        fi
      done
    done < <(awk -v inode="$inode" '{ split($6, part, ":"); if ($2 != "->" && part[3] == inode) print $5 }' /proc/locks)
  done
  return 1
}

wait_for_locks() {
  local held end=$((SECONDS + lock_wait))
  while held=$(holder); do
    ((SECONDS < end)) || fail "$held, for ${lock_wait} s; only one package manager can run. Wait until it ends, or end it on the node."
    echo "waiting: $held"
    sleep 2
  done
}

# The lock may be taken between our look and apt's start: try again then, within the same limit.
locked() {
  local output status end=$((SECONDS + lock_wait))
  while true; do
    wait_for_locks
    status=0
    output=$("$@" 2>&1 </dev/null | tee >(cat >&3)) || status=$?
    if ((status == 0)); then return 0; fi
    if [[ $output != *"Could not get lock"* && $output != *"is another process using it"* ]] || ((SECONDS >= end)); then
      printf '%s\n' "$output" >&2
      return "$status"
    fi
    sleep 2
  done
}

refresh() {
  locked apt-get update -qq -o APT::Update::Error-Mode=any ||
    fail "apt-get update failed; the package sources must be reachable and signed. Check /etc/apt and the mirror."
}

available() {
  apt-cache madison "$1" 2>/dev/null | awk '{ print $3 }' | sort -uV
}

names=() wanted=() pins=()
while IFS=$'\t' read -r name version; do
  names+=("$name")
  wanted+=("$version")
  if [[ -n $version ]]; then pins+=("$name"); fi
done

if [[ -n $(ls -A /var/lib/dpkg/updates 2>/dev/null) || -n $(dpkg --audit 2>/dev/null) ]]; then
  echo "an earlier installation was interrupted: dpkg --configure -a"
  locked dpkg --force-confold --force-confdef --configure -a || fail "dpkg --configure -a failed; an earlier installation was interrupted. Mend it on the node."
fi

if [[ $update == yes ]]; then
  refresh
else
  for i in "${!names[@]}"; do
    found=$(available "${names[i]}")
    if [[ -z $found ]] || { [[ -n ${wanted[i]} ]] && ! grep -Fqx -- "${wanted[i]}" <<<"$found"; }; then
      refresh
      break
    fi
  done
fi

install=()
for i in "${!names[@]}"; do
  name=${names[i]} version=${wanted[i]}
  status=$(dpkg-query -W -f '${Status}\t${Version}' -- "$name" 2>/dev/null) || status=
  if [[ $status == *" ok installed"$'\t'* ]] && [[ -z $version || ${status#*$'\t'} == "$version" ]]; then continue; fi
  found=$(available "$name")
  if [[ -n $version ]]; then
    list=${found//$'\n'/, }
    grep -Fqx -- "$version" <<<"$found" ||
      fail "package $name has no version $version; the package sources offer ${list:-nothing of that name}. Change the version or the sources."
    install+=("$name=$version")
  else
    [[ -n $found || $name != linux-headers-* ]] ||
      fail "no package $name; the package sources do not offer headers of the running kernel, which kernel modules are built with. Restart the node into its newest kernel, or add a source that has them."
    install+=("$name")
  fi
done

if ((${#install[@]})); then
  echo "installing ${install[*]}"
  locked apt-get install -y -qq --no-install-recommends --allow-downgrades --allow-change-held-packages \
    -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef -o Dpkg::Use-Pty=0 -- "${install[@]}" ||
    fail "apt-get install ${install[*]} failed"
fi
if ((${#pins[@]})); then locked apt-mark hold -- "${pins[@]}" >/dev/null; fi
