"""`create_classifier`: one structured call to a cheap model, or anybody's function, says what a request needs.

A classifier that fails loses no request: what it says then has no tier, and the policy's `on_classifier_error` holds.
Bugs, missing recordings and the caller's mistakes, such as a bad key, are raised.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel, Field, ValidationError, create_model

from langchain_tiered.accounting.collecting import rebook
from langchain_tiered.accounting.entries import call_metadata, free_entry
from langchain_tiered.accounting.traces import CLASSIFY, tagged, with_metadata
from langchain_tiered.cascade.failures import failure_of, is_callers_mistake
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError
from langchain_tiered.models import Models, brief, quiet
from langchain_tiered.routing.deciding import DecisionClassifier, is_decision_model
from langchain_tiered.routing.policy import UNKNOWN_TASK
from langchain_tiered.routing.prompts import request_prompt, small, system_prompt
from langchain_tiered.types import TASKS, Classification, Facts, Tier, checked_tiers, named, told_apart

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_tiered.routing.deciding import DecisionModel

Said: TypeAlias = Classification | str
ClassifierFunction: TypeAlias = Callable[[Facts], Said | Awaitable[Said]]
"""Tells of the facts a classification, or the name of a tier; sync or async."""

_GAVE_NOTHING = frozenset({"OpenAIRefusalError", "LengthFinishReasonError", "ContentFilterFinishReasonError"})
_MOST_READY = 16  # models that a context brings may be new in each run
_MOST_SAID = 256  # tokens; a classification has about 60
_MOST_PICTURES = 4
_FAILED = "The classifier failed: "
_LONGEST_QUOTE = 100


@runtime_checkable
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
    model: BaseChatModel | str | Tier | ClassifierFunction | Classifier | DecisionModel,
    tiers: Sequence[Tier],
    *,
    models: Models | None = None,
    cache_size: int = 0,
) -> Classifier:
    """Return a classifier that chooses among `tiers`.

    ```python
    classifier = create_classifier("openai:gpt-5.4-nano", default_tiers(), cache_size=1_000)
    router = TierRouter(classifier=classifier)
    ```

    A model is asked once, and once more only where its answer cannot be read. It is told not to reason and to be short
    as far as its class has settings for that and they are not set. It sees the pictures of the last user turn where
    nothing says that it cannot.

    Args:
        model: A chat model, a `provider:model` string, a tier whose model is asked, a function that tells of the
            facts a classification or a tier's name, one of LangChain's decision models, or a classifier, which is
            returned as it is.
        tiers: The tiers, cheapest first; their criteria are read by the model as they stand.
        models: Where models are built and kept, or `None` for a place of its own.
        cache_size: How many classifications of a model are kept for requests that read the same, the least recently
            used going first; `0` for none. One that is found is booked as free.

    Raises:
        InvalidTierError: If a model cannot choose: the criteria of a tier are empty, or two have the same.
        ConfigurationError: If `model` is none of these, or `cache_size` is no whole number, at least `0`.
    """
    checked = checked_tiers(tiers)
    if isinstance(cache_size, bool) or not isinstance(cache_size, int) or cache_size < 0:
        raise ConfigurationError(f"create_classifier(cache_size={cache_size!r}): expected a whole number, at least 0.")
    if (isinstance(model, (BaseChatModel, str)) and model) or is_decision_model(model):
        told_apart(checked)
    if isinstance(model, (BaseChatModel, str, Tier)) and model:
        return _ModelClassifier(model, checked, models or Models(), _Kept(cache_size))
    if isinstance(model, Classifier):
        return model if getattr(model, "names", None) == [tier.name for tier in checked] else _Foreign(model, checked)
    if is_decision_model(model):
        return DecisionClassifier(cast("DecisionModel", model), checked, _why_failed)
    if callable(model):
        return _FunctionClassifier(model, checked)
    raise ConfigurationError(
        # A model's own representation may show the headers that it sends, and a key in them.
        f"A {type(model).__name__} is no classifier. Pass a chat model, a string like 'openai:gpt-5.4-nano', a "
        "function, or None."
    )


class _Kept:
    """The classifications of the latest requests, by what was asked."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._said: OrderedDict[bytes, Classification] = OrderedDict()

    def key(self, model: BaseChatModel, asked: BaseMessage) -> bytes | None:
        """Return the key of a request to a model, or `None` where nothing is kept."""
        return sha256(f"{named(model)} {asked.content!r}".encode(errors="replace")).digest() if self._most else None

    def found(self, key: bytes | None) -> Classification | None:
        """Return what was said to the same request before."""
        with self._lock:
            if key is None or key not in self._said:
                return None
            self._said.move_to_end(key)
            return self._said[key].copy()

    def keep(self, key: bytes | None, said: Classification) -> Classification:
        """Keep what was said, and return it."""
        if key is not None:
            with self._lock:
                self._said[key] = said.copy()
                if len(self._said) > self._most:
                    self._said.popitem(last=False)
        return said


class _Asked:
    """One request to a model that is under way: asked once, and once more where the answer cannot be read."""

    def __init__(self, call: Runnable[Any, Any], messages: list[BaseMessage], config: RunnableConfig) -> None:
        self.call, self.messages, self.config = call, messages, config
        self._tried = False

    def failed(self, error: Exception) -> Classification | None:
        """Return that there is no classification, or `None` where the model is to be asked again.

        Raises:
            Exception: `error` itself, when it is a bug, a missing recording, or the caller's mistake.
        """
        if isinstance(error, (ValidationError, OutputParserException)) and not self._tried:
            self._tried = True
            return None
        return _failed(_why_failed(error, of_call=True))


class _ModelClassifier:
    """Asks a chat model for a classification in one structured call."""

    def __init__(self, model: BaseChatModel | str | Tier, tiers: tuple[Tier, ...], models: Models, kept: _Kept) -> None:
        self._tier = model if isinstance(model, Tier) else None
        self._asked = model if isinstance(model, Tier) else Tier("classifier", model, criteria="")
        self._models, self._kept = models, kept
        self.names = [tier.name for tier in tiers]
        self._schema = _schema_of(self.names)
        self._system = SystemMessage(system_prompt(tiers))
        self._ready: dict[int, tuple[BaseChatModel, Runnable[Any, Any] | None]] = {}

    def classify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        model = self._models.of(self._asked, context if self._tier else None)
        request = self._request(facts, model)
        if (found := self._found(key := self._kept.key(model, request), config, run_id)) is not None:
            return found
        if (structured := self._structured(model)) is None:
            return _failed(f"{type(model).__name__} gives no structured output.")
        asked, said = _Asked(structured, [self._system, request], self._config(config, run_id)), None
        while said is None:
            try:
                return self._kept.keep(key, self._read(asked.call.invoke(asked.messages, asked.config)))
            except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
                said = asked.failed(error)
        return said

    async def aclassify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        model = await self._models.aof(self._asked, context if self._tier else None)
        request = self._request(facts, model)
        if (found := self._found(key := self._kept.key(model, request), config, run_id)) is not None:
            return found
        if (structured := self._structured(model)) is None:
            return _failed(f"{type(model).__name__} gives no structured output.")
        asked, said = _Asked(structured, [self._system, request], self._config(config, run_id)), None
        while said is None:
            try:
                return self._kept.keep(key, self._read(await asked.call.ainvoke(asked.messages, asked.config)))
            except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
                said = asked.failed(error)
        return said

    def _request(self, facts: Facts, model: BaseChatModel) -> HumanMessage:
        """Return the request as it is told, with its pictures where the model may be able to see them."""
        text = request_prompt(facts)
        if not facts.pictures or (model.profile or {}).get("image_inputs") is False:
            return HumanMessage(text)
        return HumanMessage([{"type": "text", "text": text}, *map(small, facts.pictures[:_MOST_PICTURES])])

    def _found(self, key: bytes | None, config: RunnableConfig | None, run_id: str | None) -> Classification | None:
        """Return what is kept, and book that it cost nothing."""
        found = self._kept.found(key)
        if found is not None:
            around = self._config(ensure_config(config), run_id)
            rebook([free_entry(around["metadata"], self._asked.model)], around)
        return found

    def _config(self, config: RunnableConfig | None, run_id: str | None) -> RunnableConfig:
        told = call_metadata(role="classify", tier=self._tier, run_id=run_id)
        around: RunnableConfig = config or {}
        metadata = with_metadata(around.get("metadata"), told)
        return tagged(cast("RunnableConfig", {**around, "metadata": metadata}), CLASSIFY)

    def _structured(self, model: BaseChatModel) -> Runnable[Any, Any] | None:
        """Return what asks `model` for the schema, made once for each model; `None` where it cannot."""
        if (ready := self._ready.get(id(model))) is None:
            if len(self._ready) >= _MOST_READY:
                self._ready.clear()
            try:
                structured = brief(quiet(model), _MOST_SAID).with_structured_output(self._schema)
            except NotImplementedError:
                structured = None
            self._ready[id(model)] = (model, structured)  # the model is kept, so that its id stays its own
            return structured
        return ready[1]

    def _read(self, said: object) -> Classification:
        if isinstance(said, Mapping):
            said = self._schema.model_validate(said)
        if not isinstance(said, self._schema):
            raise OutputParserException(f"It answered {_short(said)} instead of a classification.")
        return cast("Classification", {**said.model_dump(), "decided_by": "classifier"})


class _FunctionClassifier:
    """Asks a function."""

    def __init__(self, function: ClassifierFunction, tiers: tuple[Tier, ...]) -> None:
        self._function = function
        self.names = [tier.name for tier in tiers]
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
        return _checked(said, self.names)

    async def aclassify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        del config, context, run_id
        try:
            said = self._function(facts) if self._is_async else await asyncio.to_thread(self._function, facts)
            return _checked(await said if isinstance(said, Awaitable) else said, self.names)
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error))


class _Foreign:
    """Asks a classifier that is somebody's own, or was made for other tiers: what it says is read with care."""

    def __init__(self, classifier: Classifier, tiers: tuple[Tier, ...]) -> None:
        self._classifier, self.names = classifier, [tier.name for tier in tiers]

    def classify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        try:
            said = self._classifier.classify(facts, config, context=context, run_id=run_id)
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error))
        return _checked(said, self.names)

    async def aclassify(
        self, facts: Facts, config: RunnableConfig | None = None, *, context: object = None, run_id: str | None = None
    ) -> Classification:
        try:
            said = await self._classifier.aclassify(facts, config, context=context, run_id=run_id)
        except Exception as error:  # noqa: BLE001  (what is no provider's failure is raised again)
            return _failed(_why_failed(error))
        return _checked(said, self.names)


def _checked(said: object, names: Sequence[str]) -> Classification:
    """Read a classification, or the name of a tier, whoever says it; what is out of range in it is unknown."""
    told = said if isinstance(said, Mapping) else {"tier": said}
    tier, reason = told.get("tier"), str(told.get("reason") or "")
    if tier is None and told.get("decided_by") == "classifier" and reason:
        return _failed(reason.removeprefix(_FAILED))
    if tier not in names:
        return _failed(f"It named {_short(tier)}, which is no tier; declared, cheapest first: {', '.join(names)}.")
    confidence, task = told.get("confidence"), told.get("task")
    is_share = isinstance(confidence, (int, float)) and not isinstance(confidence, bool) and 0 <= confidence <= 1
    return Classification(
        tier=str(tier),
        task=next((known for known in TASKS if known == task), UNKNOWN_TASK),
        confidence=float(cast("float", confidence)) if is_share else None,
        reason=reason or f"The classifier named {tier}.",
        decided_by="classifier",
    )


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
    reason = f"{_FAILED}{why}"
    return Classification(tier=None, task=UNKNOWN_TASK, confidence=None, reason=reason, decided_by="classifier")


def _why_failed(error: Exception, *, of_call: bool = False) -> str:
    """Tell why a classifier gave nothing; with `of_call`, an answer that cannot be read is the provider's failure.

    Raises:
        Exception: `error` itself, when it is a bug, a missing recording, or the caller's mistake.
    """
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"its {'.'.join(map(str, first['loc'])) or 'answer'} was {_short(first.get('input'))}. {first['msg']}."
    if isinstance(error, (OutputParserException, NoAnswerAcceptedError)) or type(error).__name__ in _GAVE_NOTHING:
        why = str(error).partition("\n")[0].rstrip(".")  # LangChain adds a page to read, below
        return f"{type(error).__name__}: {_short(why)}."
    failure = failure_of(error, of_call=of_call)
    if failure is None or is_callers_mistake(failure):
        raise error
    return f"{failure['message'].rstrip('.')}."


def _short(value: object) -> str:
    told = repr(value)
    return told if len(told) <= _LONGEST_QUOTE else f"{told[: _LONGEST_QUOTE - 3]}..."
