"""The rungs of the ladder, as users declare them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_tiered.errors import DuplicateNameError, InvalidTierError, UnknownTierError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool

    from langchain_tiered.cascade.checks import Check
    from langchain_tiered.types.facts import TierFacts

    Tool: TypeAlias = BaseTool | Callable[..., Any] | dict[str, Any]

RESERVED_NAMES = frozenset({"classify", "check", "none", "__start__", "__end__"})
RESERVED_CHARACTERS = (":", "|")
_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True)
class Rates:
    """Prices of a model that override the published ones, in USD per million tokens where nothing else is said."""

    input_usd: float
    """Price of input tokens."""

    output_usd: float
    """Price of output tokens; reasoning is output."""

    cached_input_usd: float | None = None
    """Price of input read from the prompt cache, or `None` for the full input price."""

    as_of: str | None = None
    """The day that the prices held, as `YYYY-MM-DD`."""

    source: str | None = None
    """Where the prices stand, for the report."""

    cache_write_usd: float | None = None
    """Price of input written to the prompt cache, or `None` for the full input price."""

    cache_write_1h_usd: float | None = None
    """Price of input written to the prompt cache for an hour, or `None` for that of any other write."""

    web_search_usd: float | None = None
    """Price of a thousand web searches that the provider runs, or `None` for the published one, where there is one."""

    file_search_usd: float | None = None
    """Price of a thousand file searches that the provider runs, or `None` for the published one."""

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name.endswith("_usd")):
            value, is_needed = getattr(self, name), name in {"input_usd", "output_usd"}
            if not _is_rate(value) and (is_needed or value is not None):
                per = "thousand searches" if "search" in name else "million tokens"
                raise InvalidTierError(f"Rates({name}={value!r}): a rate is a number of USD per {per}, at least 0.")
        if self.as_of is not None and not _DAY.fullmatch(str(self.as_of)):
            raise InvalidTierError(f"Rates(as_of={self.as_of!r}): write the day as YYYY-MM-DD, such as '2026-03-17'.")


@dataclass(frozen=True, repr=False)
class Tier:
    """A rung of the ladder: a name, a model, and what it is for. A sequence of tiers runs cheapest first.

    ```python
    Tier("nano", "openai:gpt-5.4-nano", criteria="Labels, extraction and single-step questions.")
    ```

    Raises:
        InvalidTierError: If the name or the model is empty, or a field is out of range; says what was expected.
    """

    name: str
    """The node, ledger and route name. Not in `RESERVED_NAMES`, and without `:` and `|`."""

    model: BaseChatModel | str
    """A chat model, or a `provider:model` string that is built at first use, so that no key is needed before."""

    criteria: str = field(kw_only=True)
    """What the tier is for, in words that the classifier reads as they stand."""

    tools: Sequence[Tool] = field(default=(), kw_only=True)
    """Tools of this tier alone, beside those of the agent; `nodes.hand_up` lets it ask for a more capable tier."""

    fallbacks: Sequence[BaseChatModel | str] = field(default=(), kw_only=True)
    """Models that stand in, in order, when the tier's own model is down."""

    checks: Sequence[Check] = field(default=(), kw_only=True)
    """Checks of this tier's answers, beside those of the agent."""

    max_input_tokens: int | None = field(default=None, kw_only=True)
    """The reliable context where that is less than the model's window, in tokens."""

    rates: Rates | str | None = field(default=None, kw_only=True)
    """Prices that override the published ones, or a `provider:model` whose published prices hold; else the model's."""

    price_factor: float = field(default=1.0, kw_only=True)
    """Multiplies the price: `1.1` for regional processing, `0.5` for batch or flex."""

    def __repr__(self) -> str:
        return f"Tier({self.name!r}, {_told(self.model)})"  # a chat model shows the headers that it sends

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InvalidTierError(f"Tier name {self.name!r} is empty. Give each tier a short name, such as 'nano'.")
        if self.name in RESERVED_NAMES or any(character in self.name for character in RESERVED_CHARACTERS):
            raise InvalidTierError(
                f"Tier name {self.name!r} is reserved: graph and ledger use {', '.join(sorted(RESERVED_NAMES))}, "
                "and LangGraph ':' and '|' in namespaces. Choose another name."
            )
        if not self.model:
            raise InvalidTierError(
                f"Tier {self.name!r} has no model. Give a chat model or a string like 'openai:gpt-5.4-nano'."
            )
        _check_fallbacks(self)
        if self.max_input_tokens is not None and not _is_above_zero(self.max_input_tokens):
            raise InvalidTierError(
                f"Tier {self.name!r}: max_input_tokens={self.max_input_tokens!r} must be at least 1, "
                "or None for the model's window."
            )
        if not _is_above_zero(self.price_factor):
            raise InvalidTierError(
                f"Tier {self.name!r}: price_factor={self.price_factor!r} must be above 0; "
                "1.0 is the list price, 0.5 batch or flex."
            )
        for check in self.checks:
            if not callable(check):
                raise InvalidTierError(f"Tier {self.name!r}: check {check!r} is not callable. Give functions.")


def _check_fallbacks(tier: Tier) -> None:
    """Refuse fallbacks that are no list, or could not stand in because they are down whenever another one is.

    Raises:
        InvalidTierError: If there are such.
    """
    if isinstance(tier.fallbacks, str):
        raise InvalidTierError(f"Tier {tier.name!r}: fallbacks={tier.fallbacks!r} is one string. Write a list of them.")
    before = [tier.model]
    for fallback in tier.fallbacks:
        if any(fallback is other or (isinstance(fallback, str) and fallback == other) for other in before):
            raise InvalidTierError(
                f"Tier {tier.name!r}: the fallback {_told(fallback)} is its own model, or given twice: it would be "
                "down, too. Give other models."
            )
        before.append(fallback)


def _told(model: object) -> str:
    """Name a model in an error; the representation of a chat model is a page long."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return repr(model if isinstance(model, str) else name or type(model).__name__)


def named(model: BaseChatModel | str) -> tuple[str | None, str | None]:
    """Return a model's name, as its calls are booked, and its provider; a string tells both in one."""
    if isinstance(model, str):
        return model, None
    told = model._get_ls_params()  # noqa: SLF001  (how LangChain itself names a model and its provider)
    return told.get("ls_model_name"), told.get("ls_provider")


def _is_above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < float("inf")


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def checked_tiers(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """Return `tiers` as a tuple.

    Raises:
        InvalidTierError: If there is none, or something in the sequence is no `Tier`.
        DuplicateNameError: If two share a name.
    """
    if isinstance(tiers, Tier):
        raise InvalidTierError(f"One Tier, {tiers.name!r}, was given instead of a sequence. Write [tier].")
    checked = tuple(tiers)
    if not checked:
        raise InvalidTierError(
            "The tiers are empty. Pass at least one Tier, cheapest first, or None for default_tiers()."
        )
    for tier in checked:
        if not isinstance(tier, Tier):
            raise InvalidTierError(f"{tier!r} is not a Tier. Write Tier(name, model, criteria=...), cheapest first.")
    names = [tier.name for tier in checked]
    for name in names:
        if names.count(name) > 1:
            raise DuplicateNameError("tier", name, names)
    return checked


def place_of(name: str, tiers: Sequence[Tier | TierFacts]) -> int:
    """Return where the tier called `name` stands, `0` for the cheapest.

    Raises:
        UnknownTierError: If no declared tier has that name.
    """
    for place, tier in enumerate(tiers):
        if tier.name == name:
            return place
    raise UnknownTierError(name, [tier.name for tier in tiers])


def told_apart(tiers: Sequence[Tier]) -> None:
    """Refuse tiers that a model cannot choose between, because it is told nothing of one, or the same of two.

    Raises:
        InvalidTierError: If the criteria of one are empty, or those of two read the same.
    """
    mend = "The classifier reads them to choose a tier: say what each is for, or pass a function or None as classifier."
    told = dict[str, str]()
    for tier in tiers if len(tiers) > 1 else ():
        if not (criteria := " ".join(str(tier.criteria or "").casefold().split())):
            raise InvalidTierError(f"Tier {tier.name!r}: criteria={tier.criteria!r} is empty. {mend}")
        if (same := told.setdefault(criteria, tier.name)) != tier.name:
            raise InvalidTierError(
                f"Tiers {same!r} and {tier.name!r} have the same criteria, {tier.criteria[:80]!r}. {mend}"
            )
