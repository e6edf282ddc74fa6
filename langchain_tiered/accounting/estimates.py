"""What a call is likely to cost at most, before it is made; `None` where its model has no known price.

The estimates err upward, but they are no bound: only `max_tokens` on the model bounds what it says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_tiered.accounting.rates import price_usd, rates_of
from langchain_tiered.accounting.usage import Tokens
from langchain_tiered.errors import InvalidBudgetError
from langchain_tiered.types import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_tiered.types import Facts, LedgerEntry, Rates, Role, Tier

INPUT_FACTOR = 1.3
"""Estimated input is multiplied by this, and `INPUT_EXTRA_TOKENS` are added: the count is one by characters.

Measured on 74 recorded OpenAI requests of text and functions, their tools counted: 35 used more than the bare estimate,
12 more than 1.3 times as much, one more than that and 128 tokens. That one asked for a mode with a hidden prompt.
"""

INPUT_EXTRA_TOKENS = 128
"""What a provider may add to a request unasked, such as the frame of its tools; see `INPUT_FACTOR`."""

USUAL_OUTPUT_TOKENS = 500
"""Output of a call of which nothing is known, reasoning included.

Measured: 105 production calls of gpt-5.4, mini and nano said at most 415 tokens (zoonk, August 2026), and 87 of 90
recorded OpenAI calls at most 500. Models that reason for long say more: of all 922 production calls, one in four did.
"""

ENOUGH_ENTRIES = 20
"""From so many calls on, a tier's usual output is learned from them alone."""

_PROVIDER_TOOL_TOKENS = {"web_search": 8_500, "file_search": 16_000}
# A recorded web search added 8,195 tokens of input; a file search adds up to 20 chunks of 800 (OpenAI's defaults).
_OTHER_PROVIDER_TOOL_TOKENS = 1_000  # a recorded code interpreter added 744, three tool searches at most 310


def estimate_usd(
    model: str | None,
    facts: Facts,
    *,
    declared_tokens: int = 0,
    output_tokens: int = USUAL_OUTPUT_TOKENS,
    provider: str | None = None,
    rates: Rates | str | None = None,
    factor: float = 1.0,
    service_tier: str | None = None,
) -> float | None:
    """Return the most that a call is likely to cost, nothing of it cached; `None` where the model has no known price.

    ```python
    estimate_usd("openai:gpt-5.4-nano", facts, output_tokens=likely_output_tokens(entries, "nano"))
    ```

    Args:
        model: The model, as for `price_usd`; so `provider`, `rates` and `factor`.
        facts: What is plainly there in the request. A tool that the provider runs is held to be used once.
        declared_tokens: What the app's tools and the schema add to the input; see `declared_tokens`.
        output_tokens: What the model is likely to say; see `likely_output_tokens`.
        provider: Who serves the call.
        rates: Prices to use instead of the published ones.
        factor: Multiplies the price of the tokens.
        service_tier: The processing that the model asks for, such as `priority`, which costs twice as much.
    """
    searches = [_search_of(tool) for tool in facts.provider_tools]
    counted = facts.tokens + declared_tokens
    held = sum(_PROVIDER_TOOL_TOKENS.get(search, _OTHER_PROVIDER_TOOL_TOKENS) for search in searches)
    input_tokens = math.ceil(counted * INPUT_FACTOR) + INPUT_EXTRA_TOKENS + held
    return price_usd(
        model,
        Tokens(input_tokens=input_tokens, output_tokens=output_tokens),
        provider=provider,
        rates=rates,
        factor=factor,
        service_tier=service_tier,
        web_searches=searches.count("web_search"),
        file_searches=searches.count("file_search"),
    )


def declared_tokens(declared: Iterable[Any]) -> int:
    """Estimate what tools and schemas add to a call's input. They stay the same: count them once for an agent.

    Args:
        declared: Tools in any form, pydantic classes or JSON schemas. Tools that the provider runs are no part of it.
            One that cannot be read is as long as what Python shows of it: an estimate stops no call.
    """
    return sum(math.ceil(_length(each) / 4) for each in declared)


def likely_output_tokens(
    entries: Iterable[LedgerEntry], tier: str, *, role: Role = "answer", max_tokens: int | None = None
) -> int:
    """Return how many tokens a tier's model says at most in a usual call, reasoning included.

    That is `max_tokens` where the model has it, else what 95 % of the tier's calls in the ledger stay below. While they
    are few, it is the most that one of them said, and no less than `USUAL_OUTPUT_TOKENS`.

    Args:
        entries: The ledger of the thread, or of more.
        tier: The tier, by name.
        role: What the call is for: a label is shorter than an answer.
        max_tokens: The limit that the user has set on the model, or `None`.
    """
    if max_tokens is not None:
        return max_tokens
    said = sorted(
        entry["output_tokens"]
        for entry in entries
        if entry["tier"] == tier and entry["role"] == role and entry["output_tokens"] is not None
    )
    if len(said) >= ENOUGH_ENTRIES:
        return said[math.ceil(0.95 * len(said)) - 1]
    return max([USUAL_OUTPUT_TOKENS, *said])


def unpriced(tiers: Sequence[Tier]) -> dict[str, tuple[str, ...]]:
    """Return the models without a known price, fallbacks included, by the tier that may call them."""
    found = {tier.name: tuple(_unpriced(tier)) for tier in tiers}
    return {name: models for name, models in found.items() if models}


def expect_priced(tiers: Sequence[Tier]) -> None:
    """Check that a budget in dollars can be kept: the price of every model that a tier may call is known.

    Raises:
        InvalidBudgetError: If one is not; names each tier and its model.
    """
    found = unpriced(tiers)
    if not found:
        return
    told = [
        f"tier {name!r}, whose model {model!r} has no known price" for name, models in found.items() for model in models
    ]
    raise InvalidBudgetError(
        f"A budget in dollars over {'; '.join(told)}: give Tier(rates=Rates(...)), or rates='provider:model' of one "
        "that costs the same. A fallback needs a published price of its own."
    )


def _unpriced(tier: Tier) -> Iterator[str]:
    for place, model in enumerate((tier.model, *tier.fallbacks)):
        name, provider = named(model)
        rates = None if place else tier.rates  # a fallback is not the model that they are for
        if rates_of(name, provider=provider, rates=rates) is None:
            yield name or type(model).__name__


def _length(declared: Any) -> int:
    """Return how many characters a tool or a schema has in a request."""
    try:
        told = declared if isinstance(declared, Mapping) else convert_to_openai_tool(declared)
        return len(json.dumps(told, default=str))
    except Exception:  # noqa: BLE001  (a tool may be anything that its model can read: circular, or a name alone)
        with suppress(Exception):
            return len(str(declared))
    return 0


def _search_of(tool: str) -> str:
    """Return the plain name of a provider's search tool: `web_search` for `web_search_20250305`."""
    return next((search for search in _PROVIDER_TOOL_TOKENS if tool.startswith(search)), tool)
