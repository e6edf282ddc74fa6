"""Watch an event loop, and tell how long its callbacks are blocked by code of ours.

asyncio's debug mode tells only that a callback was slow, not whose code was slow in it: LangGraph steps nodes of ours
and of others in one. So a thread looks, every millisecond, at what the loop's thread is doing. The time since it
looked last counts as ours where the innermost frames are ours, or plain functions that ours have called, down to any
library. What ours only await (a loop of `create_agent`, a model, a user's tool) is theirs again, unless it calls ours.
The collector's time is taken off: garbage is everybody's.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import langchain_tiered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PACKAGE = str(Path(langchain_tiered.__file__).parent)
AWAITED = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
EVERY_S = 0.001


@dataclass
class Watch:
    """What was seen of one event loop."""

    slowest_s: float = 0.0
    """The longest time of one callback that was all ours."""

    where: tuple[str, ...] = ()
    """The frames of ours in that callback, where most of it went."""

    callbacks: int = 0
    """How many callbacks ran."""

    looks: int = 0
    """How often the watching thread looked while one ran."""

    collected_s: float = 0.0
    """How long the collector ran, all told."""

    _since: float | None = field(default=None, repr=False)
    _ours: dict[tuple[str, ...], float] = field(default_factory=dict, repr=False)
    _seen: float = field(default=0.0, repr=False)
    _collecting: float | None = field(default=None, repr=False)
    _stack: tuple[str, ...] = field(default=(), repr=False)
    _lock: Any = field(default_factory=threading.RLock, repr=False)

    def begin(self) -> None:
        """Note that a callback begins."""
        with self._lock:
            self._since = self._seen = perf_counter()
            self._ours, self._stack = {}, ()
            self.callbacks += 1

    def end(self) -> None:
        """Note that it ends; what nobody saw of it counts as what was seen last."""
        with self._lock:
            self._count(self._stack)
            self._since = None
            ours_s = sum(self._ours.values())
            if ours_s > self.slowest_s:
                self.slowest_s, self.where = ours_s, max(self._ours, key=lambda each: self._ours[each])

    def look(self, thread: int) -> None:
        """Note what the loop's thread is doing, if it runs a callback."""
        frame = sys._current_frames().get(thread)
        stack = frames_of_ours(frame)
        with self._lock:
            if self._since is not None:
                self.looks += 1
                self._count(stack)
                self._stack = stack

    def collecting(self, phase: str, _: Any) -> None:
        """Take the collector's time off; it holds the interpreter, whichever thread it runs in."""
        now = perf_counter()
        if phase == "start":
            self._collecting = now
        elif self._collecting is not None:
            self.collected_s += now - self._collecting
            self._seen += now - self._collecting
            self._collecting = None

    def _count(self, stack: tuple[str, ...]) -> None:
        now = perf_counter() if self._collecting is None else self._collecting
        if stack:
            self._ours[stack] = self._ours.get(stack, 0.0) + max(0.0, now - self._seen)
        self._seen = now


def frames_of_ours(frame: FrameType | None) -> tuple[str, ...]:
    """Return our frames, outermost first, where what runs is ours or a plain function under it; else nothing."""
    ours: list[str] = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            ours.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
        elif code.co_flags & AWAITED:
            break
        frame = frame.f_back
    return tuple(reversed(ours))


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch the event loop of the calling thread."""
    watch, done, thread = Watch(), threading.Event(), threading.get_ident()
    plain, interval = asyncio.Handle._run, sys.getswitchinterval()

    def run(handle: asyncio.Handle) -> None:
        if threading.get_ident() != thread:  # another loop, in a thread of somebody's
            plain(handle)
            return
        watch.begin()
        try:
            plain(handle)
        finally:
            watch.end()

    def looking() -> None:
        while not done.wait(EVERY_S):
            watch.look(thread)

    looker = threading.Thread(target=looking, daemon=True)
    asyncio.Handle._run = run  # type: ignore[method-assign,assignment]
    gc.callbacks.append(watch.collecting)
    sys.setswitchinterval(EVERY_S)
    looker.start()
    try:
        yield watch
    finally:
        done.set()
        looker.join()
        sys.setswitchinterval(interval)
        gc.callbacks.remove(watch.collecting)
        asyncio.Handle._run = plain  # type: ignore[method-assign]
