#!/usr/bin/env bash
# Prints the cluster's administrator credentials; exits 3 where there are none (not a control plane yet).
set -euo pipefail

if [[ ! -s /etc/kubernetes/admin.conf ]]; then
  echo "no /etc/kubernetes/admin.conf" >&2
  exit 3
fi
cat /etc/kubernetes/admin.conf
