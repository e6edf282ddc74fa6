"""`TieredChatModel`: a chat model that answers each call with the cheapest tier that can do it."""

from __future__ import annotations

from contextlib import aclosing, closing
from functools import reduce
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from pydantic import SecretStr  # noqa: TC002  (a field's annotation)

from langchain_tiered.accounting.entries import TIERED
from langchain_tiered.chat_model.around import AROUND, Around, Streamed, config_of, opened
from langchain_tiered.chat_model.binding import STRUCTURED, Structured, Tools
from langchain_tiered.chat_model.calling import Call
from langchain_tiered.chat_model.parts import Parts, expect_fields, key_of, plain_policy, plain_tier, policy_of
from langchain_tiered.chat_model.reading import added, with_output
from langchain_tiered.chat_model.streaming import astreamed, streamed
from langchain_tiered.chat_model.structuring import structured_by
from langchain_tiered.models import default_tiers
from langchain_tiered.nodes.calls import adone, adrive, done, drive
from langchain_tiered.nodes.ladder import Accounted
from langchain_tiered.routing.facts import counted_tokens, estimated_tokens

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.routing.classifier import ClassifierFunction
    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.types import Tier, Tool

_SETTINGS = ("temperature", "max_tokens", "timeout", "max_retries", "api_key", "base_url")

_MAKING = frozenset({"tiers", "classifier", "policy", "checks", *_SETTINGS})
"""The fields that its parts are made of."""


class TieredChatModel(BaseChatModel):
    """A chat model over tiers: put it where one model stood.

    ```python
    model = TieredChatModel(default_tiers())
    message = model.invoke("Label as bug or praise: it crashes.")
    message.response_metadata["model_name"], message.response_metadata["route"], message.response_metadata["ledger"]
    ```

    Each call is routed by `TierRouter`; the tier's model answers, its answer is checked, and the engine's steps follow:
    wait, repair, fall back, escalate, downgrade. `response_metadata` tells the model that answered, the `route`, and
    the `ledger` of the call, rejected attempts included; `usage_metadata` is the answering call's alone. A conversation
    keeps its tier by the route on its AI messages.

    Tools and schemas are bound on the model of the tier that answers. Words stream as they come, save where a check
    reads the whole answer; tool calls stream once they are judged; of several answers (`n=2`), those come that pass.

    Models are built at first use, and again wherever `configurable_fields` change a field at run time. The `callbacks`
    that a tier's own model was made with are not called: give them to this model, or in the config. In a cache, a model
    whose checks or classifier are functions finds its own answers alone, and none of another process.

    Args:
        tiers: Cheapest first, or `None` for `default_tiers()`.
        classifier: Asked where the rules are unsure: as for `TierRouter`.
        policy: Bounds routes and steps.
        checks: What is asked of each answer, as for `create_tiered_agent`.
        kwargs: Fields of this model and of every LangChain chat model.

    Raises:
        ConfigurationError: What can be known at build: unknown fields, bad tiers or checks, unknown names in the
            policy, a policy that needs a graph. In a call, if a tier's model cannot be given the tools.
        InvalidInputError: In a call, if the user's last turn is empty.
        NoAnswerAcceptedError: In a call, if every attempt was rejected. A provider's error that ends the last attempt
            is raised as it is. Both have `attempts` and `ledger`.
    """

    tiers: Any = None
    """The tiers, cheapest first."""

    classifier: Any = "cheapest"
    """Asked where the rules are unsure."""

    policy: Any = None
    """Bounds routes and steps."""

    checks: Any = None
    """What is asked of each answer; `None` for the built-in checks."""

    temperature: float | None = None
    """For models that are built from strings, as all settings down to `base_url`; a model that you give has its own."""

    max_tokens: int | None = None
    """The longest answer of such a model, in tokens."""

    timeout: float | None = None
    """How long such a model is waited for, in seconds."""

    max_retries: int | None = None
    """How often such a model's client tries again by itself."""

    api_key: SecretStr | None = None
    """The key of such a model, or `None` for that of its provider's environment variable."""

    base_url: str | None = None
    """Where such a model is served, or `None` for its provider's own."""

    stop: list[str] | str | None = None
    """Words at which every answer ends, where a call names none."""

    streaming: bool = False
    """Whether `invoke` streams from the tier's model, for callbacks that listen to tokens."""

    def __init__(
        self,
        tiers: Sequence[Tier] | None = None,
        *,
        classifier: BaseChatModel | str | ClassifierFunction | None = "cheapest",
        policy: Policy | None = None,
        checks: ChecksLike = None,
        **kwargs: Any,
    ) -> None:
        expect_fields(type(self), kwargs)
        found: Any = default_tiers() if tiers is None else tiers
        super().__init__(tiers=found, classifier=classifier, policy=policy_of(policy), checks=checks, **kwargs)
        if self.__dict__.get("profile") is None:
            self.__dict__.pop("profile", None)  # made when it is asked for: it needs the tiers' models
        self.tiers = self._parts.tiers

    def __getattr__(self, name: str) -> Any:
        if name == "profile":
            return self._parts.profile()
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _MAKING:
            self.__dict__.pop("_made", None)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {name: value for name, value in state["__dict__"].items() if name != "_made"}}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        bare = self.__copy__()
        bare.__dict__.pop("_made", None)  # it has locks, and is made again
        return super(TieredChatModel, bare).__deepcopy__(memo)

    @property
    def _parts(self) -> Parts:
        """What the fields come to; made again for a copy with other fields."""
        made: Parts | None = self.__dict__.get("_made")  # a private attribute of pydantic takes five times as long
        if made is None:
            settings = {name: value for name in _SETTINGS if (value := getattr(self, name)) is not None}
            made = self.__dict__["_made"] = Parts(
                self.tiers, classifier=self.classifier, policy=self.policy, checks=self.checks, settings=settings
            )
        return made

    @property
    def _llm_type(self) -> str:
        return "langchain-tiered"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return self._parts.told

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        model, told = kwargs.get("model"), {"temperature": self.temperature, "max_tokens": self.max_tokens, **kwargs}
        name = model if isinstance(model, str) else self._parts.name
        params = LangSmithParams(ls_provider=TIERED, ls_model_name=name, ls_model_type="chat")
        if (temperature := told["temperature"]) is not None:
            params["ls_temperature"] = temperature
        if (max_tokens := told["max_tokens"]) is not None:
            params["ls_max_tokens"] = max_tokens
        if stops := stop or self._stops:
            params["ls_stop"] = stops
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """Return what a cache knows it by; functions, which have no plain form, make it this object's own."""
        told = super()._get_llm_string(stop=stop, **kwargs)
        is_plain = self._parts.is_plain and " at 0x" not in told  # another function may get a place in memory later
        return told if is_plain else f"{self._parts.id} {told}"

    @property
    def _stops(self) -> list[str] | None:
        return [self.stop] if isinstance(self.stop, str) else self.stop or None

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        wanted: Structured | None = kwargs.pop(STRUCTURED, None)
        told = {"_type": self._llm_type, **self._parts.told, "stop": stop, **kwargs}
        return told if wanted is None else {**told, "response_format": wanted.json, "method": wanted.method}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell that it can be written down, without secrets; a check or classifier that is a function cannot."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The names of what is a secret, and of the environment variable that it is read back from."""
        return {"api_key": key_of(self.tiers)}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The fields that are written down in a form of their own."""
        told: dict[str, Any] = {"tiers": [plain_tier(tier) for tier in self.tiers]}
        return told if self.policy is None else {**told, "policy": plain_policy(self.policy)}

    def get_num_tokens(self, text: str) -> int:
        """Estimate the tokens of a text, without any tier's model."""
        return estimated_tokens(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Estimate the tokens of messages, without any tier's model."""
        return counted_tokens(messages) + sum(estimated_tokens(str(tool)) for tool in Tools(tools or (), {}))

    def bind_tools(
        self, tools: Sequence[Tool | type], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools, which are bound once more on the model of the tier that answers.

        Args:
            tools: As the tiers' models take them.
            tool_choice: Which tool must be called, as the tiers' models take it.
            kwargs: What else the tiers' `bind_tools` take, such as `strict` or `parallel_tool_calls`.

        Raises:
            ValueError: If something is no tool.
        """
        told = kwargs.pop("ls_structured_output_format", None)
        options = kwargs if tool_choice is None else {"tool_choice": tool_choice, **kwargs}
        bound = self.bind(tools=Tools(cast("Any", tools), dict(options)), **options)
        return bound if told is None else bound.bind(ls_structured_output_format=told)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers in a schema, each tier's model by its own means.

        A stream of it gives an answer that is a dict once, whole: it is judged before it is seen.

        Args:
            schema: A pydantic class, a `TypedDict`, a JSON schema or a tool's schema; `None` only for `json_mode`.
            method: How the schema is asked for.
            include_raw: Whether to return `raw`, `parsed` and `parsing_error` instead of the value. Where the built-in
                checks let no attempt pass, `raw` is the last one and `parsing_error` says why.
            strict: Whether the provider must hold the answer to the schema, where it can.
            kwargs: What else the tiers' `with_structured_output` take, such as `tools`.

        Raises:
            ValueError: If the method is unknown, lacks its schema, or does not take `strict`.
        """
        return structured_by(self, schema, method, kwargs, include_raw=include_raw, strict=strict)

    def _call(self, messages: Sequence[BaseMessage], stop: Any, options: Any, run_manager: Any, **how: Any) -> Call:
        config = config_of(run_manager if run_manager is not None else AROUND.get())
        return Call(self._parts, messages, stop or self._stops, options, config, **how)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, kwargs, run_manager, is_async=False)
        with Accounted(call.state, None, call.recorder):
            call.route()
            end = drive(call.steps(), call.turn, call.ask)
            if others := call.others(end):
                call.keep([done(each, call.turn) for each in others])
            return call.answer(end)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, kwargs, run_manager, is_async=True)
        with Accounted(call.state, None, call.recorder):
            await call.aroute()
            end = await adrive(call.steps(), call.turn, call.aask)
            if others := call.others(end):
                call.keep([await adone(each, call.turn) for each in others])
            return call.answer(end)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs, run_manager, is_async=False, streams=True)
        with Accounted(call.state, None, call.recorder):
            call.route()
            yield from streamed(call)

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        return opened(self._aparts(self._call(messages, stop, kwargs, run_manager, is_async=True, streams=True)))

    async def _aparts(self, call: Call) -> AsyncGenerator[ChatGenerationChunk, None]:
        with Accounted(call.state, None, call.recorder):
            await call.aroute()
            async with aclosing(astreamed(call)) as parts:
                async for part in parts:
                    yield part

    def _generate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        with Around(kwargs.get("run_manager")):
            return with_output(super()._generate_with_cache(messages, *args, **kwargs))

    async def _agenerate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        with Around(kwargs.get("run_manager")):
            return with_output(await super()._agenerate_with_cache(messages, *args, **kwargs))

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        told = [(output["token_usage"], output["model_name"]) for output in llm_outputs if output]
        used: Any = reduce(added, (used for used, _ in told)) if told else {}
        return {"token_usage": used, "model_name": told[0][1] if len({name for _, name in told}) == 1 else None}

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Stream an answer; see `BaseChatModel.stream`."""
        call = Streamed(config, CallbackManager)
        parts: Any = super().stream(input, call.config, **kwargs)
        with closing(parts):
            with Around(call):  # only its first step looks around
                first = next(parts, None)
            if first is not None:
                yield first
                yield from parts

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream an answer; see `BaseChatModel.astream`."""
        call = Streamed(config, AsyncCallbackManager)
        parts: Any = super().astream(input, call.config, **kwargs)
        async with aclosing(parts), aclosing(call):
            with Around(call):
                first = await anext(parts, None)
            if first is not None:
                yield first
                async for part in parts:
                    yield part

    def _convert_cached_generations(self, cache_val: list[Any]) -> list[ChatGeneration]:
        """Return what a cache has kept, with an empty ledger: nothing was paid for it now."""
        kept = super()._convert_cached_generations(cache_val)
        for generation in kept:
            if "ledger" in generation.message.response_metadata:
                told = {**generation.message.response_metadata, "ledger": []}
                generation.message = generation.message.model_copy(update={"response_metadata": told})
        return kept

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy it; a copy shares the models that were built, unless what they are built by is changed."""
        copied = super().model_copy(update=update, deep=deep)
        if update and not _MAKING.isdisjoint(update):
            copied.__dict__.pop("_made", None)
        if copied.__dict__.get("profile", 0) is None:
            del copied.__dict__["profile"]
        return copied


class _Inspected(Signature):
    """The signature of a method that LangChain inspects at each call.

    What is left of it without `self` is made once. Made anew, it takes a twentieth of all that is done beside the
    tier's own.
    """

    def __init__(self, method: Any) -> None:
        parameters = list(signature(method).parameters.values())
        super().__init__(parameters)
        self._bound = Signature(parameters[1:])

    def replace(self, **_: Any) -> Signature:  # type: ignore[override]
        """Return what is left, as whoever binds a method asks for it."""
        return self._bound


for _name in ("_generate", "_agenerate"):
    _method: Any = getattr(TieredChatModel, _name)
    _method.__signature__ = _Inspected(_method)
