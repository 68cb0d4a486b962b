"""Each value that a YAML file can get wrong by itself: one key of a valid config broken, one exact line expected."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings import Settings
from components.settings.parse import parse
from components.settings.problem import SettingsError
from tests.support.settings import REMOVED, VALID, with_value

TOP_LEVEL = ", ".join(sorted(str(field.alias) for field in Settings.model_fields.values()))

GPU = ("nodes", 3)
KEYS_OF_KUBERNETES = (
    "the keys of `kubernetes` are apiAddress, apiPort, backup, cgroupDriver, containerd, dnsDomain, encryptionKeyGeneration, "
    "ignorePreflight, kubeProxy, kubelet, networkPolicies, packageRevision, podSubnet, serviceSubnet, version"
)
RANGE = (
    "a range is `10.0.0.200-10.0.0.220`, lower address first, or a network like `10.0.0.192/26`. Write one of the two."
)
QUANTITY = "a Kubernetes quantity is a number with a unit, e.g. `4000m`, `4`, `16Gi`. Write one like these."
COPY = "Copy the line of /etc/ssh/ssh_host_ed25519_key.pub from the node."
CREDENTIAL = (
    "a key that looks like a credential; plain settings hold no secrets. Remove it and run `pulumi config set --secret "
)
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nY2FuYXJ5\n-----END OPENSSH PRIVATE KEY-----"

CASES: list[tuple[tuple[str | int, ...], Any, str]] = [
    (
        ("upgrades", "origins"),
        ['origin=Example";'],
        'upgrades.origins[0]: `origin=Example";`; a pattern is `key=value` between commas, as `apt-cache policy` shows them in '
        "its release lines. Write one like `origin=Example,suite=stable-security`.",
    ),
    (
        ("firewall", "extraPorts"),
        [{"port": 70000}],
        "firewall.extraPorts[0].port: the number 70000; it must be at most 65535. Change the number.",
    ),
    (
        (*GPU, "address"),
        "192.168.1",
        "nodes[gpu-1].address: `192.168.1`; an IPv4 address is four numbers from 0 to 255. Write one like `10.0.0.11`.",
    ),
    (
        (*GPU, "address"),
        REMOVED,
        "nodes[gpu-1].address: missing; it is required: address the other nodes and the operator reach it at. Add it.",
    ),
    (
        (*GPU, "hostkeys"),
        [],
        "nodes[gpu-1].hostkeys: unknown key; the keys of `nodes` are address, gpus, hostKeys, labels, name, port, role, taints, "
        "user. Did you mean `hostKeys`?",
    ),
    (
        (*GPU, "role"),
        "workers",
        "nodes[gpu-1].role: `workers`; the choices are `control-plane`, `worker` and `storage`. Did you mean `worker`?",
    ),
    (
        (*GPU, "role"),
        "gpu",
        "nodes[gpu-1].role: `gpu`; the choices are `control-plane`, `worker` and `storage`. Write one of them.",
    ),
    (
        (*GPU, "name"),
        "GPU_1",
        "nodes[GPU_1].name: `GPU_1`; a node name is 1 to 63 lower-case letters, digits and inner hyphens. Write `gpu-1`.",
    ),
    ((*GPU, "name"), 7, "nodes[3].name: the number 7; text is wanted. Put it in quotes."),
    ((*GPU, "gpus"), -1, "nodes[gpu-1].gpus: the number -1; it must be at least 0. Change the number."),
    ((*GPU, "gpus"), "two", "nodes[gpu-1].gpus: `two`; a whole number is wanted. Write one without quotes."),
    ((*GPU, "gpus"), 1.5, "nodes[gpu-1].gpus: the number 1.5; a whole number is wanted. Round it."),
    ((*GPU, "port"), 70000, "nodes[gpu-1].port: the number 70000; it must be at most 65535. Change the number."),
    (
        (*GPU, "user"),
        "Bad User",
        "nodes[gpu-1].user: `Bad User`; not a Linux user name. Write the name the node's user logs in with.",
    ),
    (
        (*GPU, "hostKeys"),
        ["AAAA"],
        f"nodes[gpu-1].hostKeys[0]: `AAAA`; a public host key starts with its type, e.g. `ssh-ed25519 AAAA...`. {COPY}",
    ),
    (
        (*GPU, "hostKeys"),
        [PRIVATE_KEY],
        "nodes[gpu-1].hostKeys[0]: not a public host key; a public host key starts with its type, e.g. `ssh-ed25519 AAAA...`. "
        + COPY,
    ),
    (
        (*GPU, "hostKeys"),
        ["ssh-ed25519 AAAAB3NzaC1yc2E="],
        f"nodes[gpu-1].hostKeys[0]: `ssh-ed25519 AAAAB3NzaC1yc2E=`; what follows `ssh-ed25519` is not such a key. {COPY}",
    ),
    ((*GPU, "labels"), {"gpu": True}, "nodes[gpu-1].labels.gpu: true; text is wanted. Put it in quotes."),
    (
        (*GPU, "labels"),
        ["gpu"],
        "nodes[gpu-1].labels: a list; a mapping of keys and values is wanted. Indent the keys below it.",
    ),
    (
        (*GPU, "labels"),
        {"a b": "x"},
        'nodes[gpu-1].labels["a b"]: `a b`; a key is `name` or `prefix.example.com/name`, the name up to 63 letters, digits, '
        "`-`, `_` and `.`. Change the key.",
    ),
    (
        (*GPU, "labels"),
        {"model": "4090 D"},
        "nodes[gpu-1].labels.model: `4090 D`; a label value is up to 63 letters, digits, `-`, `_` and `.`, first and last a "
        "letter or digit. Shorten or change it.",
    ),
    (
        (*GPU, "taints"),
        [{"key": "gpu", "effect": "noschedule"}],
        "nodes[gpu-1].taints[0].effect: `noschedule`; the choices are `NoSchedule`, `PreferNoSchedule` and `NoExecute`. "
        "Did you mean `NoSchedule`?",
    ),
    (("nodes",), "gpu-1", "nodes: `gpu-1`; a list is wanted. Write each item on a line of its own behind `- `."),
    (("nodes",), REMOVED, "nodes: missing; it is required: all machines. Add it."),
    (("redis",), None, "redis: an empty value; a mapping of keys and values is wanted. Indent the keys below it."),
    (
        ("loadBalancer",),
        REMOVED,
        "loadBalancer: missing; it is required: addresses for services of type LoadBalancer. Add it.",
    ),
    (
        ("loadBalancer", "addresses"),
        [],
        "loadBalancer.addresses: an empty list; it needs at least 1 entry. Add one.",
    ),
    (
        ("loadBalancer", "addresses"),
        ["192.168.1.220-192.168.1.200"],
        f"loadBalancer.addresses[0]: `192.168.1.220-192.168.1.200`; {RANGE}",
    ),
    (("loadBalancer", "addresses"), ["192.168.1.200-220"], f"loadBalancer.addresses[0]: `192.168.1.200-220`; {RANGE}"),
    (
        ("kubernetes", "podsubnet"),
        "10.0.0.0/8",
        f"kubernetes.podsubnet: unknown key; {KEYS_OF_KUBERNETES}. Did you mean `podSubnet`?",
    ),
    (
        ("kubernetes", "api_address"),
        "10.0.0.1",
        f"kubernetes.api_address: unknown key; {KEYS_OF_KUBERNETES}. Did you mean `apiAddress`?",
    ),
    (("kubernetes", "zebra"), 1, f"kubernetes.zebra: unknown key; {KEYS_OF_KUBERNETES}. Remove it."),
    (
        ("podSubnet",),
        "10.0.0.0/8",
        f"podSubnet: unknown key; the keys of the top level are {TOP_LEVEL}. Did you mean `kubernetes.podSubnet`?",
    ),
    (
        ("kubernetes", "podSubnet"),
        "10.244.1.0/16",
        "kubernetes.podSubnet: `10.244.1.0/16`; the address is not the network's first one. Write `10.244.0.0/16`.",
    ),
    (
        ("kubernetes", "podSubnet"),
        "pods",
        "kubernetes.podSubnet: `pods`; a network is an IPv4 address and a prefix. Write one like `10.244.0.0/16`.",
    ),
    (
        ("kubernetes", "version"),
        1.34,
        "kubernetes.version: `1.34`; an exact Kubernetes version is three numbers like `1.34.2`. Write all three numbers.",
    ),
    (
        ("kubernetes", "version"),
        "v1.34.2",
        "kubernetes.version: `v1.34.2`; an exact Kubernetes version is three numbers like `1.34.2`. Write `1.34.2`.",
    ),
    (
        ("kubernetes", "packageRevision"),
        1.1,
        "kubernetes.packageRevision: the number 1.1; text is wanted. Put it in quotes.",
    ),
    (
        ("kubernetes", "cgroupDriver"),
        "cgroup",
        "kubernetes.cgroupDriver: `cgroup`; the choices are `systemd` and `cgroupfs`. Did you mean `cgroupfs`?",
    ),
    (
        ("kubernetes", "containerd"),
        {"restrictOomScoreAdj": "maybe"},
        "kubernetes.containerd.restrictOomScoreAdj: `maybe`; `true` or `false` is wanted. Write one of the two.",
    ),
    (
        ("mirrors", "images"),
        "10.0.0.5:5000",
        "mirrors.images: `10.0.0.5:5000`; an address is `http://` or `https://`, a host and a path. Write one like "
        "`http://10.0.0.5:8081/debian`.",
    ),
    (
        ("mirrors", "images"),
        "http://10.0.0.5:5000/v2",
        "mirrors.images: `http://10.0.0.5:5000/v2`; containerd asks the registry by the upstream's own paths. "
        "Write `http://10.0.0.5:5000`.",
    ),
    (
        ("mirrors", "images"),
        "http://bob:canary@10.0.0.5:5000",
        "mirrors.images: an address with a user or password in it; plain settings are kept in clear and hold no credentials. "
        "Use a mirror that needs none from the nodes.",
    ),
    (
        ("mirrors", "os"),
        {"url": "https://m/debian", "keyUrl": "https://m/key", "keySha256": "abc"},
        "mirrors.os.keySha256: `abc`; a SHA-256 is 64 lower-case hexadecimal digits. Take it from `sha256sum FILE`.",
    ),
    (
        ("images", "overrides", "webui"),
        "webui:v1",
        "images.overrides.webui: `webui:v1`; a full image reference names registry, repository, tag and, better, digest. "
        "Write one like `registry.example.com/team/app:v1@sha256:...`.",
    ),
    (
        ("images", "overrides", "webui"),
        "registry.example.com:5000/webui",
        "images.overrides.webui: `registry.example.com:5000/webui`; an image without tag or digest changes by itself. "
        "Add the tag or the digest.",
    ),
    (("inference", "memory"), "16GB", f"inference.memory: `16GB`; {QUANTITY}"),
    (
        ("inference", "gpuMemoryUtilization"),
        1.5,
        "inference.gpuMemoryUtilization: the number 1.5; it must be at most 1. Change the number.",
    ),
    (
        ("inference", "engine"),
        "vLLM",
        "inference.engine: `vLLM`; the choices are `vllm` and `tensorrt-llm`. Did you mean `vllm`?",
    ),
    (
        ("modelStore", "path"),
        "/srv/../etc",
        "modelStore.path: `/srv/../etc`; a folder is an absolute path below `/`. Write one like `/exports/models`.",
    ),
    (
        ("modelStore", "server"),
        "nfs server",
        "modelStore.server: `nfs server`; an IPv4 address or a DNS name in lower case is wanted. Write one of the two.",
    ),
    (
        ("ingress", "host"),
        "http://chat",
        "ingress.host: `http://chat`; a DNS name is lower-case letters, digits and hyphens between dots. "
        "Write a name like `qwen3.example.com`.",
    ),
    (("ssh", "contact"), "no", "ssh.contact: `no`; the choices are `always` and `never`. Write one of them."),
    (
        ("ssh", "connectTimeoutSeconds"),
        0,
        "ssh.connectTimeoutSeconds: the number 0; it must be more than 0. Change the number.",
    ),
    (("ssh", "privateKey"), PRIVATE_KEY, f"ssh.privateKey: {CREDENTIAL}sshPrivateKey`."),
    (("redis", "password"), "canary", f"redis.password: {CREDENTIAL}redisPassword`."),
    (
        ("ssh", "privateKeyFile"),
        PRIVATE_KEY,
        "ssh.privateKeyFile: a file's content; the path of a file is wanted. Write its path; a private key itself is a secret, "
        "`sshPrivateKey` or `ingressKey`.",
    ),
]


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(config)
    return str(caught.value).splitlines()


def test_the_valid_config_is_valid() -> None:
    settings = parse(VALID)
    assert [node.name for node in settings.workers] == ["gpu-1", "gpu-2"]
    assert settings.api_host == "192.168.1.10"
    assert settings.nfs_server == "192.168.1.100"


@pytest.mark.parametrize(("path", "value", "line"), CASES, ids=[line.split(";")[0] for *_, line in CASES])
def test_one_wrong_value_is_one_line(path: tuple[str | int, ...], value: Any, line: str) -> None:
    assert problems(with_value(path, value)) == [line]


def test_an_error_never_shows_a_credential() -> None:
    for path, value, _ in CASES:
        text = "\n".join(problems(with_value(path, value)))
        assert "canary" not in text
        assert "Y2FuYXJ5" not in text


def test_all_problems_are_named_at_once_across_sound_and_unsound_sections() -> None:
    config = with_value((*GPU, "role"), "gpu")
    config["nodes"][4]["address"] = config["nodes"][0]["address"]
    config["kubernetes"]["version"] = "1.20.0"
    config["ingress"] = {"replicas": 0}
    assert [line.partition(":")[0] for line in problems(config)] == [
        "nodes[gpu-1].role",
        "ingress.replicas",
        "nodes[gpu-2].address",
        "kubernetes.version",
    ]


def test_nodes_are_not_counted_while_one_is_unsound() -> None:
    """Otherwise a mistyped control plane would also be reported as an even number of them."""
    assert problems(with_value(("nodes", 0, "address"), "x"))[0].startswith("nodes[master-1].address")
    assert len(problems(with_value(("nodes", 0, "address"), "x"))) == 1


def test_an_entry_is_named_by_its_place_where_its_name_is_not_its_own() -> None:
    config = with_value((*GPU, "name"), "gpu-2")
    config["nodes"][3]["gpus"] = -1
    assert problems(config)[0] == "nodes[3].gpus: the number -1; it must be at least 0. Change the number."


def test_host_keys_are_kept_without_their_comment() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtYnE5yn1XOdbCzFeS1eyQ9yR9bzC2hLTLwMFpq1Vcz"
    settings = parse(with_value((*GPU, "hostKeys"), [f"{key} root@gpu-1"]))
    assert settings.workers[0].host_keys == (key,)
