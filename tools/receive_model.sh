#!/usr/bin/env bash
# A storage node's or worker's side of tools/import-model: files of one revision come into a folder beside, and appear at once.
#
# have           what of the revision is here: `complete SHA256-OF-SHA256SUMS`, or `SIZE NAME` for each file of an unfinished import
# put            the file NAME of BYTES bytes on standard input; `put` continues at what `have` showed if APPEND=yes
# finish         verify every file, then make the revision appear
# Environment: STORE, REVISION (`<model>/<revision>`); for put also NAME, BYTES and APPEND.
set -euo pipefail
umask 022

final=$STORE/$REVISION
incoming=$STORE/.incoming-${REVISION//\//-}

case $1 in
  have)
    if [[ -e $final ]]; then
      [[ -f $final/SHA256SUMS ]] || { echo "$final is there without a SHA256SUMS; it was not imported. Move it away" >&2; exit 2; }
      sums=$(sha256sum -- "$final/SHA256SUMS")
      echo "complete ${sums%% *}"
    elif [[ -d $incoming ]]; then
      find "$incoming" -type f -printf '%s %P\n'
    fi
    ;;
  put)
    target=$incoming/$NAME
    mkdir -p -- "${target%/*}"
    if [[ ${APPEND:-no} == yes ]]; then cat >>"$target"; else cat >"$target"; fi
    size=$(stat -c %s -- "$target")
    [[ $size == "$BYTES" ]] || { echo "$NAME: $size of $BYTES bytes arrived. Run the import again; it goes on there" >&2; exit 1; }
    ;;
  finish)
    cd -- "$incoming"
    if ! bad=$(sha256sum --quiet --check SHA256SUMS 2>/dev/null); then
      while IFS= read -r line; do rm -f -- "${line%: FAILED*}"; done <<<"$bad"
      echo "arrived damaged: ${bad//$'\n'/, }. Run the import again; it sends only these" >&2
      exit 1
    fi
    owner=$(stat -c %u:%g -- "$STORE")
    chown -R -- "$owner" .
    chmod -R a=rX,u+w -- .
    sync -f .
    if [[ $(stat -c %u "$STORE") != 0 ]]; then install -d -o "${owner%:*}" -g "${owner#*:}" -- "${final%/*}"; else mkdir -p -- "${final%/*}"; fi
    mv -T -- "$incoming" "$final"
    ;;
esac
