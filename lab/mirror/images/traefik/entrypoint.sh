#!/bin/sh
# As upstream's: flags alone are flags of traefik.
set -e
if [ "${1#-}" != "$1" ]; then
  set -- traefik "$@"
fi
exec "$@"
