"""`python -m image_scan publish` keeps Trivy's reports in a ConfigMap; `... serve` shows them to Prometheus."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from cluster_api import CREDENTIALS, ApiError, ClusterApi, in_cluster
from prometheus_client import CollectorRegistry, start_http_server

from image_scan.findings import image_list
from image_scan.metrics import Results
from image_scan.results import publish, reports


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="image-scan", description=__doc__, allow_abbrev=False)
    top.add_argument("--images", type=Path, required=True, help="file with a name and a reference in each line")
    verbs = top.add_subparsers(dest="verb", required=True)
    keep = verbs.add_parser("publish")
    keep.add_argument("--reports", type=Path, required=True, help="folder with NAME.json of Trivy")
    keep.add_argument("--config-map", required=True, metavar="NAMESPACE/NAME")
    keep.add_argument("--api", default=in_cluster(), help="https://HOST:PORT")
    keep.add_argument("--credentials", type=Path, default=CREDENTIALS, help="folder with `token` and `ca.crt`")
    show = verbs.add_parser("serve")
    show.add_argument("--results", type=Path, required=True, help="folder with the ConfigMap's keys")
    show.add_argument("--port", type=int, required=True)
    return top


def keep_reports(said: argparse.Namespace) -> int:
    """1 if nothing could be kept; an image without a report is said, and told of by the alert on its last result's age."""
    images = image_list(said.images.read_text())
    found, missing = reports(said.reports, images)
    for name, each in found.items():
        fixable, unfixed = each["counts"]["CRITICAL"]
        print(f"{name}: {fixable} critical vulnerabilities with a fixed version, {unfixed} without", flush=True)
    for name, why in missing.items():
        print(f"{name}: {why}", file=sys.stderr, flush=True)
    namespace, _, config_map = said.config_map.partition("/")
    try:
        path = f"namespaces/{namespace}/configmaps/{config_map}"
        publish(ClusterApi(said.api, said.credentials), path, found, images)
    except ApiError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


def show_results(said: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    registry = CollectorRegistry()
    registry.register(Results(said.results, said.images, time.time()))
    server, thread = start_http_server(said.port, registry=registry)
    print(f"showing {said.results} at port {said.port}", flush=True)
    stop.wait()
    server.shutdown()
    thread.join()
    return 0


def main() -> int:
    said = parser().parse_args()
    return keep_reports(said) if said.verb == "publish" else show_results(said)


if __name__ == "__main__":
    sys.exit(main())
