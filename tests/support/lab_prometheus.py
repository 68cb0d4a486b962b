"""Questions to the lab's Prometheus, through a port that kubectl forwards on a control plane: no policy lets a stranger in."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.parse
from typing import Any

from tests.support.lab import Lab

PORT = 19090
# On a control plane, which has no curl. Queries, encoded, one a line; answers are one line of JSON each.
ASK = """
kubectl --kubeconfig /etc/kubernetes/admin.conf -n observability port-forward service/prometheus $1:9090 >/dev/null 2>&1 &
forwarding=$!
trap 'kill $forwarding' EXIT
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null && break; sleep 0.2; done
echo $2 | base64 -d | gunzip | while read -r query; do
  exec 3<>/dev/tcp/127.0.0.1/$1
  printf 'GET /api/v1/query?query=%s HTTP/1.0\\r\\n\\r\\n' "$query" >&3
  tail -n 1 <&3
  echo
  exec 3<&-
done
"""


def query(lab: Lab, *exprs: str) -> list[list[dict[str, Any]]]:
    """The series that each has now, as Prometheus' API shows them: `metric` and `value`."""
    queries = "".join(f"{urllib.parse.quote(expr, safe='')}\n" for expr in exprs)
    text = base64.b64encode(gzip.compress(queries.encode())).decode()
    script = base64.b64encode(ASK.encode()).decode()
    said = lab.shell("master-1", f'bash -c "$(echo {script} | base64 -d)" ask {PORT} {text}', seconds=300)
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert all(each["status"] == "success" for each in found), said
    assert len(found) == len(exprs), f"{len(found)} answers to {len(exprs)} questions"
    return [each["data"]["result"] for each in found]


def numbers(lab: Lab, expr: str, label: str) -> dict[str, float]:
    """What an expression with one series for each value of `label` says of each."""
    (found,) = query(lab, expr)
    return {each["metric"][label]: float(each["value"][1]) for each in found}
