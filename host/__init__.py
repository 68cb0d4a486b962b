"""The `host` provider: read-backed resources of Linux nodes over SSH, and their typed classes for the program."""

from host.resources import (
    Configuration,
    ConfigurationArgs,
    Connection,
    Facts,
    File,
    Gate,
    HostProvider,
    Kubeconfig,
    Script,
    Unit,
)

__all__ = [
    "Configuration",
    "ConfigurationArgs",
    "Connection",
    "Facts",
    "File",
    "Gate",
    "HostProvider",
    "Kubeconfig",
    "Script",
    "Unit",
]
