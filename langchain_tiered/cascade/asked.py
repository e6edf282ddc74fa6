"""How a check or a reviewer calls a model: built at first use, kept out of the user's stream, booked with its role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel, ValidationError

# As a module: it reads `cascade.failures`, and may be half imported when this is.
from langchain_tiered.accounting import entries
from langchain_tiered.accounting.traces import with_metadata
from langchain_tiered.cascade.failures import failure_of, is_callers_mistake
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.fences import fenced
from langchain_tiered.models import Models, quiet
from langchain_tiered.types import Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_tiered.types import Role

_UNREADABLE = frozenset({"OpenAIRefusalError", "LengthFinishReasonError", "ContentFilterFinishReasonError"})


class Said(NamedTuple):
    """What a model gave when it was asked."""

    message: AIMessage | None
    """Its message, or `None` where it was refused or cut off so that nothing could be read."""

    value: Any
    """The value of the schema that it was asked for, or `None` where it gave none."""


class AskedModel:
    """The model that a check asks: built at first use, kept out of the user's stream, booked with its role.

    A provider's error passes through; the machine around the checks makes a rejection of it.
    """

    def __init__(self, model: BaseChatModel | str | Tier, check: str, *, role: Role = "judge") -> None:
        """Take the model, the name of the check that asks it, and what its calls are booked as.

        Raises:
            ConfigurationError: If `model` is no model.
        """
        if not (isinstance(model, (BaseChatModel, str, Tier)) and model):
            raise ConfigurationError(
                f"{check}({model!r}): whom to ask? Pass a chat model, a string like 'openai:gpt-5.4-nano', or a Tier."
            )
        self._tier = model if isinstance(model, Tier) else None
        self._asked = model if isinstance(model, Tier) else Tier(check, model, criteria="")
        self._models, self._role = Models(), role

    @property
    def name(self) -> str:
        """What to call it in a reason: its tier, else its own name."""
        if self._tier is not None:
            return self._tier.name
        model: Any = self._asked.model
        if isinstance(model, str):
            return model
        return str(getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__)

    def said(self, messages: Sequence[BaseMessage], schema: Any = None) -> Said:
        """Return what the model says to `messages`, by `schema` where there is one and the model can."""
        for place in range(self._places):
            asked = _call(self._models.of(self._asked, fallback=place), messages, schema)
            try:
                return _read(asked.call.invoke(asked.messages, self._config(place)))
            except Exception as error:  # noqa: BLE001  (what is not about reading the answer is raised again)
                if not self._has_another(place, error):
                    return _nothing(error)
        raise AssertionError  # pragma: no cover  (the last place has returned or raised)

    async def asaid(self, messages: Sequence[BaseMessage], schema: Any = None) -> Said:
        """Do what `said` does, without blocking the event loop."""
        for place in range(self._places):
            asked = _call(await self._models.aof(self._asked, fallback=place), messages, schema)
            try:
                return _read(await asked.call.ainvoke(asked.messages, self._config(place)))
            except Exception as error:  # noqa: BLE001  (as in `said`)
                if not self._has_another(place, error):
                    return _nothing(error)
        raise AssertionError  # pragma: no cover  (as in `said`)

    @property
    def _places(self) -> int:
        return 1 + len(self._asked.fallbacks)

    def _has_another(self, place: int, error: Exception) -> bool:
        """Tell whether the tier's next fallback is asked: where a provider has failed, and not the caller."""
        failure = None if _is_unreadable(error) else failure_of(error, of_call=True)
        mends = failure is not None and failure["kind"] != "budget" and not is_callers_mistake(failure)
        return mends and place + 1 < self._places

    def _config(self, place: int) -> RunnableConfig:
        """Return what a recorder must be told, beside all that the config around the check says."""
        around = ensure_config()["metadata"]
        # A fallback is not the model that a tier's own rates are for.
        tier = replace(self._tier, rates=None) if place and self._tier is not None else self._tier
        told = entries.call_metadata(role=self._role, tier=tier, run_id=around.get("tiered_run_id"))
        return {"metadata": with_metadata(around, told)}


def unwrapped(schema: Any) -> Any:
    """Return the schema itself, out of LangChain's `ToolStrategy`, `ProviderStrategy` or `AutoStrategy`.

    They are known by their one field: importing them would import all of `langchain.agents`.
    """
    return schema if isinstance(schema, (type, Mapping)) else getattr(schema, "schema", schema)


def share(check: str, name: str, value: float) -> float:
    """Return `value`, a share from 0 to 1.

    Raises:
        ConfigurationError: If it is none.
    """
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise ConfigurationError(f"{check}({name}={value!r}): give a number from 0 to 1.")
    return value


def with_schema(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> list[BaseMessage]:
    """Return messages that tell the schema, for whoever cannot be bound to it."""
    told = f"{fenced('schema', schema)}\nAnswer with JSON alone that fits this schema."
    first = messages[0] if messages else None
    if isinstance(first, SystemMessage) and isinstance(first.content, str):
        return [SystemMessage(f"{first.content}\n\n{told}"), *messages[1:]]
    return [SystemMessage(told), *messages]


class _Asked(NamedTuple):
    call: Runnable[Any, Any]
    messages: list[BaseMessage]


def _call(model: BaseChatModel, messages: Sequence[BaseMessage], schema: Any) -> _Asked:
    """Return what asks `model` for a schema, or for words alone, and the messages that it is asked with."""
    silent = quiet(model)
    if schema is None:
        return _Asked(silent, list(messages))
    if isinstance(schema, Mapping) and not schema.keys() & {"title", "name"}:
        schema = {"title": "answer", **schema}  # LangChain names the model's tool after it
    try:
        return _Asked(silent.with_structured_output(schema, include_raw=True), list(messages))
    except (NotImplementedError, LookupError, TypeError, ValueError):  # a union, or a model without tools
        return _Asked(silent, with_schema(messages, schema) if isinstance(schema, Mapping) else list(messages))


def _read(told: object) -> Said:
    if isinstance(told, Mapping):
        # A model's own `with_structured_output` may know nothing of `include_raw`.
        raw = told.keys() >= {"raw", "parsed"}
        return Said(told.get("raw"), told.get("parsed")) if raw else Said(None, dict(told))
    if isinstance(told, AIMessage):
        return Said(told, None)
    return Said(None, told.model_dump() if isinstance(told, BaseModel) and not isinstance(told, BaseMessage) else None)


def _nothing(error: Exception) -> Said:
    """Return that nothing can be read.

    Raises:
        Exception: `error` itself, when it is about something else.
    """
    if _is_unreadable(error):
        return Said(None, None)
    raise error


def _is_unreadable(error: Exception) -> bool:
    return isinstance(error, (ValidationError, OutputParserException)) or type(error).__name__ in _UNREADABLE
