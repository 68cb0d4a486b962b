#!/usr/bin/env bash
# Brings a node back into service that was taken out for its driver. Its part on the cluster is done by a control plane right
# before `apply`, whose standard input is that script's answer: `yes`.
set -euo pipefail

mark=/var/lib/qwen3-vl/vacated
if [[ ! -e $mark ]]; then
  echo "unchanged: in service"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: out of service since its driver was exchanged"
  exit 1
fi
if [[ $(cat) != yes ]]; then
  echo "no control plane could bring the node back into service; one that is ready is needed. Run again, or \`kubectl uncordon\` it and remove $mark" >&2
  exit 2
fi
rm -f -- "$mark"
echo "back in service"
