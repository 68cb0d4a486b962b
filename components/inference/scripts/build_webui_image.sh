#!/usr/bin/env bash
# Builds images/webui and pushes it; runs on the machine of whoever runs `up`. Its last line, and all it says on standard output,
# is the reference with the digest that the registry gave it. The registry is shown what `docker login` or `buildah login` stored.
#   TOOL          docker | buildah
#   REFERENCE     registry/repository:tag to push to
#   PYTHON_IMAGE  base image; empty: the Dockerfile's
#   PIP_INDEX_URL package index; empty: pypi.org
#   PLAIN_HTTP    true: push without TLS (buildah)
set -euo pipefail
cd "$(dirname "$0")/../../../images/webui"
arguments=()
[ -z "${PYTHON_IMAGE:-}" ] || arguments+=(--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE")
[ -z "${PIP_INDEX_URL:-}" ] || arguments+=(--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL")
if ! command -v "$TOOL" >/dev/null; then
  echo "images.build.tool: no program \`$TOOL\` on this machine; the image is built here. Install it or choose the other tool" >&2
  exit 1
fi
case $TOOL in
docker)
  docker build --tag "$REFERENCE" "${arguments[@]}" . >&2
  docker push "$REFERENCE" >&2
  repository=${REFERENCE%:*}
  digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$REFERENCE" | sed -n "s|^$repository@||p" | head -n 1)
  ;;
buildah)
  written=$(mktemp)
  trap 'rm -f "$written"' EXIT
  tls=true
  [ "${PLAIN_HTTP:-false}" = false ] || tls=false
  buildah bud --layers --tls-verify="$tls" --tag "$REFERENCE" "${arguments[@]}" . >&2
  buildah push --tls-verify="$tls" --digestfile "$written" "$REFERENCE" "docker://$REFERENCE" >&2
  digest=$(cat "$written")
  ;;
*)
  echo "TOOL: $TOOL; docker or buildah builds the image" >&2
  exit 2
  ;;
esac
case $digest in
sha256:*)
  # What is in it, for who asks: sbom/webui.cdx.json. A deployment does not wait for it.
  (cd ../.. && python3 -m tools.sbom --reference "$REFERENCE@$digest" webui) >&2 || echo "no bill of materials was written" >&2
  echo "$REFERENCE@$digest"
  ;;
*)
  echo "$REFERENCE: pushed, but the registry gave no digest. Set images.overrides.webui to the reference and remove images.build" >&2
  exit 1
  ;;
esac
