"""Hold the money of a call before it is made and settle it after, for the recorders that see the call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from langchain_core.messages import HumanMessage

from langchain_tiered.accounting.budget import Meter
from langchain_tiered.accounting.entries import role_of, terms_of
from langchain_tiered.accounting.estimates import declared_tokens, estimate_usd, likely_output_tokens
from langchain_tiered.cascade.failures import causes_of
from langchain_tiered.errors import BudgetExceededError, InvalidBudgetError
from langchain_tiered.routing.facts import counted_tokens
from langchain_tiered.types import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage

    from langchain_tiered.accounting.budget import Budget, BudgetEvent, Reservation
    from langchain_tiered.types import LedgerEntry

_MOST = ("max_completion_tokens", "max_output_tokens", "max_tokens", "num_predict")
"""What providers call the limit of an answer."""

_MOST_MEANT = 32_000
"""From so many tokens on a limit tells what a model can do, and nothing of what a call is likely to cost.

Anthropic's integration sends its model's own most where the user sets nothing: 64,000 or 128,000 today, and 32,000 and
more for all but the oldest models. Held in full, it would keep most budgets from ever making a call.
"""

_UNASKED = frozenset({4_096, 8_192})
"""What it sends for the oldest models, and for those that it does not know."""


class Metered:
    """The meter of one run with what it knows of the calls under way. Shared by all who see them, and never stored."""

    def __init__(
        self,
        budget: Budget,
        entries: Collection[LedgerEntry],
        run_id: str | None,
        tell: Callable[[BudgetEvent], None] | None = None,
    ) -> None:
        """Begin a run, or go on with one after an interrupt.

        Args:
            budget: The limits.
            entries: The ledger of the thread, as it is stored.
            run_id: The run.
            tell: Given each event of the budget, or `None` where nobody listens.
        """
        self._begin = partial(Meter.begun, budget, entries, run_id)
        self._entries = {entry["id"]: entry for entry in entries}
        self._lock = Lock()
        self._meter: Meter | None = None
        self.downgrades = budget.exit_behavior == "downgrade"
        """Whether a spent budget is to lower routes."""
        self._tell = tell or (lambda _: None)
        self._held: dict[UUID, Reservation] = {}
        self._refusals: WeakSet[BaseException] = WeakSet()
        self.has_refused = False
        """Whether a call was not let through."""

    def refused(self, error: BaseException) -> bool:
        """Tell whether it is this meter that did not let a call through, and no other one: an agent's in a tool."""
        return self.has_refused and any(cause in self._refusals for cause in causes_of(error))

    @property
    def meter(self) -> Meter:
        """The meter, made when it is first asked for: most nodes of a run make no call, and a ledger may be long."""
        with self._lock:
            if self._meter is None:
                self._meter = self._begin()
            return self._meter

    def hold(self, call: UUID, said: Sequence[Any], params: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Hold what a call is likely to cost at most. Several recorders may see it; it is held once.

        A model without a known price that a user's tool or check asks holds nothing, and counts as the dearest call.

        Raises:
            BudgetExceededError: If a limit would be passed: the call must not be made.
            InvalidBudgetError: If it is a tier's or the agent's own model whose price is unknown.
        """
        if call in self._held:
            return
        estimate = self._estimate_usd(said, params, metadata)
        if estimate is not None:
            try:
                self._held[call] = self.meter.reserve(estimate, metadata.get("ls_model_name"))
            except BudgetExceededError as error:
                self._refusals.add(error)
                self.has_refused = True
                raise
        elif role_of(metadata) == "answer":
            raise InvalidBudgetError(
                f"A budget in dollars cannot hold the model {metadata.get('ls_model_name')!r}, whose price is unknown: "
                "give Tier(rates=Rates(...)), or a model with a published price."
            )

    def release(self, call: UUID) -> None:
        """Give back what was held for a call that is not made, since another budget does not hold it."""
        held = self._held.pop(call, None)
        if held is not None:
            self.meter.release(held)

    def settle(self, call: UUID, entry: LedgerEntry) -> None:
        """Book what a call did cost; one of unknown cost counts as what was held for it."""
        if entry["id"] in self._entries:
            return
        self._entries[entry["id"]] = entry
        held = self._held.pop(call, None)
        if held is None:
            events = self.meter.spend(entry["cost_usd"], entry["model"])
        else:
            if entry["cost_usd"] is None:
                entry["reserved_usd"] = held.estimate_usd
            events = self.meter.settle(held, entry["cost_usd"])
        for event in events:
            self._tell(event)

    def catch_up(self, entries: Iterable[LedgerEntry]) -> None:
        """Book entries that a visit had paid before an interrupt, and that the thread's ledger does not have yet."""
        for entry in entries:
            if entry["id"] not in self._entries:
                self._entries[entry["id"]] = entry
                self.meter.spend(entry["cost_usd"], entry["model"])

    def _estimate_usd(
        self, said: Sequence[Any], params: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> float | None:
        messages: list[BaseMessage] = [HumanMessage(each) if isinstance(each, str) else each for each in said]
        given, schema, role = params.get("tools"), params.get("response_format"), role_of(metadata)
        tools = given if isinstance(given, (list, tuple)) else ()
        own = [tool for tool in tools if _is_run_by_app(tool)]
        tier = str(metadata.get("tier"))
        rates, factor = terms_of(metadata, role)
        provided = tuple(str(tool.get("type")) for tool in tools if not _is_run_by_app(tool))
        return estimate_usd(
            metadata.get("ls_model_name"),
            Facts(tokens=counted_tokens(messages), provider_tools=provided),
            declared_tokens=declared_tokens([*own, *([schema] if isinstance(schema, Mapping) else [])]),
            # A copy: the calls of other threads end meanwhile, and their entries come in.
            output_tokens=likely_output_tokens(
                list(self._entries.values()), tier, role=role, max_tokens=_limit_of(params, metadata)
            ),
            provider=metadata.get("ls_provider"),
            rates=rates,
            factor=factor,
        )


def _limit_of(params: Mapping[str, Any], metadata: Mapping[str, Any]) -> int | None:
    """Return the limit of an answer that the user has set; `None` where there is none, or it is not the user's."""
    told = [*(params.get(name) for name in _MOST), metadata.get("ls_max_tokens")]
    most: int | None = next((limit for limit in told if isinstance(limit, int)), None)
    if most is None or not 0 < most < _MOST_MEANT:  # a negative one is Ollama's, for no limit
        return None
    return None if most in _UNASKED and metadata.get("ls_provider") == "anthropic" else most


def _is_run_by_app(tool: Any) -> bool:
    if not isinstance(tool, Mapping) or "name" in tool:
        return True
    return str(tool.get("type", "function")) in {"function", "custom"}
