"""From bare hosts to a highly available Qwen3-VL service: the layers in order, and the only place where two of them meet."""

from __future__ import annotations

import signal

import pulumi

from components.cluster.kubernetes_packages import kubernetes_repository
from components.cluster.layer import cluster
from components.credentials import Credentials
from components.hosts.layer import hosts
from components.inference.layer import inference
from components.observability.grafana import GrafanaSecrets
from components.observability.layer import observability
from components.services.layer import EdgeSecrets, services
from components.settings import stack

# The engine interrupts the program when a node's step failed; the step's own message is all there is to say then.
signal.signal(signal.SIGINT, signal.SIG_DFL)

config = pulumi.Config()
settings = stack.load(config)
credentials = Credentials.read(
    config,
    settings.webui,
    settings.ingress.tls,
    alerting=settings.observability.told,
    grafana=settings.observability.grafana,
    logs=settings.observability.collected,
)

# 1 hosts: every machine judged before any is changed
packages = kubernetes_repository(settings.kubernetes, settings.mirrors)
keys = (packages.remote_key,) if packages.remote_key else ()
machines = hosts(settings, credentials.ssh_private_key, keys)

# 2 cluster: a highly available Kubernetes on them
kubernetes = cluster(
    settings,
    repository=packages,
    ssh=machines.ssh,
    connections=machines.connections,
    interfaces=machines.interfaces,
    after=machines.ready,
    backup=machines.backup,
)

# 3 services: what the model server stands on
shared = services(
    settings,
    credentials.redis_password,
    redis_password_previous=credentials.redis_password_previous,
    edge=EdgeSecrets(
        ingress_key=credentials.ingress_key, acme_dns=credentials.acme_dns, acme_eab_key=credentials.acme_eab_key
    ),
    provider=kubernetes.provider,
    ssh=machines.ssh,
    connections=machines.connections,
    drivers=machines.gpus,
    after=kubernetes.ready,
)

# 4 inference: Qwen3-VL itself
inference(
    settings,
    credentials,
    provider=kubernetes.provider,
    ssh=machines.ssh,
    connections=machines.connections,
    redis_host=shared.redis_host,
    redis_password_secret=shared.redis_password_secret,
    workers=kubernetes.ready,
    after=shared.ready,
)

# 5 observability: what is seen of it, and what the number of replicas follows
seen = observability(
    settings,
    credentials.alerts,
    remote_write_credential=credentials.remote_write,
    grafana=GrafanaSecrets(
        admin_password=credentials.grafana_admin_password, oidc_secret=credentials.grafana_oidc_secret
    ),
    logs_s3=credentials.logs_s3,
    ssh=machines.ssh,
    provider=kubernetes.provider,
    after=shared.ready,
)

url = f"{'https' if settings.ingress.tls.on else 'http'}://{settings.ingress.host}/"
pulumi.export("url", url)
pulumi.export("openaiUrl", f"{url}v1")
pulumi.export("ingressAddress", shared.ingress_address)
if shared.ingress_ca is not None:
    pulumi.export("ingressCa", shared.ingress_ca)
if seen.grafana_url is not None:
    pulumi.export("grafanaUrl", seen.grafana_url)
if seen.grafana_admin_password is not None:
    pulumi.export("grafanaAdminPassword", seen.grafana_admin_password)
pulumi.export("model", settings.inference.model)
pulumi.export("apiEndpoint", f"https://{settings.api_host}:{settings.kubernetes.api_port}")
pulumi.export("kubeconfig", kubernetes.kubeconfig)
if machines.backup_key is not None:
    pulumi.export("backupKey", machines.backup_key)
