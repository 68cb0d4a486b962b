"""Types of single values whose spelling can be judged without the rest of the config."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from components.settings.known import HOST_KEY_TYPES
from components.settings.problem import shown

ADDRESS_RULE = "an IPv4 address is four numbers from 0 to 255"
ADDRESS_REMEDY = "Write one like `10.0.0.11`"
RULE = "rule"  # type of the errors made here; parse.py takes found, rule and remedy out of their context

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(rf"{DNS_LABEL.pattern}(\.{DNS_LABEL.pattern})*")
LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
QUANTITY = re.compile(r"(\d+(\.\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*")
KEY_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
IMAGE = re.compile(r"[a-z0-9.-]+(:\d+)?/[a-z0-9._/-]+(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True, slots=True)
class Kind:
    """What the config reference calls a type; pydantic passes over it."""

    words: str


def refused(found: str, rule: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(RULE, "{found}; {rule}. {remedy}", {"found": found, "rule": rule, "remedy": remedy})


def _node_name(text: str) -> str:
    if not DNS_LABEL.fullmatch(text):
        rule = "a node name is 1 to 63 lower-case letters, digits and inner hyphens"
        raise refused(shown(text), rule, f"Write `{_as_label(text)}`" if _as_label(text) else "Choose such a name")
    return text


def _as_label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")


def _dns_name(text: str) -> str:
    if len(text) > 253 or not DNS_NAME.fullmatch(text):
        rule = "a DNS name is lower-case letters, digits and hyphens between dots"
        raise refused(shown(text), rule, "Write a name like `qwen3.example.com`")
    return text


def _user_name(text: str) -> str:
    if not USER_NAME.fullmatch(text):
        raise refused(shown(text), "not a Linux user name", "Write the name the node's user logs in with")
    return text


def _host_key(text: str) -> str:
    return _public_key(text, "public host key", "Copy the line of /etc/ssh/ssh_host_ed25519_key.pub from the node")


def _login_key(text: str) -> str:
    return _public_key(text, "public key", "Copy the line of the key's `.pub` file")


def _public_key(text: str, what: str, remedy: str) -> str:
    kind, _, rest = text.strip().partition(" ")
    if kind not in HOST_KEY_TYPES:
        rule = f"a {what} starts with its type, e.g. `ssh-ed25519 AAAA...`"
        raise refused(f"not a {what}" if "PRIVATE" in text else shown(text), rule, remedy)
    blob = rest.split(" ")[0]
    try:
        raw = base64.b64decode(blob, validate=True)
    except binascii.Error:
        raw = b""
    if raw[4 : 4 + len(kind)] != kind.encode():
        raise refused(shown(text), f"what follows `{kind}` is not such a key", remedy)
    return f"{kind} {blob}"


def address_range(text: str) -> tuple[IPv4Address, IPv4Address]:
    """First and last address of `a-b` or of a CIDR. Raises ValueError (also ipaddress's) when it is neither."""
    if "-" not in text:
        network = IPv4Network(text)
        return network[0], network[-1]
    first, last = (IPv4Address(part.strip()) for part in text.split("-", 1))
    if first > last:
        raise ValueError("the first address is higher than the last")
    return first, last


def networks(text: str) -> list[IPv4Network]:
    """The smallest list of networks that cover exactly the range."""
    return list(summarize_address_range(*address_range(text)))


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise refused(shown(text), ADDRESS_RULE, ADDRESS_REMEDY) from None


def _address_range(text: str) -> str:
    try:
        address_range(text)
    except ValueError:
        rule = "a range is `10.0.0.200-10.0.0.220`, lower address first, or a network like `10.0.0.192/26`"
        raise refused(shown(text), rule, "Write one of the two") from None
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.username or parts.password:
        rule = "plain settings are kept in clear and hold no credentials"
        raise refused("an address with a user or password in it", rule, "Use a mirror that needs none from the nodes")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        rule = "an address is `http://` or `https://`, a host and a path"
        raise refused(shown(text), rule, "Write one like `http://10.0.0.5:8081/debian`")
    return text.rstrip("/")


def _registry(text: str) -> str:
    url = _http_url(text)
    if urlsplit(url).path:
        rule = "containerd asks the registry by the upstream's own paths"
        raise refused(shown(text), rule, f"Write `{url[: -len(urlsplit(url).path)]}`")
    return url


def _version(value: object) -> str:
    text = str(value)  # a number, if the user wrote 1.34
    if not re.fullmatch(r"1\.\d+\.\d+", text):
        bare = text.removeprefix("v")
        remedy = f"Write `{bare}`" if re.fullmatch(r"1\.\d+\.\d+", bare) else "Write all three numbers"
        raise refused(shown(text), "an exact Kubernetes version is three numbers like `1.34.2`", remedy)
    return text


def _numbers(text: str, pattern: str, rule: str, remedy: str) -> str:
    if not re.fullmatch(pattern, text):
        raise refused(shown(text), rule, remedy)
    return text


def _driver_version(text: str) -> str:
    rule = "an exact driver version is two or three numbers like `580.95.05`"
    return _numbers(text, r"\d{3}\.\d+(\.\d+)?", rule, "Take one that NVIDIA's repository offers")


def _toolkit_version(text: str) -> str:
    rule = "an exact version is three numbers like `1.18.0`"
    return _numbers(text, r"\d+\.\d+\.\d+", rule, "Write all three")


def _debian_revision(text: str) -> str:
    rule = "a Debian revision is what stands behind the last hyphen of a package version, like `0ubuntu1`"
    return _numbers(text, r"[A-Za-z0-9+.~]+", rule, "Take it from `apt-cache policy PACKAGE`")


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise refused(shown(text), "a SHA-256 is 64 lower-case hexadecimal digits", "Take it from `sha256sum FILE`")
    return text


def _quantity(text: str) -> str:
    if not QUANTITY.fullmatch(text):
        rule = "a Kubernetes quantity is a number with a unit, e.g. `4000m`, `4`, `16Gi`"
        raise refused(shown(text), rule, "Write one like these")
    return text


def quantity(text: str) -> float:
    """The number a Kubernetes quantity stands for, in cores or bytes."""
    found = QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text}: not a quantity")
    powers = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
    binary = {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTP", start=1)}
    return float(found[1]) * (powers | binary)[found[3] or ""]


def _folder(text: str) -> str:
    if not re.fullmatch(r"(/[\w.-]+)+", text) or ".." in text.split("/"):
        raise refused(shown(text), "a folder is an absolute path below `/`", "Write one like `/exports/models`")
    return text


def _revision(text: str) -> str:
    if not REVISION.fullmatch(text):
        rule = "a revision is up to 63 letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
        raise refused(shown(text), rule, "Write a commit, or the name of the revision's folder")
    return text


def _bucket(text: str) -> str:
    if not BUCKET.fullmatch(text) or ".." in text.split("/"):
        rule = "a bucket is 3 to 63 lower-case letters, digits, `.` and `-`, perhaps with folders behind it"
        raise refused(shown(text), rule, "Write one like `models` or `models/qwen`")
    return text


def _file(text: str) -> str:
    if "PRIVATE KEY" in text or "\n" in text.strip() or not text.strip():
        found = "a file's content" if text.strip() else "nothing"
        raise refused(
            found,
            "the path of a file is wanted",
            "Write its path; a private key itself is a secret, `sshPrivateKey` or `ingressKey`",
        )
    return text


def _host(text: str) -> str:
    if len(text) > 253 or not DNS_NAME.fullmatch(text):
        raise refused(shown(text), "an IPv4 address or a DNS name in lower case is wanted", "Write one of the two")
    return text


def _image(text: str) -> str:
    if not IMAGE.fullmatch(text):
        rule = "a full image reference names registry, repository, tag and, better, digest"
        raise refused(shown(text), rule, "Write one like `registry.example.com/team/app:v1@sha256:...`")
    if ":" not in text.rpartition("/")[2]:
        raise refused(shown(text), "an image without tag or digest changes by itself", "Add the tag or the digest")
    return text


def _label_value(text: str) -> str:
    if text and not LABEL_NAME.fullmatch(text):
        rule = "a label value is up to 63 letters, digits, `-`, `_` and `.`, first and last a letter or digit"
        raise refused(shown(text), rule, "Shorten or change it")
    return text


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if not LABEL_NAME.fullmatch(name) or (slash and (len(prefix) > 253 or not DNS_NAME.fullmatch(prefix))):
        rule = "a key is `name` or `prefix.example.com/name`, the name up to 63 letters, digits, `-`, `_` and `.`"
        raise refused(shown(text), rule, "Change the key")
    return text


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
        rule = "a header's name is up to 64 letters, digits and hyphens"
        raise refused(shown(text), rule, "Write one like `X-Auth-Request-User`")
    return text


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z]+=[^\s\",;=]+(,[a-z]+=[^\s\",;=]+)*", text):
        rule = "a pattern is `key=value` between commas, as `apt-cache policy` shows them in its release lines"
        raise refused(shown(text), rule, "Write one like `origin=Example,suite=stable-security`")
    return text


def _key_name(text: str) -> str:
    if not KEY_NAME.fullmatch(text):
        rule = "a key's name is up to 40 lower-case letters, digits and inner hyphens"
        raise refused(shown(text), rule, "Write it as it stands in `apiKeys`")
    return text


NodeName = Annotated[str, AfterValidator(_node_name), Kind("name")]
DnsName = Annotated[str, AfterValidator(_dns_name), Kind("DNS name")]
UserName = Annotated[str, AfterValidator(_user_name), Kind("user name")]
HostKey = Annotated[str, AfterValidator(_host_key), Kind("public host key")]
LoginKey = Annotated[str, AfterValidator(_login_key), Kind("public key")]
Address = Annotated[str, AfterValidator(_address), Kind("IPv4 address")]
AddressRange = Annotated[str, AfterValidator(_address_range), Kind("IPv4 range")]
HttpUrl = Annotated[str, AfterValidator(_http_url), Kind("http(s) address")]
RegistryUrl = Annotated[str, AfterValidator(_registry), Kind("http(s) address")]
Version = Annotated[str, BeforeValidator(_version), Kind("version")]
DriverVersion = Annotated[str, AfterValidator(_driver_version), Kind("version")]
ToolkitVersion = Annotated[str, AfterValidator(_toolkit_version), Kind("version")]
DebianRevision = Annotated[str, AfterValidator(_debian_revision), Kind("Debian revision")]
Sha256 = Annotated[str, AfterValidator(_sha256), Kind("SHA-256")]
Quantity = Annotated[str, AfterValidator(_quantity), Kind("quantity")]
Folder = Annotated[str, AfterValidator(_folder), Kind("absolute path")]
Revision = Annotated[str, AfterValidator(_revision), Kind("revision")]
Bucket = Annotated[str, AfterValidator(_bucket), Kind("bucket")]
FilePath = Annotated[str, AfterValidator(_file), Kind("path of a file")]
Host = Annotated[str, AfterValidator(_host), Kind("IPv4 address or DNS name")]
ImageReference = Annotated[str, AfterValidator(_image), Kind("image reference")]
HeaderName = Annotated[str, AfterValidator(_header), Kind("header name")]
Origin = Annotated[str, AfterValidator(_origin), Kind("pattern")]
KeyName = Annotated[str, AfterValidator(_key_name), Kind("key name")]
LabelKey = Annotated[str, AfterValidator(_label_key), Kind("label key")]
LabelValue = Annotated[str, AfterValidator(_label_value), Kind("label value")]
