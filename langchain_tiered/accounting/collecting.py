"""`collect_ledger`, which books every model call of a block, and what must tell all who record a call."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

from langchain_core.tracers.context import register_configure_hook

from langchain_tiered.accounting.ledger import Ledger
from langchain_tiered.accounting.recorder import Recorder, heard_by, known, recorders_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.types import LedgerEntry


class _Collector(Recorder):
    """The recorder of a `collect_ledger` block, which hands on to the block around it."""

    is_block = True

    def __init__(self, outer: _Collector | None) -> None:
        super().__init__()
        self.outer = outer
        known(self)

    def book(self, entries: Iterable[LedgerEntry]) -> None:
        entries = list(entries)
        super().book(entries)
        if self.outer is not None:
            self.outer.book(entries)


class _LiveLedger(Ledger):
    """A ledger that grows with its recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        return tuple(self._recorder.entries)


_apart: ContextVar[bool] = ContextVar("langchain_tiered_apart", default=False)
_collector: ContextVar[_Collector | None] = ContextVar("langchain_tiered_collector", default=None)
register_configure_hook(_collector, inheritable=True)


@contextmanager
def collect_ledger() -> Iterator[Ledger]:
    """Book every model call of a block, whatever happens in it; the ledger can be read in the block and after it.

    ```python
    with collect_ledger() as ledger:
        agent.invoke({"messages": [("user", "Refund order 1042.")]})
    ledger.total_usd
    ```

    Calls of any LangChain model are seen, in tasks and in the threads of LangChain and LangGraph too; a thread of your
    own is seen if it runs in a copy of the context. A block inside another one sees its own calls, the outer one all.
    """
    collector = _Collector(_collector.get())
    token = _collector.set(collector)
    try:
        yield _LiveLedger(collector)
    finally:
        collector.abandon()  # one that ends after the block is booked again, as it ended
        with suppress(ValueError):  # an async generator may be closed in another task, whose context is its own
            _collector.reset(token)


def rebook(entries: Iterable[LedgerEntry], config: RunnableConfig) -> None:
    """Book entries again whose outcome has changed, with all who saw their calls: the runs and the block around."""
    entries = list(entries)
    for recorder in recorders_around(config):
        recorder.book(entries)


def book_unseen(entry: LedgerEntry, config: RunnableConfig) -> None:
    """Book a call that is no chat model's, and that no recorder saw, with the runs and the block around."""
    for recorder in recorders_in(config):
        if recorder.metered is not None:
            recorder.metered.settle(UUID(entry["id"]), entry)
    rebook([entry], config)


def recorders_around(config: RunnableConfig) -> list[Recorder]:
    """Return all who are to see a call that is made under a config: the recorders of runs, and that of the block."""
    collector = _collector.get()
    if collector is None and not _apart.get():  # in a thread of one's own, where the config alone tells of the block
        collector = _innermost(config)
    return [*recorders_in(config), *((collector,) if collector is not None else ())]


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the calls of a block from `collect_ledger`, because whoever makes them books them."""
    token, apart = _collector.set(None), _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(apart)
        _collector.reset(token)


def _innermost(config: RunnableConfig) -> _Collector | None:
    """Return the collector of the innermost block among a config's callbacks, which hands on to those around it."""
    if not config.get("callbacks"):
        return None
    collectors = [each for each in heard_by(config) if isinstance(each, _Collector)]
    outer = [each.outer for each in collectors]
    return next((each for each in collectors if each not in outer), None)
