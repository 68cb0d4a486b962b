#!/usr/bin/env bash
# Ends the export; the models stay where they are. Another site's exports of the kernel's server go on.
# Environment: EXPORT.
set -euo pipefail

kernel=/etc/exports.d/qwen3-vl.exports
if [[ -e $kernel ]]; then
  rm -f -- "$kernel"
  if command -v exportfs >/dev/null; then exportfs -ra; fi
fi
if [[ -e /etc/systemd/system/nfs-ganesha.service.d/qwen3-vl.conf ]]; then
  systemctl disable --now --quiet nfs-ganesha.service
  rm -f -- /etc/systemd/system/nfs-ganesha.service.d/qwen3-vl.conf
fi
echo "$EXPORT is no longer exported; its files are untouched"
