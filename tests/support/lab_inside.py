"""Questions to services that no stranger may reach, through a port that kubectl forwards on a control plane."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

from tests.support.lab import Lab

# On a control plane, which has no curl. Paths, encoded, one a line; answers are one line of JSON each.
ASK = """
kubectl --kubeconfig /etc/kubernetes/admin.conf -n $1 port-forward $2 $3:$4 >/dev/null 2>&1 &
forwarding=$!
trap 'kill $forwarding' EXIT
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$3) 2>/dev/null && break; sleep 0.2; done
echo $5 | base64 -d | gunzip | while read -r path; do
  exec 3<>/dev/tcp/127.0.0.1/$3
  printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$path" >&3
  tail -n 1 <&3
  echo
  exec 3<&-
done
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """A Service or Deployment; `forwarded` is the port on the control plane, of its own so that two do not meet."""

    namespace: str
    what: str  # kind/name
    port: int
    forwarded: int

    def get(self, lab: Lab, *paths: str) -> list[Any]:
        """What is answered to each, read as JSON. Queries in a path have to be quoted."""
        text = base64.b64encode(gzip.compress("".join(f"{path}\n" for path in paths).encode())).decode()
        script = base64.b64encode(ASK.encode()).decode()
        way = f"{self.namespace} {self.what} {self.forwarded} {self.port}"
        said = lab.shell("master-1", f'bash -c "$(echo {script} | base64 -d)" ask {way} {text}', seconds=300)
        found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert len(found) == len(paths), f"{len(found)} answers to {len(paths)} questions: {said[:2000]}"
        return found
