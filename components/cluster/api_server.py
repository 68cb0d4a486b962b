"""What the API server is told beside kubeadm's defaults: who may ask without a name, what is recorded, how it speaks TLS.

The files lie on every control plane before kubeadm runs; kubeadm mounts them into the static pod.
"""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

FOLDER = "/etc/kubernetes/apiserver"
AUTHENTICATION = f"{FOLDER}/authentication.yaml"
ENCRYPTION = f"{FOLDER}/encryption.yaml"  # made on the nodes: scripts/join_control_plane.sh
AUDIT_LOGS = "/var/log/kubernetes/audit"
# Health is asked by keepalived, kubelets and load balancers; the last one is what a node that joins by token reads first.
ANONYMOUS = ("/livez", "/readyz", "/healthz", "/api/v1/namespaces/kube-public/configmaps/cluster-info")
# Days, files and MB as the CIS Kubernetes Benchmark wants them: a gigabyte at most.
AUDIT_DAYS, AUDIT_FILES, AUDIT_MB = 30, 10, 100
# Of the same benchmark, without those that lack forward secrecy. TLS 1.3 chooses for itself.
CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)
TLS = {"tls-min-version": "VersionTLS12", "tls-cipher-suites": ",".join(CIPHERS)}
# Profiles tell how a component works inside, and cost it time: nobody reads them here.
QUIET = {"profiling": "false"}
# Finished pods that are kept for those who look for a reason; etcd would hold 12500 otherwise.
KEPT_PODS = {"terminated-pod-gc-threshold": "1000"}
# Asked all the time by the cluster itself: who reads the log looks for what people and programs changed.
_COMPONENTS = ("system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "system:apiserver")


def arguments() -> dict[str, str]:
    """Flags of kube-apiserver."""
    return {
        "authentication-config": AUTHENTICATION,
        "encryption-provider-config": ENCRYPTION,
        "encryption-provider-config-automatic-reload": "true",
        "audit-policy-file": audit_policy_file(),
        "audit-log-path": f"{AUDIT_LOGS}/audit.log",
        "audit-log-maxage": str(AUDIT_DAYS),
        "audit-log-maxbackup": str(AUDIT_FILES),
        "audit-log-maxsize": str(AUDIT_MB),
        # An hour, as the kubelet asks for them, not a year for clients that read theirs once: all here read it again.
        "service-account-extend-token-expiration": "false",
        **QUIET,
        **TLS,
    }


def volumes() -> list[dict[str, Any]]:
    """What of the host the static pod sees."""
    return [
        {"name": "apiserver-files", "hostPath": FOLDER, "mountPath": FOLDER, "readOnly": True, "pathType": "Directory"},
        {"name": "audit-logs", "hostPath": AUDIT_LOGS, "mountPath": AUDIT_LOGS, "pathType": "DirectoryOrCreate"},
    ]


def files() -> dict[str, str]:
    """Path on the node -> content."""
    return {AUTHENTICATION: authentication(), audit_policy_file(): audit_policy()}


def audit_policy_file() -> str:
    """Read once, when the API server starts: with another content it has another name, and so is a change of flags."""
    return f"{FOLDER}/audit-policy-{hashlib.sha256(audit_policy().encode()).hexdigest()[:8]}.yaml"


def authentication() -> str:
    """Nobody without a name gets further than these paths, whatever a role binding says."""
    return _text(
        {
            "apiVersion": "apiserver.config.k8s.io/v1beta1",
            "kind": "AuthenticationConfiguration",
            "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ANONYMOUS]},
        }
    )


def audit_policy() -> str:
    """Who did what to which object and when, never its content: bodies hold secrets."""
    reads = ["get", "list", "watch"]
    return _text(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/version", "/openapi*"]},
                {
                    "level": "None",
                    "resources": [
                        {"group": "", "resources": ["events"]},
                        {"group": "events.k8s.io", "resources": ["events"]},
                        {"group": "coordination.k8s.io", "resources": ["leases"]},
                    ],
                },
                {"level": "None", "users": list(_COMPONENTS), "verbs": reads},
                {"level": "None", "userGroups": ["system:nodes"], "verbs": reads},
                {
                    "level": "None",
                    "userGroups": ["system:nodes"],
                    "resources": [{"group": "", "resources": ["nodes/status", "pods/status"]}],
                },
                {"level": "Metadata"},
            ],
        }
    )


def _text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=200)
