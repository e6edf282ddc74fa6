"""A model that keeps failing is left alone for a while, then tried again by one caller.

```text
closed ── failures in a row ──> open ── open_s later ──> half open: one caller tries it, for the others it is open
   ▲                             ▲                           │
   └──────── an answer ──────────┼───────────────────────────┤
                                 └──── another failure ──────┘
```
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from langchain_tiered.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from langchain_tiered.types import FailureKind

_COUNTED: frozenset[FailureKind] = frozenset({"outage", "timeout"})


@dataclass
class _Trouble:
    """What is known of a model that has failed since its last answer."""

    failures: int = 0
    open_until: float = -math.inf


class Circuit:
    """Remembers which models are down: one for each agent, shared by all of its runs and threads.

    Only outages and timeouts count. Whatever else goes wrong neither opens a circuit nor closes one: a rate limit says
    when to come back, and an overflow is the request's affair. What is remembered grows with the models, not the calls.

    Raises:
        ConfigurationError: If `failures` is no whole number from 1, or `open_s` no number of seconds above 0.
    """

    def __init__(self, failures: int = 3, open_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the limits.

        Args:
            failures: How many failures in a row open a model's circuit.
            open_s: How long it stays open before one caller may try the model again, in seconds.
            clock: Tells the time in seconds; it never goes back.
        """
        if not isinstance(failures, int) or isinstance(failures, bool) or failures < 1:
            raise ConfigurationError(f"Circuit(failures={failures!r}): give a whole number of failures, at least 1.")
        if not isinstance(open_s, (int, float)) or isinstance(open_s, bool) or not 0 < open_s < math.inf:
            raise ConfigurationError(f"Circuit(open_s={open_s!r}): give a number of seconds above 0.")
        self._failures, self._open_s, self._clock = failures, open_s, clock
        self._lock = Lock()
        self._troubles: dict[Hashable, _Trouble] = {}

    def failed(self, model: Hashable, kind: FailureKind) -> None:
        """Note that a call of a model failed. From the last failure of the row on, its circuit is open for `open_s`."""
        if kind not in _COUNTED:
            return
        with self._lock:
            trouble = self._troubles.setdefault(model, _Trouble())
            trouble.failures += 1
            if trouble.failures >= self._failures:
                trouble.open_until = self._clock() + self._open_s

    def answered(self, model: Hashable) -> None:
        """Note that a model has answered: its circuit is closed, and its failures are forgotten."""
        if self._troubles:
            with self._lock:
                self._troubles.pop(model, None)

    def is_open(self, model: Hashable) -> bool:
        """Tell whether a model is to be left alone; ask right before a call, since `False` may be leave to try it.

        When `open_s` is over, one caller gets that leave. The others hear `True` until its call is noted here, or until
        `open_s` is over again: a caller that never says how its call went does not keep the model out for ever.
        """
        if not self._troubles:  # nearly always: this is asked before each call
            return False
        with self._lock:
            trouble = self._troubles.get(model)
            if trouble is None or trouble.failures < self._failures:
                return False
            now = self._clock()
            if now < trouble.open_until:
                return True
            trouble.open_until = now + self._open_s
            return False

    def opened(self) -> frozenset[Any]:
        """Return the models to be left alone now. Unlike `is_open`, this gives nobody leave to try one."""
        if not self._troubles:
            return frozenset()
        with self._lock:
            now = self._clock()
            return frozenset(model for model, trouble in self._troubles.items() if now < trouble.open_until)
