"""Names and limits a setting may refer to that are fixed outside of it. Data only; each with its source."""

from __future__ import annotations

import re
from types import MappingProxyType

# Kubernetes minors the program may install. kube-proxy's nftables mode and native sidecars are stable in all of them, and
# the Kubernetes provider's client (client-go 0.33, tools/pulumi-resource-kubernetes/go.mod) is at most one minor away, which
# is the skew https://kubernetes.io/releases/version-skew-policy/ allows a client. Newest last; only that one runs in the lab.
KUBERNETES_MINORS = ("1.33", "1.34")

# Secret config keys: kept apart from the plain settings so that nothing plain ever holds one.
SECRETS = MappingProxyType(
    {
        "sshPrivateKey": "Private key the nodes accept. Without it `ssh.privateKeyFile` is read, then the SSH agent is asked.",
        "redisPassword": "Password of Redis.",
        "redisPasswordPrevious": "The one before, which Redis goes on taking until this is removed (docs/rotation.md).",
        "modelStoreCredential": "Token of the Hugging Face hub, or `ACCESS_KEY_ID:SECRET_ACCESS_KEY` of the S3 store; not"
        " needed for what is public.",
        "apiKeys": "Keys of `/v1`, name -> key: `pulumi config set --secret --path 'apiKeys.NAME' KEY`, a key of 24 characters "
        "or more, e.g. of `openssl rand -hex 24`. Changing them restarts nothing.",
        "webuiUsers": "Users for `webui.login.kind: password`, name -> hash of `tools/webui-user hash`. "
        "Changing them restarts nothing.",
        "gatewayToken": "What Traefik proves itself with to the web UI, for `webui.login.kind: forwardAuth`.",
        "gatewayTokenPrevious": "The one before, which is shown and taken beside it until this is removed (docs/rotation.md).",
        "ingressKey": "Private key of `ingress.tls.certificateFile`, PEM without a password: "
        "`pulumi config set --secret ingressKey < KEY.pem`.",
        "acmeDns": "Settings of `ingress.tls.acme.dnsProvider` by lego's names (https://go-acme.github.io/lego/dns/): "
        "`pulumi config set --secret --path acmeDns.CLOUDFLARE_DNS_API_TOKEN TOKEN`.",
        "remoteWriteCredential": "Bearer token of `observability.prometheus.remoteWrite`; not needed where writing is free.",
        "alertUrls": "Where receivers of `observability.alerting` are reached, name -> URL: "
        "`pulumi config set --secret --path 'alertUrls.NAME' URL`.",
        "alertSigningSecrets": "Keys that robots of DingTalk and Feishu check signatures with, receiver's name -> key; without "
        "one nothing is signed.",
        "alertSmtpPassword": "Password of the login at the mail server that alerts are sent through.",
        "alertHeartbeatUrl": "Where `observability.alerting.heartbeat` is sent.",
        "acmeEabKey": "Key of `ingress.tls.acme.externalAccount`, base64url as the server gave it.",
        "grafanaAdminPassword": "Password of Grafana's user `admin`; without it the program makes one, the stack output"
        " `grafanaAdminPassword`.",
        "grafanaOidcSecret": "Secret of `observability.grafana.oidc.clientId`.",
        "logsS3AccessKey": "Access key of `observability.logs.storage`, `kind: s3`.",
        "logsS3SecretKey": "Its secret key.",
    }
)

# The product's own checks of the nodes, by the name that `preflight.downgrade` takes (components/hosts: preflight.py and
# gpu_checks.py; a test compares).
PREFLIGHT_CHECKS = MappingProxyType(
    {
        "os": "Ubuntu 20.04, 22.04, 24.04 or Debian 12.",
        "architecture": "x86_64, which the images are built for.",
        "kernel": "New enough for Kubernetes and the mode of kube-proxy.",
        "cpus": "Enough processors for the role.",
        "memory": "Enough memory for the role.",
        "disk": "Enough disk for the role, and enough of it free.",
        "swap": "Swap is off.",
        "cgroup": "cgroup v2.",
        "sudo": "The login user is root or may use sudo without a password.",
        "address": "The node holds the address it is listed with.",
        "hostname": "The machine calls itself by the node's name.",
        "gpus": "As many GPUs on the PCI bus as are listed.",
        "pods": "CPUs and memory for the replicas on the node's GPUs.",
        "secure-boot": "The driver's kernel module may be loaded: Secure Boot is off, or the module's key is enrolled.",
        "gpu-generation": "The driver's version and kernel module support every GPU of the node.",
        "ports": "Kubernetes' ports are free on a node that is not a member yet.",
        "machine-id": "A machine id that no other node has.",
        "clock": "A clock that agrees with the other nodes'.",
    }
)

# kubeadm's checks, cmd/kubeadm/app/preflight/checks.go of v1.34; it compares them in lower case. `all` is left out on purpose.
KUBEADM_CHECKS = (
    "CRI",
    "ContainerRuntimeVersion",
    "ExternalEtcdClientCertificates",
    "ExternalEtcdVersion",
    "Firewalld",
    "HTTPProxy",
    "HTTPProxyCIDR",
    "Hostname",
    "ImagePull",
    "IsPrivilegedUser",
    "KubeletVersion",
    "KubernetesVersion",
    "Mem",
    "NumCPU",
    "Swap",
    "SystemVerification",
)
# ... and those whose name carries a port, a path (slashes as hyphens) or a service.
KUBEADM_CHECK = re.compile(r"Port-\d+|(DirAvailable|FileAvailable|FileContent|FileExisting)-[\w.-]+|Service-\w+", re.I)

# Ports the members of a cluster use themselves: https://kubernetes.io/docs/reference/networking/ports-and-protocols/
RESERVED_PORTS = MappingProxyType(
    {
        2379: "etcd's clients",
        2380: "etcd's peers",
        2381: "etcd's metrics",
        7946: "MetalLB's member list",
        9100: "the node exporter",
        9110: "the node exporter of this program",
        10248: "the kubelet's health",
        10249: "kube-proxy's metrics",
        10250: "the kubelet",
        10256: "kube-proxy's health",
        10257: "the controller manager",
        10259: "the scheduler",
    }
)

# Labels of the kubernetes.io and k8s.io domains that a kubelet may carry; NodeRestriction and `--node-labels` refuse the others.
# https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
ALLOWED_LABELS = frozenset(
    {
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/instance-type",
    }
)
ALLOWED_LABEL_PREFIXES = ("node.kubernetes.io/", "kubelet.kubernetes.io/")

# Taints that controllers set and clear by themselves.
RESERVED_TAINT_PREFIXES = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")

# Types of SSH host keys that OpenSSH offers by default and paramiko verifies.
HOST_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
