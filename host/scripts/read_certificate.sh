#!/usr/bin/env bash
# Runs on a control plane: prints what the issuer of the gateways' certificate noted on its Secret, one NOTE<tab>VALUE a line:
# state, request, failures, message. No content of the Secret is read out.
# Environment: namespace, secret; retry: `yes` makes an issuer that pauses after a failure try at once.
# Exit 3: not a control plane; exit 4: it cannot now. Both: ask another one.
set -euo pipefail
: "${namespace:?}" "${secret:?}" "${retry:?}"

admin=/etc/kubernetes/admin.conf
[[ -s $admin ]] || { echo "not a control plane" >&2; exit 3; }
cluster() { kubectl --kubeconfig "$admin" --request-timeout 10s -n "$namespace" "$@" || exit 4; }

[[ $retry == no ]] || cluster annotate secret "$secret" qwen3-vl/acme-next-attempt- >/dev/null
for note in state request failures message; do
  value=$(cluster get secret "$secret" -o "jsonpath={.metadata.annotations.qwen3-vl/acme-$note}")
  printf '%s\t%s\n' "$note" "${value//[$'\t\n']/ }"
done
