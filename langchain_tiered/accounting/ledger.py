"""What was paid: the entries of a run, a thread or a block, and their sums. Pure: plain values in, plain values out."""

from __future__ import annotations

from itertools import chain
from math import fsum
from typing import TYPE_CHECKING, Any

from langchain_tiered.accounting.rates import price_usd
from langchain_tiered.accounting.usage import Tokens
from langchain_tiered.types import LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

NONE = "none"
"""The group of entries that belong to no tier, or to no run."""

UNKNOWN = "unknown"
"""Stands in `Ledger.unpriced` for a model whose name nobody said."""

MALFORMED = "valid_tool_calls"
"""The check that rejects a call which no tool can run."""

_NOTHING_TOLD = LedgerEntry(
    id="",
    run_id=None,
    task_id=None,
    role="other",
    tier=None,
    model=None,
    input_tokens=None,
    cached_tokens=None,
    output_tokens=None,
    reasoning_tokens=None,
    cost_usd=None,
    latency_s=None,
    outcome="accepted",
)
"""What is known of an entry before it tells anything."""

_KEYS = _NOTHING_TOLD.keys()


class Ledger:
    """The entries of a run, a thread or a block, in the order in which they were booked, and their sums. Immutable.

    ```python
    ledger = Ledger(result["ledger"])
    ledger.last_run().total_usd
    ```

    A sum of dollars is `None` as soon as one of its parts is unknown; `unpriced` names the models that make it so. An
    entry that arrives twice is counted once. Of an entry of an older version, what it does not tell is unknown.
    """

    def __init__(self, entries: Iterable[LedgerEntry] = ()) -> None:
        self._entries = tuple(book(None, entries))

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """The entries, oldest first."""
        return self._entries

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(self.entries)

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(book(self.entries, other.entries))

    def __repr__(self) -> str:
        total = self.total_usd
        told = f"unpriced: {', '.join(self.unpriced)}" if total is None else f"${total:.6f}"
        return f"<Ledger of {len(self)} calls, {told}>"

    @property
    def total_usd(self) -> float | None:
        """What all calls cost, or `None` when the cost of one is unknown."""
        return _sum(entry["cost_usd"] for entry in self.entries)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models of the calls whose cost is unknown, sorted; `unknown` for one whose name nobody said."""
        return tuple(sorted({entry["model"] or UNKNOWN for entry in self.entries if entry["cost_usd"] is None}))

    @property
    def malformed_rate(self) -> float | None:
        """The share of the calls for tools that could not be run, from `0` to `1`; `None` where no tool was called.

        By tier: `{name: ledger.malformed_rate for name, ledger in ledger.by_tier().items()}`.
        """
        answers = [entry for entry in self.entries if entry["role"] == "answer"]
        malformed = sum(entry.get("rejected_by") == MALFORMED for entry in answers)
        calls = malformed + sum(entry["outcome"] == "tool_turn" for entry in answers)
        return malformed / calls if calls else None

    def last_run(self) -> Ledger:
        """Return the entries of the run that the last entry was booked in."""
        entries = self.entries
        return Ledger(entry for entry in entries if entry["run_id"] == entries[-1]["run_id"])

    def by_run(self) -> dict[str, Ledger]:
        """Return a ledger for each run, in order of appearance; `none` is for calls outside our graphs."""
        return self._by(lambda entry: entry["run_id"] or NONE)

    def by_tier(self) -> dict[str, Ledger]:
        """Return a ledger for each tier, in order of appearance; `none` is for calls outside the tiers."""
        return self._by(lambda entry: entry["tier"] or NONE)

    def by_role(self) -> dict[str, Ledger]:
        """Return a ledger for each role, in order of appearance."""
        return self._by(lambda entry: entry["role"])

    def usage(self) -> dict[str, Any]:
        """Return all tokens in the shape of a message's `usage_metadata`. What was not reported adds nothing."""
        input_tokens = sum(entry["input_tokens"] or 0 for entry in self.entries)
        output_tokens = sum(entry["output_tokens"] or 0 for entry in self.entries)
        return {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
            "input_token_details": {"cache_read": sum(entry["cached_tokens"] or 0 for entry in self.entries)},
            "output_token_details": {"reasoning": sum(entry["reasoning_tokens"] or 0 for entry in self.entries)},
        }

    def baseline_usd(self, model: str) -> float | None:
        """Estimate what the same work would have cost had one model done all of it, without tiers.

        Every answering call that led to an answer is priced at that model's published rate, with the tokens that it
        really used. Without tiers there are no classifier calls, no judges, and no attempts that were rejected or
        failed: they cost nothing here. Whatever the tiers do not decide (plans, reviews, summaries, calls that tools
        and middleware make) costs what it did cost.

        It is an estimate: another model would have said other words, more or fewer, and reused its prompt cache more
        or less often.

        Args:
            model: The model that would have answered, such as `openai:gpt-5.4`.

        Returns:
            The estimate in USD, or `None` when the model has no known price, or a call of unknown tokens counts.
        """
        return _sum(_baseline_usd(entry, model) for entry in self.entries)

    def saved_usd(self, model: str) -> float | None:
        """Return `baseline_usd` less `total_usd`; below zero when the tiers cost more, `None` when one is unknown."""
        baseline, total = self.baseline_usd(model), self.total_usd
        return None if baseline is None or total is None else baseline - total

    def _by(self, key: Callable[[LedgerEntry], str]) -> dict[str, Ledger]:
        groups: dict[str, list[LedgerEntry]] = {}
        for entry in self.entries:
            groups.setdefault(key(entry), []).append(entry)
        return {name: Ledger(entries) for name, entries in groups.items()}


def book(left: Iterable[LedgerEntry] | None, right: Iterable[LedgerEntry] | None) -> list[LedgerEntry]:
    """Add entries to a ledger's list: the reducer of the `ledger` channel.

    An entry whose id is there already takes the old one's place: an outcome may be corrected later, and a sub-graph may
    hand back entries that it was given. A stored thread may hold entries of an older version: they are made whole.
    """
    # A dictionary keeps a key's place when its value is replaced.
    booked: dict[str, LedgerEntry] = {}
    for place, entry in enumerate(chain(left or (), right or ())):
        whole = entry if entry.keys() >= _KEYS else _made_whole(entry, place)
        booked[whole["id"]] = whole
    return list(booked.values())


def _made_whole(entry: Mapping[str, Any], place: int) -> LedgerEntry:
    """Return an entry with all its keys: what it does not tell is unknown, never `0`. One without an id gets one."""
    told: Any = {**_NOTHING_TOLD, "id": f"unnamed-{place}", **entry}
    whole: LedgerEntry = told
    return whole


def _sum(costs: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for cost in costs:
        if cost is None:
            return None
        known.append(cost)
    return fsum(known)


def _baseline_usd(entry: LedgerEntry, model: str) -> float | None:
    if entry["role"] in {"classify", "judge"}:
        return 0.0
    if entry["role"] != "answer":
        return entry["cost_usd"]
    if entry["outcome"] in {"rejected", "failed"}:
        return 0.0
    used = Tokens(
        input_tokens=entry["input_tokens"],
        output_tokens=entry["output_tokens"],
        cached_tokens=entry["cached_tokens"],
    )
    price = price_usd(model, used)
    return None if price is None else price + entry.get("tools_usd", 0.0)
