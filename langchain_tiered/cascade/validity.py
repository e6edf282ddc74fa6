"""Say of an answer's tool calls, and of its structured value, whether they fit what was declared; no model is asked.

What is wrong is told in sentences that name tools, fields and what their schemas allow, never a value that the model
gave: a verdict's reason is public.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import cached_property, lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langchain_tiered.cascade.schemas import MOST_LEVELS, finder, is_too_deep
from langchain_tiered.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import AIMessage

    from langchain_tiered.cascade.checks import CheckInput
    from langchain_tiered.cascade.schemas import Finder

_TOLD = 3
"""How many problems of a call are told, and how many calls."""

_NAMED = 20
"""How many tools an unknown name is answered with."""

_KEPT = 512
"""How many tools and schemas are remembered."""

_FENCED = re.compile(r"```json[ \t]*\r?\n(.*?)```", re.DOTALL | re.IGNORECASE)
_UNTITLED = re.compile(r"response_format_[0-9a-f]{4}")


def valid_tool_calls(given: CheckInput) -> Verdict:
    """Reject an answer with a call that cannot be run: no JSON, no such tool, or arguments that its schema forbids.

    Nothing validates the arguments of a tool that the provider runs, of a custom tool, and of one whose schema is
    broken: such a call is accepted. A call for the structured answer is judged by `matches_schema`.
    """
    answer = given.answer
    if not (answer.tool_calls or answer.invalid_tool_calls):
        return _verdict("valid_tool_calls", None, "It calls no tool.")
    wrong = [why for _, why in _wrong_calls(answer, given.tools, _outputs(given.schema), judged=False)]
    if len(wrong) > _TOLD:
        wrong[_TOLD:] = [f"And {len(wrong) - _TOLD} more calls."]
    return _verdict("valid_tool_calls", " ".join(wrong), "Its tool calls are valid.")


def matches_schema(given: CheckInput) -> Verdict:
    """Reject an answer whose structured value does not fit the schema that is wanted; a tool turn is not one.

    The value stands in a call named after the schema, in what the client has parsed, or in the text, all of it or one
    fenced `json` block. Of a union, one member has to fit.
    """
    if given.schema is None:
        return _verdict("matches_schema", None, "No schema is wanted.")
    answer, forms = given.answer, _forms(_Same(given.schema))
    calls = [(call, form) for call in answer.tool_calls if (form := _form_of(call["name"], forms)) is not None]
    if len(calls) > 1:
        why = f"It gives {len(calls)} structured answers; one is wanted."
    elif calls:
        ((call, form),) = calls
        why = _sentence(call["name"], form.problems(call["args"]))
    elif answer.tool_calls or any(_form_of(call["name"], forms) is None for call in answer.invalid_tool_calls):
        return _verdict("matches_schema", None, "It calls tools.")
    else:
        why = _wrong_value(answer, _wholes(_Same(given.schema)))
    return _verdict("matches_schema", why, "The answer fits the schema.")


def problems_of(answer: AIMessage, tools: Sequence[Any], schema: Any = None) -> dict[str | None, str]:
    """Return what is wrong with each call that cannot be run, by the call's id, for the model to read.

    Args:
        answer: The answer with the calls. Those that are no JSON come last; calls without an id share one entry.
        tools: The tools that the model was given.
        schema: The schema of the structured answer; unlike in `valid_tool_calls`, a call for it is judged too.
    """
    found: dict[str | None, str] = {}
    for call_id, why in _wrong_calls(answer, tools, _outputs(schema), judged=True):
        found[call_id] = f"{found[call_id]} {why}" if call_id in found else why
    return found


def _verdict(check: str, why: str | None, fine: str) -> Verdict:
    """Reject for what is wrong, or accept where that is nothing."""
    return Verdict(accepted=not why, check=check, reason=why or fine, score=None)


class _Same:
    """An object as a cache's key: a dict by what it says, since clients make it anew each time, else by its identity.

    It is kept, so that its id stays its own.
    """

    __slots__ = ("it", "key")

    def __init__(self, it: Any) -> None:
        self.it = it
        self.key: int | str = id(it)
        if isinstance(it, dict):
            with suppress(TypeError, ValueError, RecursionError):  # keys of several types, a circle, too deep
                self.key = json.dumps(it, sort_keys=True, default=id)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.key == self.key


class _Declared:
    """A tool or schema by the name that the model knows it by."""

    def __init__(self, name: str | None, source: Any) -> None:
        """Take the name, `None` where it is made up anew each time, and what validates, `None` where nothing does."""
        self.name, self.source = name, source

    @cached_property
    def problems(self) -> Finder:
        """What says what is wrong with a value; built at first use, since of many tools few are called."""
        return finder(self.source)


def _wrong_calls(
    answer: AIMessage, tools: Sequence[Any], outputs: Sequence[_Declared], *, judged: bool
) -> Iterator[tuple[str | None, str]]:
    """Tell the id and the problem of each wrong call, of those for the structured answer too if they are `judged`."""
    several = sum(_form_of(call["name"], outputs) is not None for call in answer.tool_calls) if outputs else 0
    for call in answer.tool_calls:
        output = _form_of(call["name"], outputs)
        if output is not None and not judged:
            continue
        declared = output or _tool_of(call["name"], tools)
        if declared is None:
            yield call["id"], _unknown(call["name"], tools, outputs)
        elif output is not None and several > 1:
            yield call["id"], f"{call['name']}: it is one of {several} structured answers; one is wanted."
        elif is_too_deep(call["args"]):
            yield call["id"], f"{call['name']}: the arguments are nested more than {MOST_LEVELS} levels deep."
        elif found := declared.problems(call["args"]):
            yield call["id"], _sentence(call["name"], found)
    for broken in answer.invalid_tool_calls:
        name = broken["name"]
        if name and _form_of(name, outputs) is None and _tool_of(name, tools) is None:
            yield broken["id"], _unknown(name, tools, outputs)
        else:
            yield broken["id"], f"{name or 'A call'}: the arguments are no JSON."


def _tool_of(name: str, tools: Sequence[Any]) -> _Declared | None:
    for tool in tools:
        if (declared := _declared_by(_Same(tool)).get(name)) is not None:
            return declared
    return None


def _form_of(name: str | None, forms: Sequence[_Declared]) -> _Declared | None:
    """Return the form that a call is for; the name of a schema without a title is made up by `create_agent`."""
    for form in forms:
        if name == form.name or (form.name is None and _UNTITLED.fullmatch(name or "")):
            return form
    return None


def _unknown(name: str, tools: Sequence[Any], outputs: Sequence[_Declared]) -> str:
    known = [known for tool in tools for known in _declared_by(_Same(tool))]
    known = list(dict.fromkeys([*known, *(form.name for form in outputs if form.name is not None)]))
    if not known:
        return f"It called {name[:64]!r}, but it was given no tools."
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"It called {name[:64]!r}, which is no tool here; there are: {', '.join(known[:_NAMED])}{more}."


def _sentence(name: str, found: list[str]) -> str:
    """Tell the first problems, and how many there are besides; nothing where there are none."""
    told = found[:_TOLD] + ([f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else [])
    return f"{name}: {'; '.join(told)}." if told else ""


@lru_cache(maxsize=_KEPT)
def _declared_by(tool: _Same) -> Mapping[str, _Declared]:
    """Return what a tool declares, by name: one, save where a dict holds several. Later changes are not seen."""
    return {name: _Declared(name, source) for name, source in _sources(tool.it)}


def _sources(tool: Any) -> Iterator[tuple[str, Any]]:
    """Tell each tool's name, and what validates its arguments, `None` where nothing does."""
    if isinstance(tool, BaseTool):
        yield tool.name, tool
        return
    if isinstance(tool, dict):
        yield from _sources_of_dict(tool)
        return
    name, source = str(getattr(tool, "__name__", type(tool).__name__)), None
    with suppress(Exception):  # what cannot be converted is still known by its name
        if isinstance(tool, type):
            told = convert_to_openai_tool(tool)["function"]
            name, source = told["name"], tool if is_basemodel_subclass(tool) else told.get("parameters")
        else:
            source = StructuredTool.from_function(tool, description=tool.__doc__ or name)
    yield name, source


def _sources_of_dict(spec: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Read OpenAI's forms, JSON schemas with a title, Anthropic's and Bedrock's; else it is the provider's own tool."""
    several = spec.get("tools") or spec.get("function_declarations")
    if isinstance(several, list):
        for each in several:
            yield from _sources(each)
        return
    told: Any = spec
    with suppress(Exception):  # not a form that LangChain knows
        told = convert_to_openai_tool(spec)
    told = next((told[kind] for kind in ("function", "custom") if isinstance(told.get(kind), dict)), told)
    yield str(told.get("name") or spec.get("type") or next(iter(spec), "unknown")), told.get("parameters")


def _outputs(schema: Any) -> Sequence[_Declared]:
    """Return the forms of the structured answer that are tools to the model; none where the provider's own way is."""
    return () if schema is None or _is(schema, "schema_spec") else _forms(_Same(schema))


@lru_cache(maxsize=_KEPT)
def _forms(schema: _Same) -> tuple[_Declared, ...]:
    """Return what a call may be for that gives the structured answer, by the names that `create_agent` makes up."""
    wanted = schema.it
    if _is(wanted, "schema_specs"):
        return tuple(_Declared(spec.name, spec.schema) for spec in wanted.schema_specs)
    return tuple(_members(_bare(wanted), split=True))


@lru_cache(maxsize=_KEPT)
def _wholes(schema: _Same) -> tuple[_Declared, ...]:
    """Return what the structured answer may be where it stands in the message itself."""
    return tuple(_members(_bare(schema.it), split=False))


def _bare(schema: Any) -> Any:
    """Take the schema out of a strategy."""
    return schema.schema if _is(schema, "schema") else schema


def _is(schema: Any, attribute: str) -> bool:
    """Tell a strategy by its attribute: `langchain.agents` takes a second to import, and may not be needed."""
    return not isinstance(schema, (type, dict)) and hasattr(schema, attribute)


def _members(schema: Any, *, split: bool) -> Iterator[_Declared]:
    """Tell the members of a union; those of a JSON schema's `oneOf` are `split` into a tool each."""
    if get_origin(schema) in {Union, UnionType}:
        for member in get_args(schema):
            yield from _members(member, split=split)
    elif split and isinstance(schema, dict) and "oneOf" in schema:
        for member in schema["oneOf"]:
            yield from _members(member, split=split)
    elif isinstance(schema, dict):
        yield _Declared(str(schema["title"]) if "title" in schema else None, schema)
    else:
        yield _Declared(getattr(schema, "__name__", None), schema)


def _wrong_value(answer: AIMessage, forms: Sequence[_Declared]) -> str:
    """Tell what is wrong with the value that stands in the message itself; of several forms, with the nearest."""
    try:
        value = value_in(answer)
    except (ValueError, RecursionError):
        return "The answer is no JSON."
    wrong: list[tuple[int, str]] = []
    for form in forms:
        if not (found := form.problems(_plain(value, form.source))):
            return ""
        wrong.append((len(found), _sentence(form.name or "The answer", found)))
    return min(wrong, key=lambda each: each[0])[1]


def value_in(answer: AIMessage) -> Any:
    """Return the structured value that stands in the message itself: what a client has parsed, or JSON in the text.

    Raises:
        ValueError: If there is none.
    """
    parsed = answer.additional_kwargs.get("parsed")
    return _json_of(answer.text) if parsed is None else parsed


def _json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        (block,) = _FENCED.findall(text)  # none or several are a `ValueError` too
        return json.loads(block)


def _plain(value: Any, source: Any) -> Any:
    """Return what a client has parsed into another class than the schema's as plain JSON."""
    if isinstance(value, BaseModel) and source not in type(value).__mro__:
        with suppress(Exception):  # what cannot be written as JSON stays as it is
            return value.model_dump(mode="json", by_alias=True)
    return value
