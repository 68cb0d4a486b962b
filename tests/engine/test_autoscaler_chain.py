"""The whole chain of the autoscaler with its real programs on loopback; only nodes, pods and their load are made up.

etcd, kube-apiserver, the HPA's own controller, Prometheus, prometheus-adapter and metrics-server, with this project's objects:
roles, configuration, certificates, command lines; the inference layer is put there by the engine and the Kubernetes provider.
What the nodes would add is in tests/support/replicas.py.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.known import SECRETS
from components.settings.parse import parse
from host import certificates
from tests.support.control_plane import LOOPBACK, ControlPlane, Program, built, free_port
from tests.support.engine import Program as Stack
from tests.support.engine import program_path
from tests.support.lab import ROOT
from tests.support.manifests import Manifest, graph, manifests
from tests.support.replicas import Replicas

NAMESPACE = "observability"
SCALING = {"requestsInFlight": 4, "windowSeconds": 10, "scaleInSeconds": 10}
# The averages' window, the one of scaling in, two looks of the autoscaler and what lies between them, on a busy machine.
HELD_SECONDS = 10 + 10 + 15
APPLIED = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
PROGRAM = """
import pulumi
import pulumi_kubernetes
from components.credentials import Credentials
from components.field_manager import use_one_field_manager
from components.inference.layer import inference
from components.settings.parse import parse


def nobody_looks_after_endpoints_here(args):
    if args.type_ == "kubernetes:core/v1:Service":
        args.props["metadata"].annotations = {"pulumi.com/skipAwait": "true"}
        return pulumi.ResourceTransformationResult(args.props, args.opts)


pulumi.runtime.register_stack_transformation(nobody_looks_after_endpoints_here)
use_one_field_manager()
inference(
    parse(config["settings"]),
    Credentials(redis_password=pulumi.Output.secret("not used here")),
    provider=pulumi_kubernetes.Provider("cluster", kubeconfig=config["kubeconfig"]),
    redis_host="redis",
    redis_password_secret="redis-password",
    workers=(),
    after=(),
)
"""

pytestmark = pytest.mark.engine


def config() -> dict[str, Any]:
    """The lab's stack with three GPU workers, everything read once a second."""
    stack = yaml.safe_load((ROOT / "Pulumi.lab.yaml").read_text())["config"]
    plain = {key.removeprefix("qwen3-vl:"): value for key, value in stack.items()}
    plain = {key: value for key, value in plain.items() if key not in SECRETS}
    plain["nodes"] += [{"name": "gpu-3", "address": "10.77.0.23", "role": "worker", "gpus": 1}]
    plain["autoscaling"] = SCALING
    plain["observability"] = {"prometheus": {"scrapeSeconds": 1}}
    return plain


class Chain:
    """The control plane with the metric chain on it; `prometheus` can be killed and started."""

    def __init__(self, cluster: ControlPlane, settings: dict[str, Any]) -> None:
        self.cluster = cluster
        self._found = manifests(graph(parse(settings)))
        self.prometheus: Program
        self.stack = Stack(
            cluster.folder / "stack",
            PROGRAM,
            {"settings": settings, "kubeconfig": cluster.embedded(cluster.admin)},
            {"PATH": f"{built('pulumi-resource-kubernetes')}:{program_path()}"},
        )

    def _one(self, kind: str, name: str) -> Manifest:
        (found,) = [each for each in self._found if (each.kind, each.name) == (kind, name)]
        return found

    def start(self) -> None:
        namespaces = [each.body for each in self._found if each.kind == "Namespace"]
        self.cluster.apply(namespaces)
        self.cluster.apply([each.body for each in self._found if each.kind in APPLIED])
        port = self._start_prometheus()
        self._extension("prometheus-adapter", built("prometheus-adapter") / "adapter", port)
        self._extension("metrics-server", built("metrics-server") / "metrics-server", port)

    def _start_prometheus(self) -> int:
        """With the ConfigMap's own files; the rights are those of its service account."""
        folder, port = self.cluster.folder, free_port()
        data = next(each.body["data"] for each in self._found if each.name.startswith("prometheus-config"))
        rules = folder / "autoscaling.yml"
        rules.write_text(data["autoscaling.yml"])
        config = yaml.safe_load(data["prometheus.yml"])
        config["rule_files"] = [str(rules)]
        account = self.cluster.account("prometheus", NAMESPACE)
        for job in config["scrape_configs"]:
            for discovery in job.get("kubernetes_sd_configs", ()):
                discovery["kubeconfig_file"] = str(account)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.prometheus = self.cluster.run(
            "prometheus",
            [
                built("prometheus") / "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'samples'}",
                f"--web.listen-address={LOOPBACK}:{port}",
            ],
        )
        return port

    def _extension(self, name: str, program: Path, prometheus: int) -> None:
        """A server of an aggregated API with its own command line, account and a certificate as the stack makes it."""
        folder, port = self.cluster.folder, free_port()
        made = certificates.make([f"{name}.{NAMESPACE}.svc"])
        (folder / f"{name}-tls.crt").write_text(made.certificate)
        (folder / f"{name}-tls.key").write_text(made.private_key)
        account = self.cluster.account(name, NAMESPACE)
        here = {
            "--secure-port": str(port),
            "--tls-cert-file": str(folder / f"{name}-tls.crt"),
            "--tls-private-key-file": str(folder / f"{name}-tls.key"),
            "--prometheus-url": f"http://{LOOPBACK}:{prometheus}",
        }
        configs = [each.body["data"] for each in self._found if each.name.startswith(f"{name}-config")]
        if configs:
            (folder / f"{name}.yaml").write_text(configs[0]["config.yaml"])
            here["--config"] = str(folder / f"{name}.yaml")
        (container,) = self._one("Deployment", name).containers()
        flags = [argument.partition("=") for argument in container["args"]]
        command: list[str | Path] = [program]
        command += [f"{flag}{equals}{here.get(flag, value)}" for flag, equals, value in flags]
        lister = "kubeconfig" if name == "metrics-server" else "lister-kubeconfig"
        command += [f"--{purpose}={account}" for purpose in (lister, "authentication-kubeconfig")]
        self.cluster.run(name, [*command, f"--authorization-kubeconfig={account}", f"--bind-address={LOOPBACK}"])
        # The Service's pods are a process here; its name, which the certificate has to carry, stays.
        service = self._one("Service", name).body
        service = {**service, "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}}
        apis = []
        for each in self._found:
            if each.kind == "APIService" and each.spec["service"]["name"] == name:
                bundle = base64.b64encode(made.certificate.encode()).decode()
                spec = {**each.spec, "caBundle": bundle, "service": {**each.spec["service"], "port": port}}
                apis.append({**each.body, "spec": spec})
        self.cluster.apply([service, *apis])

    @property
    def hpa(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("hpa", "qwen3-vl-hpa", "-n", "default")
        return found

    @property
    def known(self) -> set[str]:
        """Types of the metrics that the autoscaler has a value of."""
        return {each["type"] for each in self.hpa["status"].get("currentMetrics") or () if each["type"]}

    @property
    def flying(self) -> float:
        """Requests in flight per replica, as the autoscaler sees them."""
        for each in self.hpa["status"].get("currentMetrics") or ():
            if each["type"] == "Pods":
                text = str(each["pods"]["current"]["averageValue"])
                return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
        return 0.0

    @property
    def size(self) -> int:
        return int(self.cluster.get("deployment", "qwen3-vl-webui", "-n", "default")["spec"]["replicas"])

    def why(self) -> str:
        described = self.cluster.kubectl("describe", "hpa", "qwen3-vl-hpa", "-n", "default")
        logs = [
            f"{path.name}:\n{path.read_text(errors='replace')[-1200:]}" for path in self.cluster.folder.glob("*.log")
        ]
        return "\n".join([described, *logs])

    def wait_for(self, what: str, true: Callable[[], bool], seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}\n{self.why()}"
            time.sleep(0.5)

    def stays(self, size: int, seconds: float = HELD_SECONDS) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.size == size, self.why()
            time.sleep(0.5)

    def scales_nothing(self) -> bool:
        conditions = {each["type"]: each["status"] for each in self.hpa["status"].get("conditions", ())}
        return conditions.get("ScalingActive") == "False"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chain, Replicas]]:
    controllers = ("deployment-controller", "replicaset-controller", "horizontal-pod-autoscaler-controller")
    with ControlPlane(tmp_path_factory.mktemp("chain"), controllers) as cluster:
        made = Chain(cluster, config())
        made.start()
        with Replicas(cluster) as replicas:
            made.stack.up()
            replicas.in_flight, replicas.gpu_percent = 2, 40
            made.wait_for("a value of every metric", lambda: made.known == {"Resource", "External", "Pods"})
            yield made, replicas


@pytest.fixture
def settled(chain: tuple[Chain, Replicas]) -> tuple[Chain, Replicas]:
    """Two replicas with half of what they can do."""
    made, replicas = chain
    replicas.in_flight, replicas.gpu_percent = 2, 40
    replicas.silent.clear()
    made.wait_for("two replicas", lambda: made.size == 2 and made.known == {"Resource", "External", "Pods"})
    return made, replicas


def test_every_api_is_available_and_its_server_was_verified(settled: tuple[Chain, Replicas]) -> None:
    made, _ = settled
    apis = [each for each in made.cluster.get("apiservices")["items"] if each["spec"].get("service")]
    assert len(apis) == 3
    for each in apis:
        assert {c["type"]: c["status"] for c in each["status"]["conditions"]} == {"Available": "True"}
        assert not each["spec"].get("insecureSkipTLSVerify")
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/gpu_utilization"
    (value,) = yaml.safe_load(made.cluster.kubectl("get", "--raw", path))["items"]
    assert value["value"] == "80", "two replicas of 40 %: the sum, which the autoscaler divides by two"


@pytest.mark.parametrize(("in_flight", "gpu"), [(6.0, 40.0), (2.0, 100.0)], ids=["requests in flight", "GPU"])
def test_either_signal_scales_out_and_its_end_scales_in(
    settled: tuple[Chain, Replicas], in_flight: float, gpu: float
) -> None:
    made, replicas = settled
    replicas.in_flight, replicas.gpu_percent = in_flight, gpu
    made.wait_for("three replicas", lambda: made.size == 3)
    replicas.in_flight, replicas.gpu_percent = 1, 20
    made.wait_for("two replicas", lambda: made.size == 2)


def test_a_silent_exporter_holds_and_so_does_a_dead_prometheus(settled: tuple[Chain, Replicas]) -> None:
    made, replicas = settled
    replicas.in_flight = 6
    made.wait_for("three replicas", lambda: made.size == 3)
    made.wait_for("a value of every metric", lambda: made.known == {"Resource", "External", "Pods"})

    replicas.silent = {"gpu-2"}
    made.wait_for("no GPU metric", lambda: "External" not in made.known)
    replicas.in_flight, replicas.gpu_percent = 1, 20
    made.stays(3)
    replicas.in_flight, replicas.gpu_percent = 6, 100
    made.wait_for("the load to show before the GPUs are known again", lambda: made.flying > 5)
    replicas.silent = set()
    made.wait_for("a value of every metric", lambda: made.known == {"Resource", "External", "Pods"})
    assert made.size == 3

    made.prometheus.stop(kill=True)
    made.wait_for("no metrics of Prometheus", lambda: made.known <= {"Resource"})
    replicas.in_flight, replicas.gpu_percent = 1, 20
    made.stays(3)
    assert made.scales_nothing()
    made.prometheus.start()
    made.wait_for("two replicas once the load is known again", lambda: made.size == 2)


def test_up_and_the_autoscaler_do_not_fight_over_replicas(settled: tuple[Chain, Replicas]) -> None:
    made, replicas = settled
    replicas.in_flight = 6
    made.wait_for("three replicas", lambda: made.size == 3)
    found = made.cluster.get("deployment", "qwen3-vl-webui", "-n", "default", "--show-managed-fields")
    owners = [
        each["manager"]
        for each in found["metadata"]["managedFields"]
        if "f:replicas" in each["fieldsV1"].get("f:spec", {})
    ]
    assert owners == ["kube-controller-manager"]
    made.stack.preview("--expect-no-changes")
    # A change of the Deployment itself is applied, and the number is left alone; with all GPUs taken, one by one.
    made.stack.config["settings"]["inference"]["extraArgs"] = ["--enable-prefix-caching"]
    made.stack.up()
    assert "--enable-prefix-caching" in str(made.cluster.get("deployment", "qwen3-vl-webui", "-n", "default")["spec"])
    assert made.size == 3, made.why()
    made.stack.preview("--expect-no-changes")
