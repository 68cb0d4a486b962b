"""What runs in the cluster, against the machines it runs on and the names it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from ipaddress import IPv4Address

from components.settings import Settings
from components.settings.known import PREFLIGHT_CHECKS
from components.settings.problem import Problem, join_path
from components.settings.syntax import address_range
from components.versions import IMAGES


def ingress_address(settings: Settings) -> Iterator[Problem]:
    if settings.ingress.address is None:
        return
    address = IPv4Address(settings.ingress.address)
    ranges = [address_range(text) for text in settings.load_balancer.addresses]
    if not any(first <= address <= last for first, last in ranges):
        rule = f"MetalLB gives addresses of loadBalancer.addresses only ({', '.join(settings.load_balancer.addresses)})"
        yield Problem("ingress.address", str(address), rule, "Choose one of these or remove the key")


def redis_replicas(settings: Settings) -> Iterator[Problem]:
    count = len(settings.control_planes)
    if settings.redis.replicas and settings.redis.replicas > count:
        rule = "each replica has a control plane of its own"
        remedy = f"nodes has {count}. Add control planes, set 1, or remove the key"
        yield Problem("redis.replicas", str(settings.redis.replicas), rule, remedy)


def apt_keys(settings: Settings) -> Iterator[Problem]:
    for name in ("os", "kubernetes", "nvidia"):
        mirror = getattr(settings.mirrors, name)
        if mirror is None:
            continue
        path = f"mirrors.{name}"
        given = [key for key in ("key", "keyFile", "keyUrl") if getattr(mirror, SNAKE[key])]
        if len(given) > 1:
            yield Problem(f"{path}.{given[1]}", f"set beside {given[0]}", "one key signs the repository", "Keep one")
        if mirror.key and "PUBLIC KEY BLOCK" not in mirror.key:
            rule = "the key is an ASCII-armoured OpenPGP public key"
            yield Problem(f"{path}.key", "no PUBLIC KEY BLOCK", rule, "Export it with `gpg --armor --export`")
        if name == "os" and given == ["keyUrl"]:
            rule = "what a node fetches it with is a package of this mirror, which apt would not trust yet"
            yield Problem(f"{path}.keyUrl", "set", rule, "Use keyFile or key")
        elif mirror.key_url and mirror.key_url.startswith("http:") and not mirror.key_sha256:
            rule = "what comes over http is trusted by its digest only"
            yield Problem(f"{path}.keySha256", "missing", rule, "Add the SHA-256 of the key, or use keyFile or https")
        if mirror.key_sha256 and not mirror.key_url:
            yield Problem(f"{path}.keySha256", "set without keyUrl", "it checks what keyUrl delivers", "Remove it")
        if not given and name != "os":
            rule = "apt accepts signed repositories only"
            yield Problem(f"{path}.key", "missing", rule, "Set key, keyFile or keyUrl")


SNAKE = {"key": "key", "keyFile": "key_file", "keyUrl": "key_url"}


def image_names(settings: Settings) -> Iterator[Problem]:
    for name in settings.images.overrides:
        if name not in IMAGES:
            yield _unknown(join_path("images.overrides", name), name, "images", IMAGES)


def scanned_image_names(settings: Settings) -> Iterator[Problem]:
    for index, name in enumerate(settings.observability.image_scan.skip):
        if name not in IMAGES:
            yield _unknown(f"observability.imageScan.skip[{index}]", name, "images", IMAGES)


def image_build(settings: Settings) -> Iterator[Problem]:
    build = settings.images.build
    if build is None:
        return
    pushed = build.push or settings.images.overrides.get("webui")
    if pushed and "@" in pushed:
        place = "images.build.push" if build.push else "images.overrides.webui"
        rule = "what is built has no digest yet"
        yield Problem(
            place, "a digest beside `images.build`", rule, "Write the tag only; the digest is found by the push"
        )
    if build.plain_http and build.tool == "docker":
        rule = "docker takes registries without TLS from its daemon's `insecure-registries`"
        yield Problem(
            "images.build.plainHttp", "set with `tool: docker`", rule, "List the registry there and remove it"
        )


def preflight_names(settings: Settings) -> Iterator[Problem]:
    for index, name in enumerate(settings.preflight.downgrade):
        if name not in PREFLIGHT_CHECKS:
            yield _unknown(f"preflight.downgrade[{index}]", name, "checks", PREFLIGHT_CHECKS)


def _unknown(path: str, name: str, noun: str, known: Iterable[str]) -> Problem:
    near = get_close_matches(name.lower(), known, n=1)
    remedy = f"Did you mean `{near[0]}`?" if near else "Remove it"
    return Problem(path, f"unknown name `{name}`", f"the {noun} are {', '.join(sorted(known))}", remedy)
