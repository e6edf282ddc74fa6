"""`Budget`, what a run and a thread may cost, and the `Meter` that the branches of a run share to keep within it.

A call reserves the most that it is likely to cost before it is made, and settles what it did cost after it. What is
spent passes a limit only where a call has cost more than was reserved for it, and by no more than that.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import count
from math import fsum
from operator import itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from typing_extensions import TypedDict

from langchain_tiered.accounting.ledger import UNKNOWN, book
from langchain_tiered.errors import BudgetExceededError, InvalidBudgetError
from langchain_tiered.types.options import options_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_tiered.types import LedgerEntry

Scope: TypeAlias = Literal["run", "thread"]

_EXITS = ("end", "error", "downgrade")


class BudgetEvent(TypedDict):
    """Tells that what was spent has reached a share of a limit; once for each scope and share."""

    type: Literal["tiered_budget"]
    """What kind of event it is."""

    scope: Scope
    """Whose limit it is."""

    share: float
    """The share that was reached, as in `Budget.warn_at`."""

    spent_usd: float
    """What the run, or the thread, has spent."""

    limit_usd: float
    """The limit."""


@dataclass(frozen=True)
class Budget:
    """What a run and a thread may cost, in USD, and what happens at the limit.

    ```python
    Budget(run_limit_usd=0.05, thread_limit_usd=1, exit_behavior="downgrade")
    ```

    Raises:
        InvalidBudgetError: If there is no limit, or a setting is out of range; says which and what was expected.
    """

    run_limit_usd: float | None = None
    """What one invocation may cost, or `None` for no limit."""

    thread_limit_usd: float | None = None
    """What a thread may cost over all its runs, or `None` for no limit. It counts what the thread's ledger holds; in
    another graph an agent keeps one over its runs only with `checkpointer=True`."""

    exit_behavior: Literal["end", "error", "downgrade"] = "end"
    """What then, when the next call does not fit: `end` the run with what there is, raise a `BudgetExceededError`, or
    `downgrade` to tiers that are cheap enough, and end where none is."""

    warn_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Shares of a limit, above `0` and up to `1`, at which an event tells how much is spent."""

    def __post_init__(self) -> None:
        for name in ("run_limit_usd", "thread_limit_usd"):
            value = getattr(self, name)
            _expect(value is None or _is_above_zero(value), name, value, "a number of USD above 0, or None")
        if self.run_limit_usd is None and self.thread_limit_usd is None:
            raise InvalidBudgetError(
                "The budget has no limit: run_limit_usd=None and thread_limit_usd=None. "
                "Write Budget(run_limit_usd=0.05), or pass budget=None for none at all."
            )
        _expect(self.exit_behavior in _EXITS, "exit_behavior", self.exit_behavior, " or ".join(map(repr, _EXITS)))
        shares = self.warn_at if isinstance(self.warn_at, (tuple, list)) else (self.warn_at,)
        fitting = all(_is_above_zero(share) and share <= 1 for share in shares)
        _expect(fitting, "warn_at", self.warn_at, "shares above 0 and up to 1, such as (0.5, 0.8, 1.0)")
        object.__setattr__(self, "warn_at", tuple(sorted(set(shares))))

    def to_json(self) -> str:
        """Return the budget as a JSON object, for a file or a review."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Budget:
        """Return the budget that `to_json` wrote; settings left out have their defaults.

        Raises:
            InvalidBudgetError: If the text is no JSON object, has an unknown key, or a setting is out of range.
        """
        return cls(**options_of(cls, text, InvalidBudgetError))

    def limit_usd(self, scope: Scope) -> float | None:
        """Return the limit of a scope, or `None` where it has none."""
        return self.run_limit_usd if scope == "run" else self.thread_limit_usd


@dataclass(frozen=True)
class Reservation:
    """Money held for a call that is about to be made."""

    id: int
    """Tells the reservations of a meter apart."""

    estimate_usd: float
    """What is held."""

    model: str | None
    """The model that is called, by name, or `None` when nobody said."""


@dataclass
class _Account:
    """What one scope has spent."""

    limit: Decimal | None
    spent: Decimal
    told: int = 0
    """How many of the shares have been told of."""

    def left(self) -> Decimal:
        return Decimal("Infinity") if self.limit is None else self.limit - self.spent


class Meter:
    """Money spent and held by the branches of one run, under one lock: made at the run's start, and never stored.

    ```python
    meter = Meter.begun(Budget(run_limit_usd=0.05), state["ledger"], run_id)
    reservation = meter.reserve(estimate_usd("openai:gpt-5.4-nano", facts))
    try:
        ...  # the call
        events = meter.settle(reservation, entry["cost_usd"])
    finally:
        meter.release(reservation)  # does nothing where it was settled
    ```

    A call of unknown cost counts as what was reserved for it, never as nothing, and `unknown` names its model. Amounts
    are added up as the decimal numbers that they are written as, so that three times 0.1 fit into 0.3.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget, self._lock, self._ids = budget, Lock(), count(1)
        self._accounts: dict[Scope, _Account] = {
            "run": _Account(_usd(budget.run_limit_usd), Decimal(0)),
            "thread": _Account(_usd(budget.thread_limit_usd), Decimal(0)),
        }
        self._held: dict[int, Decimal] = {}
        self._settled: set[int] = set()
        self._unknown: set[str] = set()
        self._assumed = self._dearest = Decimal(0)

    @classmethod
    def begun(cls, budget: Budget, entries: Iterable[LedgerEntry], run_id: str | None) -> Meter:
        """Return the meter of a run that begins, or goes on after an interrupt, in a thread with a ledger.

        An entry of unknown cost counts as its `reserved_usd` where a run has booked that, else as much as the dearest
        call of the thread. Shares of a limit that the thread has reached before are not told of again.

        Args:
            budget: The limits.
            entries: The ledger of the thread, as it is stored.
            run_id: The run; entries that it has booked already count for both limits.
        """
        meter, booked = cls(budget), _booked(entries)
        # The known costs are added up at once: a ledger may be long, and this is done in every run.
        costs = [entry["cost_usd"] for entry in booked]
        known = [cost for cost in costs if cost is not None]
        of_run = [entry for entry in booked if run_id is not None and entry["run_id"] == run_id]
        meter._dearest = _amount(max(known, default=0.0))
        meter._accounts["thread"].spent = _sum_usd(known)
        meter._accounts["run"].spent = _sum_usd(entry["cost_usd"] for entry in of_run if entry["cost_usd"] is not None)
        for entry in booked if len(known) < len(costs) else ():
            if entry["cost_usd"] is None:
                is_of_run = run_id is not None and entry["run_id"] == run_id
                reserved: float | None = dict[str, Any](entry).get("reserved_usd")
                meter._spend(None, _usd(reserved), entry["model"], ("run", "thread") if is_of_run else ("thread",))
        for scope in meter._accounts:
            meter._reached(scope)
        return meter

    @property
    def remaining_usd(self) -> float:
        """What may still be spent or reserved: the least that a limit leaves. Below `0` where estimates were wrong."""
        with self._lock:
            return float(min(account.left() for account in self._accounts.values()) - self._reserved)

    @property
    def spent_usd(self) -> float:
        """What the run has spent."""
        return float(self._accounts["run"].spent)

    @property
    def thread_spent_usd(self) -> float:
        """What the thread has spent, this run included."""
        return float(self._accounts["thread"].spent)

    @property
    def reserved_usd(self) -> float:
        """What is held for calls under way."""
        with self._lock:
            return float(self._reserved)

    @property
    def assumed_usd(self) -> float:
        """How much of what the thread has spent is an estimate, because the cost of a call is unknown."""
        return float(self._assumed)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The models of the calls whose cost is unknown, sorted; `unknown` for one whose name nobody said."""
        with self._lock:
            return tuple(sorted(self._unknown))

    def fits(self, estimate_usd: float) -> bool:
        """Tell whether a call of so much would be let through now. Only `reserve` makes sure of it."""
        estimate = _amount(estimate_usd)
        with self._lock:
            return self._short_scope(estimate) is None

    def reserve(self, estimate_usd: float, model: str | None = None) -> Reservation:
        """Hold money for a call that is about to be made.

        Args:
            estimate_usd: The most that the call is likely to cost; see `estimate_usd`.
            model: The model that is called, by name, for `unknown`.

        Raises:
            BudgetExceededError: If a limit would be passed, with the figures of this moment; then nothing is held.
            InvalidBudgetError: If the estimate is no number of USD, at least 0.
        """
        estimate = _amount(estimate_usd)
        with self._lock:
            if (scope := self._short_scope(estimate)) is not None:
                account = self._accounts[scope]
                raise BudgetExceededError(
                    scope,
                    limit_usd=self._budget.limit_usd(scope) or 0.0,
                    spent_usd=float(account.spent),
                    reserved_usd=float(self._reserved),
                    wanted_usd=float(estimate),
                )
            reservation = Reservation(next(self._ids), float(estimate), model)
            self._held[reservation.id] = estimate
            return reservation

    def settle(self, reservation: Reservation, cost_usd: float | None) -> list[BudgetEvent]:
        """Book what a call cost and give back what was held for it; return the events of the shares now reached.

        Settling twice counts once. A call whose reservation was released before, such as one that ends after its
        branch was cancelled, counts all the same.

        Args:
            reservation: What `reserve` gave.
            cost_usd: The price of the call, or `None` when it cannot be known: what was reserved counts.
        """
        with self._lock:
            if reservation.id in self._settled:
                return []
            self._settled.add(reservation.id)
            self._held.pop(reservation.id, None)
            return self._spend(cost_usd, _amount(reservation.estimate_usd), reservation.model)

    def release(self, reservation: Reservation) -> None:
        """Give back what was held for a call that was not made, or cost nothing; does nothing where it was settled."""
        with self._lock:
            self._held.pop(reservation.id, None)

    def spend(self, cost_usd: float | None, model: str | None = None) -> list[BudgetEvent]:
        """Book a call that nobody reserved for, such as one that a tool made; return events as `settle` does.

        Args:
            cost_usd: The price of the call, or `None` when it is unknown: the dearest call so far counts.
            model: The model that was called, by name.
        """
        with self._lock:
            return self._spend(cost_usd, None, model)

    @property
    def _reserved(self) -> Decimal:
        return sum(self._held.values(), Decimal(0))

    def _short_scope(self, estimate: Decimal) -> Scope | None:
        """Return the scope with the least left, where that is too little; `None` where the estimate fits."""
        scope: Scope = min(self._accounts, key=lambda each: self._accounts[each].left())
        return scope if self._accounts[scope].left() - self._reserved < estimate else None

    def _spend(
        self,
        cost_usd: float | None,
        assumed: Decimal | None,
        model: str | None,
        scopes: Sequence[Scope] = ("run", "thread"),
    ) -> list[BudgetEvent]:
        cost = _usd(cost_usd)
        if cost is None:
            cost = self._dearest if assumed is None else assumed
            self._assumed += cost
            self._unknown.add(model or UNKNOWN)
        self._dearest = max(self._dearest, cost)
        events = []
        for scope in scopes:
            self._accounts[scope].spent += cost
            events += self._reached(scope)
        return events

    def _reached(self, scope: Scope) -> list[BudgetEvent]:
        """Return the events of the shares that a scope has reached and nobody was told of."""
        account, events = self._accounts[scope], []
        for share in self._budget.warn_at[account.told :]:
            if account.limit is None or account.spent < account.limit * _amount(share):
                break
            account.told += 1
            events.append(
                BudgetEvent(
                    type="tiered_budget",
                    scope=scope,
                    share=share,
                    spent_usd=float(account.spent),
                    limit_usd=float(account.limit),
                )
            )
        return events


def _expect(holds: bool, name: str, value: Any, expected: str) -> None:  # noqa: FBT001  (an assertion's condition)
    if not holds:
        raise InvalidBudgetError(f"Budget {name}={value!r}: expected {expected}.")


def _is_above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def _usd(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(float(value)))


_READ = itemgetter("id", "cost_usd", "run_id", "model")
"""All that a meter reads of an entry."""


def _booked(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Return each entry once, as the reducer of the ledger leaves them; those of a stored ledger mostly are."""
    told = list(entries)
    try:
        ids = {read[0] for read in map(_READ, told)}
    except KeyError:  # an older version's
        return book(None, told)
    return told if len(ids) == len(told) else book(None, told)


def _sum_usd(costs: Iterable[float]) -> Decimal:
    """Return the sum to a millionth of a millionth of a dollar, which makes it that of the numbers as written."""
    return Decimal(repr(round(fsum(costs), 12)))


def _amount(estimate_usd: float) -> Decimal:
    amount = _usd(estimate_usd)
    if amount is None or not amount.is_finite() or amount < 0:
        raise InvalidBudgetError(
            f"The estimate of a call is {estimate_usd!r}: expected a number of USD, at least 0. "
            "A budget in dollars cannot hold a call of unknown price: give Tier(rates=Rates(...))."
        )
    return amount
