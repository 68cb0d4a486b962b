"""Loki's configuration: one program for everything, its limits and what is thrown away when. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from components.settings.logs import Logs

PORT, GRPC_PORT, GOSSIP_PORT = 3100, 9095, 7946
DATA = "/loki"
# What streams are made of; everything else that is known of a line is kept beside it (structured metadata).
LABELS = ("namespace", "app", "node", "container", "unit", "source")
# A stream faster than this is held back, so that one pod cannot fill the store; bytes a second, and in a burst.
STREAM_RATE, STREAM_BURST = "1MB", "8MB"
LINE = "64KB"
ALL_RATE_MB, ALL_BURST_MB = 8, 32
STREAMS = 5000


def loki_yaml(
    logs: Logs,
    *,
    replicas: int,
    peers: str,
    data: str = DATA,
    host: str = "0.0.0.0",  # noqa: S104  collectors and Prometheus come from elsewhere
    port: int = PORT,
    grpc_port: int = GRPC_PORT,
) -> str:
    """`peers`: name under which all replicas are found; asked for only where there are several."""
    document = {
        "auth_enabled": False,  # nobody reaches it but those that the network policies name
        "analytics": {"reporting_enabled": False},
        "server": {
            "http_listen_address": host,
            "http_listen_port": port,
            "grpc_listen_address": host,
            "grpc_listen_port": grpc_port,
            "log_level": "warn",
        },
        "common": {
            "path_prefix": data,
            "replication_factor": replicas,
            "ring": {"kvstore": {"store": "memberlist" if replicas > 1 else "inmemory"}},
            **({"instance_addr": "127.0.0.1"} if replicas == 1 else {}),
            "storage": _storage(logs, data),
        },
        **({"memberlist": {"join_members": [f"{peers}:{GOSSIP_PORT}"]}} if replicas > 1 else {}),
        "schema_config": {
            "configs": [
                {
                    "from": "2025-01-01",
                    "store": "tsdb",
                    "object_store": _store(logs),
                    "schema": "v13",
                    "index": {"prefix": "index_", "period": "24h"},
                }
            ]
        },
        # A chunk is written when it has 1.5 MB or after an hour; the log of what is not written yet is on the disk.
        "ingester": {"chunk_idle_period": "15m", "max_chunk_age": "1h", "wal": {"replay_memory_ceiling": _half(logs)}},
        "distributor": {"otlp_config": {"default_resource_attributes_as_index_labels": list(LABELS)}},
        "compactor": {
            "working_directory": f"{data}/compactor",
            "retention_enabled": True,
            "retention_delete_delay": "1h",
            "delete_request_store": _store(logs),
        },
        "limits_config": {
            "retention_period": f"{logs.retention_hours}h",
            "reject_old_samples_max_age": f"{logs.retention_hours}h",
            "max_line_size": LINE,
            "max_line_size_truncate": True,
            "per_stream_rate_limit": STREAM_RATE,
            "per_stream_rate_limit_burst": STREAM_BURST,
            "ingestion_rate_mb": ALL_RATE_MB,
            "ingestion_burst_size_mb": ALL_BURST_MB,
            "max_global_streams_per_user": STREAMS,
            "allow_structured_metadata": True,
            "discover_service_name": [],
            "discover_log_levels": False,
            "max_query_length": "0s",
            "split_queries_by_interval": "6h",
        },
        "query_range": {"results_cache": {"cache": {"embedded_cache": {"enabled": False}}}},
        "chunk_store_config": {"chunk_cache_config": {"embedded_cache": {"enabled": False}}},
    }
    return yaml.safe_dump(document, sort_keys=False, width=200)


def _half(logs: Logs) -> str:
    return f"{logs.memory_mib // 2}MB"


def _store(logs: Logs) -> str:
    return "s3" if logs.storage.kind == "s3" else "filesystem"


def _storage(logs: Logs, data: str) -> dict[str, Any]:
    """Keys of the bucket come from the environment: Loki is started with `-config.expand-env=true`."""
    storage = logs.storage
    if storage.kind == "disk":
        return {"filesystem": {"chunks_directory": f"{data}/chunks", "rules_directory": f"{data}/rules"}}
    return {
        "s3": {
            "endpoint": storage.endpoint,
            "bucketnames": storage.bucket,
            "region": storage.region,
            "access_key_id": "${S3_ACCESS_KEY}",
            "secret_access_key": "${S3_SECRET_KEY}",
            "s3forcepathstyle": True,
            "insecure": (storage.endpoint or "").startswith("http://"),
        }
    }
