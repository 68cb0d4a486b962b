#!/usr/bin/env bash
# Prints what is on the node: one round trip for everything a configuration looks at. Changes nothing.
#
# Standard input, one record a line, fields separated by tabs:
#   file PATH | package NAME | unit NAME | sysctl KEY
#   check NAME DEADLINE SIZE, followed by SIZE bytes: what host_boot of the environment reads (script and its input)
# Standard output:
#   file PATH link|other (missing: no line)   mode PATH OCTAL OWNER:GROUP   SHA256  PATH
#   package NAME STATUS VERSION   unit NAME, then its properties   restart UNIT   sysctl KEY VALUE
#   check NAME EXIT SIZE, followed by SIZE bytes of output   end
set -euo pipefail
: "${host_boot:?}"

# What a booting node is about to start would count as stopped by hand.
case $(systemctl is-system-running 2>/dev/null || true) in
  initializing | starting) timeout 30 systemctl is-system-running --wait >/dev/null 2>&1 || true ;;
esac

files=() packages=() units=() sysctls=()
while IFS=$'\t' read -r kind name deadline size; do
  case $kind in
    file) files+=("$name") ;;
    package) packages+=("$name") ;;
    unit) units+=("$name") ;;
    sysctl) sysctls+=("$name") ;;
    check)
      blob=$(head -c "$size" && printf x)
      # Output goes through a variable, not a file: a check must also work on a full disk.
      status=0
      output=$(printf '%s' "${blob%x}" | timeout -k 5 "$deadline" bash -c "$host_boot" "$name" check 2>&1; exit "${PIPESTATUS[1]}") || status=$?
      if ((${#output} > 4000)); then output=${output: -4000}; fi
      printf 'check\t%s\t%s\t%s\n%s\n' "$name" "$status" "${#output}" "$output"
      ;;
    *) echo "unknown record '$kind'" >&2; exit 2 ;;
  esac
done

present=()
for path in "${files[@]}"; do
  if [[ -L $path ]]; then
    printf 'file\t%s\tlink\n' "$path"
  elif [[ -f $path ]]; then
    present+=("$path")
  elif [[ -e $path ]]; then
    printf 'file\t%s\tother\n' "$path"
  fi
done
# A file may vanish between the test and the read: it then has no line and counts as missing.
if ((${#present[@]})); then
  stat --printf 'mode\t%n\t%a\t%U:%G\n' -- "${present[@]}" 2>/dev/null || true
  sha256sum -- "${present[@]}" 2>/dev/null || true
fi

if ((${#packages[@]})); then
  dpkg-query -W -f 'package\t${Package}\t${Status}\t${Version}\n' -- "${packages[@]}" 2>/dev/null || true
fi

if ((${#units[@]})); then
  for unit in "${units[@]}"; do
    if [[ -e /run/host-provider/restart/$unit ]]; then printf 'restart\t%s\n' "$unit"; fi
  done
  # Blocks come in the order of the names, separated by empty lines.
  systemctl show --no-pager --property=LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload -- "${units[@]}" |
    while IFS= read -r line; do printf 'unit\t%s\n' "$line"; done
fi

for key in "${sysctls[@]}"; do
  # As sysctl(8): the first separator decides what the dots and slashes mean (interface names hold dots).
  if [[ $key =~ ^[^./]*/ ]]; then path=/proc/sys/$key; else path=/proc/sys/${key//./\/}; fi
  value=
  if [[ -r $path ]]; then IFS= read -r value <"$path" || true; printf 'sysctl\t%s\t%s\n' "$key" "$value"; fi
done

# Without this line the answer is not whole, and what is missing from it proves nothing.
printf 'end\n'
