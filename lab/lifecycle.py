"""What the verbs do: bring a lab up from any condition, take it down, and break single nodes on purpose."""

import shutil
import time
from collections.abc import Iterable
from ipaddress import IPv4Address

from lab import base, cgroups, kernel, mirror_service, network
from lab.machine import LabError, Progress, UsageError, install_required
from lab.node import Machine, Plan, plan
from lab.store import Members, Store
from lab.topology import Node, parse_address

SILENT_SECONDS = 15.0  # a node that runs but does not greet for so long is switched off and on
BOOT_SECONDS = 90.0  # a node greets after 2-4 s on an idle machine; builds beside it may take most of the processor


def up(store: Store, progress: Progress) -> None:
    """Make the whole lab run: build, create, repair or rebuild what needs it, and nothing else."""
    install_required(progress)
    store.ensure_key()
    members = store.members().remembering(store.topology)
    store.save(members)
    machines = [Machine(store, node) for node in members.nodes(store.topology)]
    _remove_strangers(store, members, progress)
    if kernel.prepare(store.root):
        progress("kernel limits shared by all nodes raised")
    if network.ensure_bridge(store.topology):
        progress(f"bridge {store.topology.bridge} with {store.topology.gateway}")
    built = base.ensure(store.base, progress)
    plans = {machine.node.name: plan(machine.node, machine.facts()) for machine in machines}
    if lost := [name for name, what in plans.items() if what is Plan.REBUILD]:
        progress(f"rebuilding the lab: {', '.join(lost)} {Plan.REBUILD.value}, so the others' state means nothing")
        plans = dict.fromkeys(plans, Plan.REBUILD)
        for machine in machines:
            machine.kill()
        store.clear_state()
    store.ensure_state()
    touched = [machine for machine in machines if _bring_up(machine, plans[machine.node.name], built, progress)]
    store.write_known_hosts(members)
    touched += _revive([machine for machine in machines if machine not in touched], progress)
    _wait(machines, progress)
    _offer_packages(store, machines, progress)
    progress(f"lab {store.topology.name} is up: {len(machines)} nodes, {len(touched) or 'none'} touched")


def _bring_up(machine: Machine, what: Plan, built: base.Base, progress: Progress) -> bool:
    """Do what the plan says and plug the cable in; True when something had to be done."""
    name = machine.node.name
    if what in (Plan.CREATE, Plan.REBUILD):
        progress(f"{name}: creating ({what.value})")
        machine.kill()
        machine.wipe()
        machine.create(built)
    if what is not Plan.KEEP:
        progress(f"{name}: starting")
        machine.start()
    elif not network.connected(machine.store.topology, machine.interface):
        progress(f"{name}: was cut off; healing")
        network.heal(machine.store.topology, machine.interface)
    else:
        return False
    return True


def _revive(machines: Iterable[Machine], progress: Progress) -> list[Machine]:
    """Power-cycle the nodes that run but do not answer; returns them."""
    deadline = time.monotonic() + SILENT_SECONDS
    revived = []
    for machine in machines:
        while not (answers := machine.answers()) and time.monotonic() < deadline:
            time.sleep(0.2)
        if not answers:
            progress(f"{machine.node.name}: runs but is silent; switching it off and on")
            machine.kill()
            machine.start()
            revived.append(machine)
    return revived


def _wait(machines: Iterable[Machine], progress: Progress) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    for machine in machines:
        if not machine.answers():
            machine.wait(deadline)
            progress(f"{machine.node.name}: sshd at {machine.node.address} answers")


def _offer_packages(store: Store, machines: Iterable[Machine], progress: Progress) -> None:
    """Serve packages and images on the gateway, and have the nodes trust them."""
    key = mirror_service.ensure(store, progress)
    for machine in machines:
        machine.trust_packages(key)


def _remove_strangers(store: Store, members: Members, progress: Progress) -> None:
    """Remove machines that are on disk but no longer in the lab."""
    names = {node.name for node in members.nodes(store.topology)}
    for folder in store.nodes.glob("*"):
        if folder.is_dir() and folder.name not in names:
            progress(f"{folder.name}: no longer in the lab; removing")
            Machine(store, Node(folder.name, "worker", IPv4Address(0))).remove()


def down(store: Store, progress: Progress, purge: bool = False) -> None:
    """Remove everything the lab made on this machine, from any condition."""
    for folder in sorted(path for path in store.nodes.glob("*") if path.is_dir()):
        progress(f"{folder.name}: removing")
        Machine(store, Node(folder.name, "worker", IPv4Address(0))).remove()
    mirror_service.stop(store)
    network.remove_bridge(store.topology)
    cgroups.remove_lab(store.topology.name)
    shutil.rmtree(store.lab, ignore_errors=True)
    if store.lab.exists():
        raise LabError(f"lab {store.topology.name}: {store.lab} cannot be removed whole; something still uses it")
    if not store.any_lab():
        for name in kernel.restore(store.root):
            progress(f"kernel setting {name}: put back")
    for name in base.prune(store.base, store.used_bases(), everything=purge):
        progress(f"base {name}: removed")
    progress(f"lab {store.topology.name} is down")


def reset(store: Store, progress: Progress) -> None:
    """Give every node an empty disk again; addresses, host keys and the operator's key stay."""
    _require_up(store)
    members = store.members()
    machines = [Machine(store, node) for node in members.nodes(store.topology)]
    network.ensure_bridge(store.topology)
    built = base.ensure(store.base, progress)
    for machine in machines:
        machine.kill()
    store.clear_state()
    store.ensure_state()
    for machine in machines:
        _bring_up(machine, Plan.CREATE, built, progress)
    store.write_known_hosts(members)
    _wait(machines, progress)
    _offer_packages(store, machines, progress)
    progress(f"lab {store.topology.name} is bare: {len(machines)} nodes")


def add(store: Store, progress: Progress, name: str, role: str, address: str | None, gpus: int) -> None:
    """Rack one more machine: by default at the role's next address that no node ever had."""
    _require_up(store)
    topology = store.topology
    members = store.members()
    where = parse_address(address, "--address") if address else topology.next_address(role, members.used)
    node = Node.from_dict({"name": name, "role": role, "address": str(where), "gpus": gpus}, "add")
    topology.check([*members.nodes(topology), node])
    members = members.with_node(node).remembering(topology)
    store.save(members)
    machine = Machine(store, node)
    _bring_up(machine, Plan.CREATE, base.ensure(store.base, progress), progress)
    store.write_known_hosts(members)
    _wait([machine], progress)
    _offer_packages(store, [machine], progress)
    progress(f"{name}: {role} at {node.address} is there")


def remove(store: Store, progress: Progress, name: str) -> None:
    """Take one machine out of the lab for good; `up` does not bring it back, `add` may."""
    node = store.require_member(name)
    Machine(store, node).remove()
    members = store.members().without(name, store.topology)
    store.save(members)
    store.write_known_hosts(members)
    progress(f"{name}: removed")


def kill(store: Store, progress: Progress, name: str) -> None:
    machine = Machine(store, store.require_member(name))
    if not machine.running():
        return progress(f"{name}: unchanged: already off")
    machine.kill()
    progress(f"{name}: power cut")


def start(store: Store, progress: Progress, name: str) -> None:
    machine = Machine(store, store.require_member(name))
    if machine.running():
        return progress(f"{name}: unchanged: already runs")
    if not network.exists(store.topology.bridge) or not machine.facts().prepared:
        raise LabError(f"{name}: the lab around it is incomplete; run `lab/lab up`")
    machine.start()
    _wait([machine], progress)


def cut(store: Store, progress: Progress, name: str) -> None:
    machine = _running(store, name)
    network.cut(machine.interface)
    progress(f"{name}: cut off the network")


def heal(store: Store, progress: Progress, name: str) -> None:
    machine = _running(store, name)
    network.heal(store.topology, machine.interface)
    progress(f"{name}: back on the network")


def _running(store: Store, name: str) -> Machine:
    machine = Machine(store, store.require_member(name))
    if not machine.running():
        raise LabError(f"{name}: is off; its network cable does nothing. Run `lab/lab start {name}`")
    return machine


def _require_up(store: Store) -> None:
    if not store.exists():
        raise UsageError(f"lab {store.topology.name}: not up; run `lab/lab up`")
