"""What is bound on a `TieredChatModel`: kept as it was given, and bound on the model of the tier that answers.

Each provider has forms of its own for tools and schemas, so a binding for one tier is of no use to another.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial, reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ValidationError

from langchain_tiered.accounting.collecting import uncollected
from langchain_tiered.cascade.validity import value_in
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError
from langchain_tiered.routing.facts import NO_TOOLS, ToolFacts, tool_facts
from langchain_tiered.types import Tier, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable

    from langchain_tiered.types import Tool

Method = Literal["json_schema", "function_calling", "json_mode"]

STRUCTURED = "structured"
"""The keyword that carries a `Structured` from a binding to the call."""

NOT_ACCEPTED = "not_accepted"
"""What tells in a message's metadata that it was not accepted, and why: `include_raw` gives it beside the error."""


class Ready(NamedTuple):
    """A tier's model as a call needs it."""

    model: BaseChatModel | Whole
    """What is called."""

    options: dict[str, Any]
    """The keywords that binding came to."""


class Whole:
    """A runnable that binding made of a model and that is no binding of it: it can only be asked for whole answers."""

    def __init__(self, runnable: Runnable[Any, Any]) -> None:
        self.runnable = runnable

    def generate(self, messages: Sequence[BaseMessage], options: dict[str, Any]) -> ChatResult:
        """Ask for an answer; whoever makes the call tells those who listen to it."""
        with uncollected():
            said = self.runnable.invoke(list(messages), {"callbacks": []}, **options)
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def agenerate(self, messages: Sequence[BaseMessage], options: dict[str, Any]) -> ChatResult:
        """Do what `generate` does, without blocking the event loop."""
        with uncollected():
            said = await self.runnable.ainvoke(list(messages), {"callbacks": []}, **options)
        return ChatResult(generations=[ChatGeneration(message=said)])


class _Kept:
    """Bindings that were made, by the model; a few models share one."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[BaseChatModel, Ready]] = {}

    def of(self, model: BaseChatModel) -> Ready | None:
        made = self._made.get(id(model))
        return made[1] if made is not None and made[0] is model else None

    def keep(self, model: BaseChatModel, ready: Ready) -> Ready:
        self._made[id(model)] = (model, ready)
        return ready

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()  # another process binds anew


class Tools(list[Any]):
    """The tools of a binding, in OpenAI's form for tracers and caches, and as they were given for the tiers' models."""

    def __init__(self, given: Sequence[Tool], options: dict[str, Any]) -> None:
        """Take the tools, and the options that were bound with them, such as `tool_choice`.

        Raises:
            InvalidInputError: If something is no tool.
        """
        self.facts: ToolFacts = tool_facts(given)
        super().__init__(_shown(tool, options.get("strict")) for tool in given)
        self.given, self.options, self._kept = tuple(given), options, _Kept()

    def ready(self, tier: Tier, model: BaseChatModel, options: dict[str, Any]) -> Ready:
        """Return a tier's model with the tools bound, once for each model.

        Args:
            tier: Whose model it is.
            model: The model.
            options: Those of the binding, as the call has them.

        Raises:
            ConfigurationError: If the model cannot be given tools; names the tier.
        """
        is_own = options == self.options
        if is_own and (kept := self._kept.of(model)) is not None:
            return kept
        try:
            bound = model.bind_tools(self.given, **options)
        except NotImplementedError as error:
            raise _cannot(tier, model, "be given tools") from error
        ready = _ready(bound)
        return self._kept.keep(model, ready) if is_own else ready

    def __reduce__(self) -> tuple[Any, ...]:
        return Tools, (self.given, self.options)


class Structured:
    """The schema of a structured answer, and the way in which it is asked for."""

    def __init__(self, schema: Any, method: Method, options: dict[str, Any], *, include_raw: bool = False) -> None:
        """Take the schema, the method and what else `with_structured_output` was given."""
        self.schema, self.method, self.options, self._kept = schema, method, options, _Kept()
        self.include_raw = include_raw
        """Whether a message that was not accepted is wanted too, beside the error."""
        shown = None if schema is None else convert_to_json_schema(schema)
        self.json = schema.model_json_schema() if is_class(schema) and hasattr(schema, "model_json_schema") else shown
        """The schema as tracers show it and caches know it; LangChain's own form of a class loses parts of it."""
        self.checked: Any = schema if is_class(schema) else self.json
        """The schema as the checks read it."""
        self.name = str((shown or {}).get("title") or "")
        """What the model knows the schema by, where it is a tool to it."""
        tools = [*options.get("tools", ()), *([schema] if method == "function_calling" else ())]
        self.facts: ToolFacts = tool_facts(options["tools"]) if options.get("tools") else NO_TOOLS
        self.tools: tuple[Any, ...] = tuple(tools)

    def __repr__(self) -> str:
        options = {name: value for name, value in self.options.items() if name != "tools"}  # they are bound beside it
        told = f"{self.method} {json.dumps(self.json, sort_keys=True, default=str)} {options!r}"  # a cache's key
        return f"{told} with raw" if self.include_raw else told

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Structured, include_raw=self.include_raw), (self.schema, self.method, self.options)

    def ready(self, tier: Tier, model: BaseChatModel) -> Ready:
        """Return a tier's model as it gives structured answers, made once for each model.

        Raises:
            ConfigurationError: If the model gives none; names the tier.
        """
        if (kept := self._kept.of(model)) is not None:
            return kept
        ready = self._ready(tier, model, self.schema)
        if self.method == "json_schema" and is_class(self.schema):
            if isinstance(ready.model, Whole):  # what it asks with is out of reach
                ready = self._ready(tier, model, convert_to_json_schema(self.schema))
            ready = Ready(ready.model, _without_class(ready.options, self.schema))
        return self._kept.keep(model, ready)

    def _ready(self, tier: Tier, model: BaseChatModel, schema: Any) -> Ready:
        options = dict(self.options)
        if self.method == "json_schema" and is_class(self.schema) and named(model)[1] == "openai":
            # A class is asked for strictly, and OpenAI's client then takes no tool beside it that is not strict.
            options["strict"] = True if options.get("strict") is None else options["strict"]
        try:
            made = model.with_structured_output(schema, method=self.method, **options)
        except NotImplementedError as error:
            raise _cannot(tier, model, "give structured output") from error
        if not isinstance(made, RunnableSequence):
            raise _cannot(tier, model, "give structured output in a form that is known here")
        return _ready(made.first)

    def value_in(self, message: AIMessage) -> dict[str, Any] | None:
        """Return the arguments of the one call that gives the structured answer; `None` where none does."""
        calls = [call["args"] for call in message.tool_calls if call["name"] == self.name]
        return calls[0] if len(calls) == 1 == len(message.tool_calls) else None

    def parsed(self, message: AIMessage) -> Any:
        """Return the structured answer; `None` where tools are called instead.

        Raises:
            OutputParserException: If there is none, or it does not fit the schema.
            NoAnswerAcceptedError: If the message was not accepted, and is here beside this error.
        """
        if (rejected := message.response_metadata.get(NOT_ACCEPTED)) is not None:
            error = NoAnswerAcceptedError(rejected["attempts"], rejected["why"])
            error.ledger = message.response_metadata["ledger"]
            raise error
        value: Any = next((call["args"] for call in message.tool_calls if call["name"] == self.name), None)
        if value is None and (message.tool_calls or self.method == "function_calling"):
            return None
        try:
            if value is None:
                value = value_in(message)
            if is_class(self.schema) and not isinstance(value, self.schema):
                return self.schema.model_validate(value) if issubclass(self.schema, BaseModel) else self.schema(**value)
        except (ValidationError, ValueError) as error:
            told = f"The answer is no {self.name or 'JSON'}: {error}"
            raise OutputParserException(told, llm_output=message.text) from error
        return value


def plain_schema(options: dict[str, Any]) -> Any:
    """Return the schema of a `response_format` that was bound without `with_structured_output`, or `None`."""
    wanted = options.get("response_format")
    if is_class(wanted):
        return wanted
    told = wanted.get("json_schema") if isinstance(wanted, dict) else None
    return told.get("schema") if isinstance(told, dict) else None


def is_class(schema: Any) -> bool:
    """Tell whether a schema is a pydantic class, old or new."""
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _without_class(options: dict[str, Any], schema: type[BaseModel]) -> dict[str, Any]:
    """Return the keywords of a binding with what OpenAI's client makes of a class, in place of the class.

    Given the class, that client would validate the answer itself, and raise over one that falls short instead of
    telling it to the checks. Others who have OpenAI's form write LangChain's form of the schema there, which loses
    parts of it. Those who have a form of their own have it from pydantic.
    """
    form = options.get("response_format")
    if form is schema:
        form = {"type": "json_schema", "json_schema": {"name": schema.__name__, "strict": True}}
    elif not isinstance(form, dict) or not isinstance(form.get("json_schema"), dict):
        return options
    told, whole = form["json_schema"], schema.model_json_schema()
    told = {**told, "schema": _strict(whole, whole) if told.get("strict") else whole}
    return {**options, "response_format": {**form, "json_schema": told}}


def _strict(schema: dict[str, Any], root: dict[str, Any], inside: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a JSON schema as OpenAI's strict mode takes it, and as its client makes it of a class.

    Every property is required, no object has others than were declared, and nothing stands beside a `$ref`.

    Args:
        schema: The schema, or a part of it.
        root: The whole, which its references are looked up in.
        inside: The references that are being written out around it.
    """
    made = dict(schema)
    for name in made.keys() & {"$defs", "properties"}:
        made[name] = {key: _strict(part, root, inside) for key, part in made[name].items()}
    for name in made.keys() & {"anyOf", "allOf"}:
        made[name] = [_strict(part, root, inside) for part in made[name]]
    if isinstance(made.get("items"), dict):
        made["items"] = _strict(made["items"], root, inside)
    if len(made.get("allOf", ())) == 1:
        made |= made.pop("allOf")[0]
    if made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    if "properties" in made:
        made["required"] = list(made["properties"])
    if made.get("default", ...) is None:
        del made["default"]
    if "$ref" not in made or len(made) == 1:
        return made
    ref = made.pop("$ref")
    if ref in inside:
        return {"$ref": ref}  # written out, it would have no end
    resolved = reduce(getitem, ref.removeprefix("#/").split("/"), root)
    return _strict({**resolved, **made}, root, (*inside, ref))


def _shown(tool: Tool, strict: bool | None) -> Any:  # noqa: FBT001  (the name that LangChain's binding has for it)
    """Return a tool in OpenAI's form; another provider's own tool stays as it is."""
    if isinstance(tool, dict):
        with suppress(ValueError):
            return convert_to_openai_tool(tool, strict=strict)
        return tool
    return convert_to_openai_tool(tool, strict=strict)


def _ready(bound: Runnable[Any, Any]) -> Ready:
    """Take a binding apart into the model and the keywords; the format for LangChain's tracing is none of them."""
    inner: Any = bound
    options: dict[str, Any] = {}
    while isinstance(inner, RunnableBindingBase):
        inner, options = inner.bound, {**inner.kwargs, **options}
    options.pop("ls_structured_output_format", None)
    return Ready(inner, options) if isinstance(inner, BaseChatModel) else Ready(Whole(bound), {})


def _cannot(tier: Tier, model: BaseChatModel, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"Tier {tier.name!r}: its model, a {type(model).__name__}, cannot {what}. Give the tier another model, or take "
        "it out of the tiers."
    )
