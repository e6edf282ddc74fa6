"""What the tests of the chat model share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fakes import ScriptedModel, StreamingModel, say

from langchain_tiered import Tier, TieredChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("nano", "mini", "flagship")


def tiers(kind: type[ScriptedModel] = StreamingModel, **scripts: Any) -> list[Tier]:
    """Return three tiers; one without a script says its own name."""
    return [
        Tier(
            name, kind(model_name=f"gpt-5.4-{name}", script=scripts.get(name) or say(f"{name} says it")), criteria=name
        )
        for name in NAMES
    ]


def tiered(kind: type[ScriptedModel] = StreamingModel, *, model: Any = None, **scripts: Any) -> TieredChatModel:
    """Return a model over them, which never asks a classifier; `model` are its own fields."""
    return TieredChatModel(tiers(kind, **scripts), **{"classifier": None, **(model or {})})


def calls(model: TieredChatModel) -> dict[str, int]:
    """Tell how often each tier's model was called."""
    return {tier.name: tier.model.calls for tier in model.tiers}


def outcomes(message: Any) -> list[tuple[str, str]]:
    """Tell the ledger of a message: tier and outcome of each entry."""
    return [(entry["tier"], entry["outcome"]) for entry in message.response_metadata["ledger"]]


class Ways:
    """Ask a model for a message in one of the ways there are."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, model: Any, given: Any, config: Any = None, **options: Any) -> Any:
        if self.name == "invoke":
            return model.invoke(given, config, **options)
        if self.name == "ainvoke":
            return asyncio.run(model.ainvoke(given, config, **options))
        return whole(self.parts(model, given, config, **options))

    def parts(self, model: Any, given: Any, config: Any = None, **options: Any) -> list[Any]:
        """Return the parts of a stream."""
        if self.name == "stream":
            return list(model.stream(given, config, **options))
        return asyncio.run(_collected(model, given, config, options))


async def _collected(model: Any, given: Any, config: Any, options: Any) -> list[Any]:
    return [part async for part in model.astream(given, config, **options)]


def whole(parts: Sequence[Any]) -> Any:
    """Add the parts of a stream up."""
    first, *more = parts
    for part in more:
        first = first + part
    return first
