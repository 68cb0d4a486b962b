"""The address of the API, held by one control plane whose API server answers: keepalived's configuration, as text.

Unicast VRRP needs no multicast and no second program: each API server listens on the endpoint's port already, so there is
nothing to balance on the way, only an address to move. Timing: a dead holder is missed after three adverts of 0.5 s plus up
to 0.4 s that grow with a lower priority; a dead API server is noticed by two failed checks, one a second; one that
is there and does not answer by ten, one every two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from components.settings import Kubernetes, Node

CONFIG = "/etc/keepalived/keepalived.conf"
HIGHEST, LOWEST = 200, 50


def keepalived_conf(
    kubernetes: Kubernetes, address: IPv4Address, interface: str, own: Node, all_: Sequence[Node]
) -> str:
    """keepalived.conf of control plane `own`. `all_` are all control planes; their order means nothing."""
    others = sorted(node.address for node in all_ if node.name != own.name)
    peers = "".join(f"    {other}\n" for other in others)
    # Version 3, because version 2 makes whole seconds of every interval, with no more than a line in its log.
    # On one link two clusters must differ in the router id; the address's last part does as long as they differ there.
    router = int(address) % 256 or 256 - 1
    return f"""\
global_defs {{
  router_id {own.name}
  enable_script_security
  script_user root
  vrrp_priority -20
  vrrp_garp_master_refresh 10
}}

# A server that is gone refuses at once. One that is slow does not: load is no reason to move the address, since it ends all
# connections and the others may be no better off.
vrrp_script api {{
  script "/bin/bash -c '</dev/tcp/127.0.0.1/{kubernetes.api_port}'"
  interval 1
  timeout 6
  fall 2
  rise 2
}}

# Nor is an etcd that is late, as it is for all servers at once. What does not answer for long is moved away from; kubelet starts
# an etcd or a server that hangs again sooner than that.
vrrp_script livez {{
  script "/usr/bin/curl -sfk -o /dev/null -m 5 https://127.0.0.1:{kubernetes.api_port}/livez"
  interval 2
  timeout 6
  fall 10
  rise 1
}}

vrrp_instance api {{
  state BACKUP
  nopreempt
  interface {interface}
  virtual_router_id {router}
  priority {priority(own, all_)}
  version 3
  advert_int 0.5
  unicast_src_ip {own.address}
  unicast_peer {{
{peers}  }}
  virtual_ipaddress {{
    {address}/32 dev {interface}
  }}
  track_script {{
    api
    livez
  }}
}}
"""


def priority(own: Node, all_: Sequence[Node]) -> int:
    """Spread by address, so that two backups rarely stand for election in the same moment."""
    rank = sorted(node.address for node in all_).index(own.address)
    return HIGHEST - rank * (HIGHEST - LOWEST) // max(len(all_) - 1, 1)
