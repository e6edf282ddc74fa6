"""What calls cost in USD, `None` where it is unknown.

Published prices come from `genai-prices` (bundled data, no network), which is imported when the first call is priced.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from langchain_tiered.accounting.usage import Tokens
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from genai_prices import Usage
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices


PROVIDERS = {"anthropic_bedrock": "aws", "azure_ai": "azure", "azure_openai": "azure"}
"""LangChain's names of providers that `genai-prices` would take for another one; all others it knows by itself."""

LOCAL = frozenset({"ollama", "llamacpp", "mlx"})
"""LangChain's names of what runs a model on a machine of one's own: what a call costs there, nobody can publish."""

STANDARD_TIERS = frozenset({None, "auto", "default"})
"""Service tiers at which the standard price holds."""


_TEXT_UNITS = frozenset({"input_mtok", "output_mtok"})
_KNOWN_UNITS = _TEXT_UNITS | {
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "input_audio_mtok",
    "output_audio_mtok",
    "cache_audio_read_mtok",
    "web_searches_kcount",
    "storage_searches_kcount",
}
"""Units beside which plain text is priced by input, cached input and output alone; any other goes to the library."""

_SEARCHES = {"web_search": "web_searches_kcount", "file_search": "storage_searches_kcount"}


def price_usd(
    model: str | None,
    tokens: Tokens,
    *,
    provider: str | None = None,
    rates: Rates | str | None = None,
    factor: float = 1.0,
    service_tier: str | None = None,
    web_searches: int = 0,
    file_searches: int = 0,
) -> float | None:
    """Return the price of a call in USD, or `None` when it cannot be known: never `0` for an unknown price.

    ```python
    price_usd("openai:gpt-5.4-mini", Tokens(input_tokens=1_000_000, output_tokens=0))  # 0.75
    ```

    Args:
        model: The model as the provider names it, or `provider:model`; dated names are known.
        tokens: What the call used. Without input and output there is no price.
        provider: Who served the call. One that is unknown is ignored, and the model is looked for by its name alone,
            unless it is one that runs models on your own machine, such as `ollama`: what others charge for a model of
            that name says nothing of it, and without `rates` the price is unknown. `Rates(0, 0)` says that it is free.
        rates: Prices to use instead, or a `provider:model` whose published prices hold instead.
        factor: Multiplies the price of the tokens: `1.1` for regional processing, `0.5` for batch or flex.
        service_tier: What the response says of its processing. Its own published price holds, where there is one,
            unless `factor` is below `1.0`: then the user has said the same thing already.
        web_searches: How many web searches the provider ran in the call; see `provider_calls`.
        file_searches: How many searches in stored files it ran.
    """
    if tokens.input_tokens is None or tokens.output_tokens is None:
        return None
    own = rates if isinstance(rates, Rates) else None
    name, seller = (rates, None) if isinstance(rates, str) else (model, provider)
    price = (
        _override_usd(tokens, own)
        if own is not None
        else _published_usd(name, seller, tokens, service_tier if factor >= 1.0 else None)
    )
    if price is None or not (web_searches or file_searches):
        return None if price is None else price * factor
    searched = _searches_usd(name, seller, own, {"web_search": web_searches, "file_search": file_searches})
    return None if searched is None else price * factor + searched


def rates_of(
    model: str | None, *, provider: str | None = None, rates: Rates | str | None = None, factor: float = 1.0
) -> Rates | None:
    """Return what a million tokens of a short call cost, or `None` when that cannot be known.

    Args:
        model: The model as the provider names it, or `provider:model`.
        provider: Who serves it.
        rates: Prices to use instead, or a `provider:model` whose published prices hold instead.
        factor: Multiplies the prices.
    """

    def usd(**tokens: int) -> float | None:
        used = Tokens(**{"input_tokens": 0, "output_tokens": 0, **tokens})
        price = price_usd(model, used, provider=provider, rates=rates, factor=factor)
        return None if price is None else price * 1000

    fresh, output = usd(input_tokens=1000), usd(output_tokens=1000)
    if fresh is None or output is None:
        return None
    return Rates(fresh, output, usd(input_tokens=1000, cached_tokens=1000))


def _override_usd(tokens: Tokens, rates: Rates) -> float | None:
    all_input, cached, written_1h = tokens.input_tokens or 0, tokens.cached_tokens or 0, tokens.written_1h_tokens or 0
    written = max(tokens.written_tokens or 0, written_1h)
    fresh = all_input - cached - written
    if fresh < 0:
        return None  # what is reported contradicts itself
    read_usd = rates.input_usd if rates.cached_input_usd is None else rates.cached_input_usd
    write_usd = rates.input_usd if rates.cache_write_usd is None else rates.cache_write_usd
    write_1h_usd = write_usd if rates.cache_write_1h_usd is None else rates.cache_write_1h_usd
    parts = (
        (fresh, rates.input_usd),
        (cached, read_usd),
        (written - written_1h, write_usd),
        (written_1h, write_1h_usd),
        (tokens.output_tokens or 0, rates.output_usd),
    )
    return sum(count * usd for count, usd in parts) / 1_000_000


def _searches_usd(
    model: str | None, provider: str | None, rates: Rates | None, searches: Mapping[str, int]
) -> float | None:
    """Price searches, each kind by the thousand; `None` where there were some of an unknown price."""
    total = 0.0
    for tool, count in searches.items():
        if not count:
            continue
        own: float | None = getattr(rates, f"{tool}_usd", None)
        usd = _published_search_usd(model, provider, _SEARCHES[tool]) if own is None else own
        if usd is None:
            return None
        total += count * usd / 1_000
    return total


def _published_search_usd(model: str | None, provider: str | None, unit: str) -> float | None:
    if not model or (listed := _found(model, provider)) is None:
        return None
    price = getattr(listed.prices(), unit)
    return float(price) if isinstance(price, Decimal) else None


def _published_usd(model: str | None, provider: str | None, tokens: Tokens, service_tier: str | None) -> float | None:
    if not model or (listed := _found(model, provider)) is None:
        return None
    is_standard = service_tier in STANDARD_TIERS
    if is_standard and (plain := _plain_usd(listed, tokens)) is not None:
        return plain
    usage = _library().usage(
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
        cache_read_tokens=tokens.cached_tokens,
        cache_write_tokens=tokens.written_tokens,
        cache_write_1h_tokens=tokens.written_1h_tokens,
        input_audio_tokens=tokens.input_audio_tokens,
        output_audio_tokens=tokens.output_audio_tokens,
    )
    context = None if is_standard else {"service_tier": str(service_tier)}
    try:
        price = listed.info.calc_price(usage, listed.seller, price_context=context)
    except ValueError:
        return None  # what is reported contradicts itself, such as more cached input than input
    # A model without a price for tokens is sold by the hour or the character, or is listed without any price.
    return None if price.model_price.input_mtok is None else float(price.total_price)


def _plain_usd(listed: _Listed, tokens: Tokens) -> float | None:
    """Price fresh input, cached input and output as `calc_price` does, in a twentieth of the time.

    `None` where there is more to it: tokens of another kind, a price for something else, or counts that contradict
    each other.
    """
    if tokens.written_tokens or tokens.written_1h_tokens or tokens.input_audio_tokens or tokens.output_audio_tokens:
        return None
    text = _text_prices(listed.prices()) if listed.text is None else listed.text
    all_input, cached, output = tokens.input_tokens or 0, tokens.cached_tokens or 0, tokens.output_tokens or 0
    if not text or not 0 <= cached <= all_input or output < 0:
        return None
    fresh_price, read_price, output_price = [_reached(price, all_input) for price in text]
    # Whole numbers, divided once: the nearest float to the exact sum, as that of the library's decimals is.
    return ((all_input - cached) * fresh_price + cached * read_price + output * output_price) / (_SCALE * 1_000_000)


_SCALE = 10**9
"""Prices of a million tokens are counted in billionths of a dollar; one with more digits is left to the library."""

_Price: TypeAlias = "int | tuple[tuple[int, int], ...]"
"""A price, or the prices from so many input tokens on."""


def _text_prices(price: ModelPrice) -> tuple[_Price, ...]:
    """Return the prices of fresh input, cached input and output; none where there is a price for something else."""
    priced = {unit: usd for unit, usd in vars(price).items() if usd is not None}
    if not _TEXT_UNITS <= priced.keys() <= _KNOWN_UNITS:
        return ()
    found = priced["input_mtok"], priced.get("cache_read_mtok", priced["input_mtok"]), priced["output_mtok"]
    try:
        return tuple(map(_counted, found))
    except ArithmeticError:
        return ()


def _counted(price: Decimal | TieredPrices) -> _Price:
    """Return a price in billionths of a dollar.

    Raises:
        ArithmeticError: If it has more digits.
    """
    if isinstance(price, Decimal):
        (count, rest) = divmod(price * _SCALE, 1)
        if rest:
            raise ArithmeticError(price)
        return int(count)
    steps = [(-1, price.base), *((tier.start, tier.price) for tier in price.tiers)]
    return tuple((start, cast("int", _counted(usd))) for start, usd in steps)


def _reached(price: _Price, input_tokens: int) -> int:
    """Return what a million tokens cost in a call with so much input."""
    return price if isinstance(price, int) else [usd for start, usd in price if input_tokens > start][-1]


async def import_prices() -> None:
    """Import the published prices without blocking the event loop: it takes up to 50 ms, once."""
    if not prices_imported():
        await asyncio.to_thread(_library)


def prices_imported() -> bool:
    """Tell whether the published prices are there."""
    return bool(_library.cache_info().currsize)


class _Library(NamedTuple):
    """What is used of `genai-prices`."""

    usage: type[Usage]
    snapshot: Callable[[], DataSnapshot]


@cache
def _library() -> _Library:
    """Import the published prices in a thread: that reads files, and LangGraph's server forbids it on the event loop.

    Where nobody has awaited `import_prices` before, the loop waits for it all the same, once, as for any import.
    """
    done: SimpleQueue[_Library | BaseException] = SimpleQueue()

    def load() -> None:
        try:
            from genai_prices import Usage  # noqa: PLC0415  (0.2 s, and pydantic: paid when the first call is priced)
            from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  (the same)

            get_snapshot()
            done.put(_Library(Usage, get_snapshot))
        except BaseException as error:  # noqa: BLE001  (raised where it is waited for)
            done.put(error)

    Thread(target=load, daemon=True).start()
    loaded = done.get()
    if isinstance(loaded, BaseException):
        raise loaded
    return loaded


class _Listed(NamedTuple):
    """A model in the published prices."""

    snapshot: DataSnapshot
    seller: Provider
    info: ModelInfo
    text: tuple[_Price, ...] | None
    """The prices of fresh input, cached input and output, where they are the same on every day; else `None`."""

    def prices(self) -> ModelPrice:
        """Return the prices that hold now."""
        return self.info.get_prices(datetime.now(UTC))


_MOST_LISTED = 1_000
_listed: dict[tuple[str, str | None], _Listed | None] = {}


def _found(model: str, provider: str | None) -> _Listed | None:
    """Find a model in the published prices, or remember that it was found; `None` where it is not listed."""
    listed, snapshot = _listed.get((model, provider)), _library().snapshot()
    if listed is None or listed.snapshot is not snapshot:  # the user may have brought newer prices
        if len(_listed) >= _MOST_LISTED:
            _listed.clear()
        listed = _listed[model, provider] = _looked_up(snapshot, model, provider)
    return listed


def _looked_up(snapshot: DataSnapshot, model: str, provider: str | None) -> _Listed | None:
    before, _, after = model.partition(":")
    if provider is None and after and before in LOCAL:
        model, provider = after, before
    if provider is not None and (provider in LOCAL or _is_known(snapshot, provider)):
        places = [(model, _seller(provider))]
    else:
        named = [(after, _seller(before))] if after and _is_known(snapshot, before) else []
        places = [*named, (model, _seller(provider)), (model, None)]
    for name, seller in places:
        plain = name.removeprefix("models/")  # Google's own form of a name
        try:
            found, info = snapshot.find_provider_model(plain, None, seller, None)
        except LookupError:
            continue
        return _Listed(snapshot, found, info, None if isinstance(info.prices, list) else _text_prices(info.prices))
    return None


def _seller(provider: str | None) -> str | None:
    return None if provider is None else PROVIDERS.get(provider, provider)


def _is_known(snapshot: DataSnapshot, provider: str) -> bool:
    try:
        snapshot.find_provider(None, _seller(provider), None)
    except LookupError:
        return False
    return True
