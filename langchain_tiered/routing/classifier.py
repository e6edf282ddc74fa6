"""`create_classifier`: one structured call to a cheap model, or anybody's function, says what a request needs.

A classifier that fails loses no request: what it says then has no tier, and the policy's `on_classifier_error` holds.
Bugs, missing recordings and the caller's mistakes, such as a bad key, are raised.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, Field, ValidationError, create_model

from langchain_tiered.accounting.entries import call_metadata
from langchain_tiered.cascade.failures import failure_of, is_callers_mistake
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.models import Models, quiet
from langchain_tiered.routing.policy import UNKNOWN_TASK
from langchain_tiered.routing.prompts import request_prompt, system_prompt
from langchain_tiered.types import TASKS, Classification, Facts, Tier, checked_tiers

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

Said: TypeAlias = Classification | str
ClassifierFunction: TypeAlias = Callable[[Facts], Said | Awaitable[Said]]
"""Tells of the facts a classification, or the name of a tier; sync or async."""

_GAVE_NOTHING = frozenset({"OpenAIRefusalError", "LengthFinishReasonError", "ContentFilterFinishReasonError"})
_MOST_READY = 16  # models that a context brings may be new in each run
_LONGEST_QUOTE = 100


class Classifier(Protocol):
    """Says what a request needs. The policy decides; this only tells."""

    def classify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        """Return what the request needs; without a tier when that cannot be told.

        Args:
            facts: What is plainly there in the request.
            config: The run's config, with whatever books its calls.
            context: The run's context, whose `<tier>_model` is used where the classifier is a tier's model.
            run_id: The invocation that the call is booked on.
        """
        ...

    async def aclassify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        """Do what `classify` does, without blocking the event loop."""
        ...


def create_classifier(
    model: BaseChatModel | str | Tier | ClassifierFunction, tiers: Sequence[Tier], *, models: Models | None = None
) -> Classifier:
    """Return a classifier that chooses among `tiers`.

    ```python
    classifier = create_classifier("openai:gpt-5.4-nano", default_tiers())
    ```

    Args:
        model: A chat model, a `provider:model` string, a tier whose model is asked, or a function that tells of the
            facts a classification or a tier's name.
        tiers: The tiers, cheapest first; their criteria are read by the model as they stand.
        models: Where models are built and kept, or `None` for a place of its own.

    Raises:
        ConfigurationError: If `model` is none of these.
    """
    checked = checked_tiers(tiers)
    if isinstance(model, (BaseChatModel, str, Tier)) and model:
        return _ModelClassifier(model, checked, models or Models())
    if callable(model):
        return _FunctionClassifier(model, checked)
    raise ConfigurationError(
        # A model's own representation may show the headers that it sends, and a key in them.
        f"A {type(model).__name__} is no classifier. Pass a chat model, a string like 'openai:gpt-5.4-nano', a "
        "function, or None."
    )


class _ModelClassifier:
    """Asks a chat model for a classification in one structured call."""

    def __init__(self, model: BaseChatModel | str | Tier, tiers: tuple[Tier, ...], models: Models) -> None:
        self._tier = model if isinstance(model, Tier) else None
        self._asked = model if isinstance(model, Tier) else Tier("classifier", model, criteria="")
        self._models = models
        self._schema = _schema_of([tier.name for tier in tiers])
        self._system = SystemMessage(system_prompt(tiers))
        self._ready: dict[int, tuple[BaseChatModel, Runnable[Any, Any] | None]] = {}

    def classify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        model = self._models.of(self._asked, context if self._tier else None)
        if (structured := self._structured(model)) is None:
            return _failed(f"{type(model).__name__} gives no structured output.")
        try:
            return self._read(structured.invoke(self._messages(facts), self._config(config, run_id)))
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error, of_call=True))

    async def aclassify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        model = await self._models.aof(self._asked, context if self._tier else None)
        if (structured := self._structured(model)) is None:
            return _failed(f"{type(model).__name__} gives no structured output.")
        try:
            return self._read(await structured.ainvoke(self._messages(facts), self._config(config, run_id)))
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error, of_call=True))

    def _messages(self, facts: Facts) -> list[BaseMessage]:
        return [self._system, HumanMessage(request_prompt(facts))]

    def _config(self, config: RunnableConfig | None, run_id: str | None) -> RunnableConfig:
        told = call_metadata(role="classify", tier=self._tier, run_id=run_id)
        metadata = {**((config or {}).get("metadata") or {}), **told}
        return cast("RunnableConfig", {**(config or {}), "metadata": metadata})

    def _structured(self, model: BaseChatModel) -> Runnable[Any, Any] | None:
        """Return what asks `model` for the schema, made once for each model; `None` where it cannot."""
        if (ready := self._ready.get(id(model))) is None:
            if len(self._ready) >= _MOST_READY:
                self._ready.clear()
            try:
                structured = quiet(model).with_structured_output(self._schema)
            except NotImplementedError:
                structured = None
            self._ready[id(model)] = (model, structured)  # the model is kept, so that its id stays its own
            return structured
        return ready[1]

    def _read(self, said: object) -> Classification:
        if isinstance(said, Mapping):
            said = self._schema.model_validate(said)
        if not isinstance(said, self._schema):
            return _failed(f"It answered {_short(said)} instead of a classification.")
        return cast("Classification", {**said.model_dump(), "decided_by": "classifier"})


class _FunctionClassifier:
    """Asks a function."""

    def __init__(self, function: ClassifierFunction, tiers: tuple[Tier, ...]) -> None:
        self._function = function
        self._names = [tier.name for tier in tiers]
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  (an object whose call is async)
        )

    def classify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        del config, context, run_id
        try:
            said = self._function(facts)
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error))
        if isinstance(said, Coroutine):
            said.close()
            raise TypeError("The classifier is an async function. Call `ainvoke`, or pass a sync function.")
        return self._read(said)

    async def aclassify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        del config, context, run_id
        try:
            said = self._function(facts) if self._is_async else await asyncio.to_thread(self._function, facts)
            return self._read(await said if isinstance(said, Awaitable) else said)
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error))

    def _read(self, said: object) -> Classification:
        told = said if isinstance(said, Mapping) else {"tier": said}
        if (tier := told.get("tier")) not in self._names:
            known = ", ".join(self._names)
            return _failed(f"It named {_short(tier)}, which is no tier; declared, cheapest first: {known}.")
        reason = str(told.get("reason") or f"The classifier named {tier}.")
        task = next((known for known in TASKS if known == told.get("task")), UNKNOWN_TASK)
        confidence = cast("float | None", told.get("confidence"))
        return Classification(tier=str(tier), task=task, confidence=confidence, reason=reason, decided_by="classifier")


def _schema_of(names: Sequence[str]) -> type[BaseModel]:
    """Return what the model is to fill in; a name that is no tier's does not validate."""
    fields: dict[str, Any] = {
        "reason": (str, Field(description="Why, in one short sentence.")),
        "task": (Literal[TASKS], Field(description="The kind of work.")),
        "tier": (Literal[tuple(names)], Field(description="The cheapest tier that will do the request well.")),
        "confidence": (float, Field(ge=0, le=1, description="How sure you are, from 0 to 1.")),
    }
    return create_model("Classification", __doc__="What a request needs.", **fields)


def _failed(why: str) -> Classification:
    reason = f"The classifier failed: {why}"
    return Classification(tier=None, task=UNKNOWN_TASK, confidence=None, reason=reason, decided_by="classifier")


def _why_failed(error: Exception, *, of_call: bool = False) -> str:
    """Tell why a classifier gave nothing; with `of_call`, an answer that cannot be read is the provider's failure.

    Raises:
        Exception: `error` itself, when it is a bug, a missing recording, or the caller's mistake.
    """
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"its {'.'.join(map(str, first['loc'])) or 'answer'} was {_short(first.get('input'))}. {first['msg']}."
    if isinstance(error, OutputParserException) or type(error).__name__ in _GAVE_NOTHING:
        return f"{type(error).__name__}: {_short(str(error))}."
    failure = failure_of(error, of_call=of_call)
    if failure is None or is_callers_mistake(failure):
        raise error
    return f"{failure['message'].rstrip('.')}."


def _short(value: object) -> str:
    told = repr(value)
    return told if len(told) <= _LONGEST_QUOTE else f"{told[: _LONGEST_QUOTE - 3]}..."
