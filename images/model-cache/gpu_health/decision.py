"""Which nodes get the taint and which lose it: a pure function of what was seen of them and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One look at a node. `gpus` are allocatable ones; None: no device plugin has ever registered with its kubelet."""

    gpus: int | None
    ready: bool
    cordoned: bool
    tainted: bool


@dataclass(frozen=True, slots=True)
class Streak:
    """Short of GPUs, or whole, in every look since `since` (seconds of a clock that only goes forward)."""

    short: bool
    since: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Nodes by name. `held_back` are sick too, but too few others are open and sound."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    streaks: Mapping[str, Streak]


def decide(
    wanted: Mapping[str, int],
    seen: Mapping[str, Seen],
    before: Mapping[str, Streak],
    now: float,
    patience: float,
) -> Decision:
    """`wanted` are all GPU nodes with their GPUs, `seen` those that exist, `before` the streaks of the last decision.

    A node changes hands after `patience` seconds of one and the same answer. None is tainted unless at least half of all are open
    to pods (not dead, cordoned or tainted) and not short themselves, for however little time: that many at once are a broken
    driver or plugin rather than broken GPUs.
    """
    streaks = {}
    for name, node in seen.items():
        short = is_short(node, wanted[name])
        if short is not None:
            last = before.get(name)
            streaks[name] = last if last and last.short is short else Streak(short, now)
    due = sorted(name for name, streak in streaks.items() if now - streak.since >= patience)
    sick = tuple(name for name in due if streaks[name].short and not seen[name].tainted)
    well = tuple(name for name in due if not streaks[name].short and seen[name].tainted)
    sound = [
        name
        for name, node in seen.items()
        if node.ready and not node.cordoned and not node.tainted and not (name in streaks and streaks[name].short)
    ]
    if 2 * len(sound) < len(wanted):
        return Decision(held_back=sick, remove=well, streaks=streaks)
    return Decision(add=sick, remove=well, streaks=streaks)


def is_short(node: Seen, wanted: int) -> bool | None:
    """None: not for us to judge. What a dead node had last says nothing; one that was never set up has lost nothing.

    A cordoned node is closed already, and its GPUs go away while its driver is exchanged.
    """
    if not node.ready or node.gpus is None:
        return None
    if node.gpus >= wanted:
        return False
    return None if node.cordoned else True
