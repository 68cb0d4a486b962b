"""Looks at the GPU nodes again and again. Its memory is how long each has been as it is; the taints are the nodes' own."""

from __future__ import annotations

import faulthandler
import json
import threading
import time
from collections.abc import Callable, Mapping

from cluster_api import ApiError

from gpu_health.api import Api, read, with_taint, without_taint
from gpu_health.decision import Decision, Streak, decide

HUNG_SECONDS = 120.0


def say(level: str, message: str, **more: object) -> None:
    """One JSON line."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": now, "level": level, "message": message, **more}, ensure_ascii=False), flush=True)


class Controller:
    """`clock` is in seconds and only goes forward."""

    def __init__(
        self, api: Api, wanted: Mapping[str, int], patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._wanted, self._patience, self._clock = api, wanted, patience, clock
        self._streaks: Mapping[str, Streak] = {}
        self._held_back: tuple[str, ...] = ()
        self._away = False

    def run(self, look_seconds: float, stop: threading.Event) -> None:
        """Until `stop`. A turn that hangs ends the process with a trace; the kubelet starts it again."""
        while not stop.is_set():
            faulthandler.dump_traceback_later(HUNG_SECONDS + look_seconds, exit=True)
            self.turn()
            stop.wait(look_seconds)

    def turn(self) -> None:
        try:
            self._look_and_act()
        except ApiError as error:
            # What was not seen may have changed and changed back: every streak begins anew.
            self._streaks = {}
            if not self._away:
                say("error", "no use of the API; trying on", reason=str(error))
            self._away = True
            return
        if self._away:
            say("info", "the API answers again")
        self._away = False

    def _look_and_act(self) -> None:
        found = {name: self._api.node(name) for name in self._wanted}
        nodes = {name: node for name, node in found.items() if node is not None}
        seen = {name: read(node) for name, node in nodes.items()}
        decision = decide(self._wanted, seen, self._streaks, self._clock(), self._patience)
        self._streaks = decision.streaks
        self._tell_held_back(decision)
        for names, taints, message in (
            (decision.add, with_taint, "tainted: short of GPUs"),
            (decision.remove, without_taint, "taint removed: all GPUs are back"),
        ):
            for name in names:
                # A node that changed in between is looked at again in the next turn.
                if self._api.set_taints(nodes[name], taints(nodes[name])):
                    say("info", message, node=name, gpus=seen[name].gpus, wanted=self._wanted[name])

    def _tell_held_back(self, decision: Decision) -> None:
        if decision.held_back and decision.held_back != self._held_back:
            reason = (
                "fewer than half of the GPU nodes are open to pods and have all their GPUs; is it the device plugin?"
            )
            say("warning", "short of GPUs, not tainted", nodes=list(decision.held_back), reason=reason)
        self._held_back = decision.held_back
