"""Which conversation each open page shows, so that an answer stops being drawn the moment its reader goes elsewhere.

Gradio's own `cancels` runs in the browser after the event that leaves has ended, and Gradio repeats a generator's last
values when it ends: both can draw a left, or deleted, conversation over the one that was opened next.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PAGES = 20_000
"""Pages remembered, the ones used last: about 4 MB. One that is forgotten is treated as new."""
LEAVING_LIMIT = 2.0
"""Seconds to wait for an answer to stop being drawn: one frame, unless the page's connection is lost."""


@dataclass(eq=False)
class Watch:
    """An answer that is drawn while it grows; `left` is set when its page goes elsewhere."""

    left: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Page:
    conversation: str | None = None
    watches: set[Watch] = field(default_factory=set)


class OpenPages:
    """By Gradio's session hash: one page of one browser tab, always served by the same process."""

    def __init__(self, most: int = PAGES) -> None:
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._most = most

    def show(self, page: str, conversation: str) -> None:
        self._page(page).conversation = conversation

    def shows(self, page: str, conversation: str) -> bool:
        """False only when it is known to show another one."""
        return self._page(page).conversation in (None, conversation)

    @contextmanager
    def watching(self, page: str) -> Iterator[Watch]:
        watch = Watch()
        watches = self._page(page).watches
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            watch.over.set()

    async def leave(self, page: str) -> None:
        """Returns when nothing of what grew on the page can be drawn any more."""
        here = self._page(page)
        here.conversation = ""
        waiting = [asyncio.create_task(watch.over.wait()) for watch in here.watches]
        for watch in here.watches:
            watch.left.set()
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=LEAVING_LIMIT)
            for task in late:
                task.cancel()

    def _page(self, page: str) -> _Page:
        here = self._pages.setdefault(page, _Page())
        self._pages.move_to_end(page)
        while len(self._pages) > self._most:
            self._pages.popitem(last=False)
        return here
