"""The source of the models, against its kind and against the machines that serve and read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

from pydantic.alias_generators import to_camel

from components.settings import Role, Settings
from components.settings.model_store import ModelStore
from components.settings.problem import Problem, listed

# Which kinds a key means something for.
KINDS = MappingProxyType(
    {
        "server": ("nfs",),
        "nfs_server": ("nfs",),
        "writer": ("nfs",),
        "clients": ("nfs",),
        "endpoint": ("s3", "huggingface"),
        "bucket": ("s3",),
        "region": ("s3",),
        "path": ("nfs", "folder"),
    }
)


def other_kinds(settings: Settings) -> Iterator[Problem]:
    store = settings.model_store
    for key, kinds in KINDS.items():
        if store.kind not in kinds and getattr(store, key) != ModelStore.model_fields[key].default:
            found = f"set with `kind: {store.kind}`"
            yield Problem(f"modelStore.{to_camel(key)}", found, f"it belongs to {listed(kinds)}", "Remove it")


def source(settings: Settings) -> Iterator[Problem]:
    store = settings.model_store
    if store.kind == "s3":
        if store.endpoint is None:
            rule = "an S3-compatible store is known by its address"
            yield Problem("modelStore.endpoint", "missing", rule, "Write one like `https://s3.example.com`")
        if store.bucket is None:
            yield Problem("modelStore.bucket", "missing", "the models lie in one", "Write its name")
    if store.kind == "huggingface":
        if not re.fullmatch(r"[0-9a-f]{40}", store.revision):
            rule = "a branch or tag may move, a commit is 40 hexadecimal digits"
            remedy = "Copy it from the model's page, Files, History"
            yield Problem("modelStore.revision", f"`{store.revision}`", rule, remedy)
        if store.manifest_sha256 is not None:
            found, rule = "set with `kind: huggingface`", "a commit pins its content already"
            yield Problem("modelStore.manifestSha256", found, rule, "Remove it")


def copy_apart(settings: Settings) -> Iterator[Problem]:
    store = settings.model_store
    if store.kind == "folder" and f"{store.cache_path}/".startswith(f"{store.path}/"):
        found = f"`{store.cache_path}` lies inside modelStore.path"
        rule = "the copy and its source are two folders"
        yield Problem("modelStore.cachePath", found, rule, "Choose another one")


def server(settings: Settings) -> Iterator[Problem]:
    storage, store = settings.by_role(Role.STORAGE), settings.model_store
    if not settings.nodes or store.kind != "nfs" or store.server is not None:
        return
    if not storage:
        rule = "the NFS server is modelStore.server or the node of role storage"
        remedy = "Set it, add a storage node, or choose another `kind`"
        yield Problem("modelStore.server", "missing, and no node has role storage", rule, remedy)
    elif len(storage) > 1:
        rule = "only one of them can be meant"
        yield Problem("modelStore.server", f"missing with {len(storage)} storage nodes", rule, "Set it")


def writer(settings: Settings) -> Iterator[Problem]:
    store = settings.model_store
    if store.kind != "nfs" or store.writer is None or not settings.nodes:
        return
    if not settings.exporting:
        rule = "only what this program exports has one"
        yield Problem("modelStore.writer", "set with a server that is no storage node", rule, "Remove it")
        return
    address = settings.model_writer
    if address is None:
        rule = "an export names machines by address, and no node has this name"
        yield Problem("modelStore.writer", f"`{store.writer}`", rule, "Write its IPv4 address or a node's name")
    elif any(address == node.address for node in settings.workers):
        remedy = "Name another machine or remove the key"
        yield Problem("modelStore.writer", f"`{store.writer}` is a worker", "workers only read", remedy)


def clients(settings: Settings) -> Iterator[Problem]:
    found = settings.model_store.clients
    for index, network in enumerate(found):
        if network.prefixlen == 0:
            rule = "models are exported to known networks only"
            yield Problem(f"modelStore.clients[{index}]", str(network), rule, "Write the workers' network")
    outside = [node for node in settings.workers if not any(node.address in network for network in found)]
    if found and outside:
        rest = f", nor {len(outside) - 1} more" if len(outside) > 1 else ""
        text = f"none of them holds {outside[0].address} of `{outside[0].name}`{rest}"
        yield Problem("modelStore.clients", text, "every worker reads the export", "Add its network")
