"""Say what is wrong with a value, in sentences that a model can mend it by and that quote nothing of it.

A tool that validates its own arguments is asked as it would ask itself, so what it would coerce is accepted; a class is
asked by pydantic; all else is held against its JSON schema. A schema that is itself broken (no valid JSON schema, a
reference that leads nowhere) says nothing of a value, which is accepted then. References are never fetched.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

from langchain_core.tools import BaseTool, Tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import get_fields
from pydantic import TypeAdapter
from pydantic_core.core_schema import ErrorType

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Finder: TypeAlias = Callable[[Any], list[str]]
"""What says what is wrong with a value; nothing where it is valid."""

MOST_LEVELS = 100
"""How deeply what a model says may be nested: at about 300 levels a checkpointer fails to store it."""

_LENGTH = 200
"""How much of what a rule allows is told, in characters."""

_LONG_WORD = 4
_WORD = re.compile(r"\w+")
_INPUT_SHOULD = re.compile(r"^\w+ should ")
_PYDANTICS_OWN = frozenset(get_args(ErrorType))
_MISSING = frozenset({"missing", "value_error.missing"})
_NOT_KNOWN = frozenset({"extra_forbidden", "value_error.extra"})
_OTHER_FIELDS = frozenset({"additionalProperties", "unevaluatedProperties"})
_KINDS = frozenset({"type", "const", "enum"})
_RULES = {
    "enum": "must be one of {}",
    "const": "must be {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "pattern": "must match the pattern {}",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "uniqueItems": "must have no item twice",
    "minProperties": "must have at least {} fields",
    "maxProperties": "must have at most {} fields",
}
"""What JSON schema's rules ask, by keyword."""


def is_too_deep(value: Any) -> bool:
    """Tell whether a value is nested too deeply to be judged, or stored: Python's own limits are near."""
    left = [(value, 1)]
    while left:
        each, depth = left.pop()
        if depth > MOST_LEVELS:
            return True
        inner = each.values() if isinstance(each, Mapping) else each if isinstance(each, (list, tuple)) else ()
        left += [(part, depth + 1) for part in inner if isinstance(part, (Mapping, list, tuple))]
    return False


def finder(source: Any) -> Finder:
    """Return what says what is wrong with a value for a tool, a class or a JSON schema.

    Args:
        source: A tool, a pydantic class, dataclass or `TypedDict`, a JSON schema, or `None` where all is right.
    """
    try:
        return _finder(source)
    except Exception:  # noqa: BLE001  (whatever a user's schema raises, it cannot judge a value)
        return _finds_nothing


def _finder(source: Any) -> Finder:
    if source is None:
        return _finds_nothing
    if isinstance(source, Mapping):
        return _by_json_schema(source)
    if isinstance(source, BaseTool):
        return _by_tool(source)
    if hasattr(source, "parse_obj") and not hasattr(source, "model_validate"):  # a class of pydantic's first version
        return partial(_broken_in_class, source.parse_obj, source.schema, frozenset())
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(source)
    except Exception:  # noqa: BLE001  (such as the standard library's `TypedDict` below Python 3.12)
        return _by_json_schema(_parameters(source))
    return partial(_broken_in_class, adapter.validate_python, adapter.json_schema, frozenset())


def _finds_nothing(_: Any) -> list[str]:
    return []


def _parameters(tool: Any) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = convert_to_openai_tool(tool)["function"]["parameters"]
    return parameters


def _by_tool(tool: BaseTool) -> Finder:
    """Validate as the tool does; what the run puts in (state, runtime, the call's id) is not the model's to give."""
    if isinstance(tool.args_schema, Mapping):
        return _by_json_schema(tool.args_schema)
    if isinstance(tool, Tool) and tool.args_schema is None:
        return _wants_one_argument
    whole: Any = tool.get_input_schema()
    fields = frozenset(get_fields(whole))
    if not fields:
        return _finds_nothing  # whatever it is given, such a tool runs without
    asked: Any = tool.tool_call_schema
    validate = whole.model_validate if hasattr(whole, "model_validate") else whole.parse_obj
    return partial(_broken_in_class, validate, partial(_parameters, tool), fields - frozenset(get_fields(asked)))


def _wants_one_argument(args: Mapping[str, Any]) -> list[str]:
    return [] if len(args) == 1 else ["it takes one argument"]


def _broken_in_class(
    validate: Callable[[Any], Any], described: Callable[[], Any], injected: frozenset[str], value: Any
) -> list[str]:
    """Tell what pydantic finds wrong besides what is `injected`; what the members of a union say is told as one."""
    given = deepcopy(value)  # validators may write into what they are given
    if injected and isinstance(given, dict):
        given = {name: each for name, each in given.items() if name not in injected}
    try:
        validate(given)
    except ValueError as error:
        errors = error.errors() if hasattr(error, "errors") else []
    except Exception:  # noqa: BLE001  (a user's validator that breaks says nothing of the value)
        return []
    else:
        return []
    errors = [each for each in errors if not (each["loc"] and each["loc"][0] in injected)]
    known: frozenset[str] = frozenset()
    with suppress(Exception):  # a class may have fields that have no JSON schema
        known = _fields_in(described()) if errors else known
    by_place: dict[str, list[str]] = {}
    for each in errors:
        where, what = _told_by_pydantic(each, value, known)
        by_place.setdefault(where, []).append(what)
    return [_told(where, _either(each)) for where, each in by_place.items()]


def _told_by_pydantic(error: Mapping[str, Any], value: Any, known: Collection[str]) -> tuple[str, str]:
    """Return where a problem is, and what it is."""
    kind, said, details = error["type"], str(error["msg"]), error.get("ctx") or {}
    path = _path(error["loc"][:-1], value)
    if kind in _MISSING:
        return _place([*path, *error["loc"][-1:]], {*known, *error["loc"][-1:]}), "is required"
    if kind in _NOT_KNOWN:
        return _place(path, known), "must have no other fields than those of its schema"
    where = _place(_path(error["loc"], value), known)
    if kind == "union_tag_invalid":  # its own words quote the tag
        return where, f"must have one of {details['expected_tags']} as its {details['discriminator']}"
    if kind in _PYDANTICS_OWN and kind.endswith("_parsing"):
        said = said.partition(", ")[0]  # what follows may quote a character
    elif (kind not in _PYDANTICS_OWN or "error" in details) and _quotes(said, value, known):
        said = "is not valid"
    said = said.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    return where, _INPUT_SHOULD.sub("must ", said).partition(" after validation")[0]


def _path(steps: Sequence[Any], value: Any) -> list[Any]:
    """Return the steps that lead through the value, without the members of unions that pydantic names between them."""
    path = []
    for step in steps:
        is_key = isinstance(value, Mapping) and step in value
        if is_key or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            path.append(step)
            value = value[step]
    return path


def _quotes(said: str, value: Any, known: Collection[str]) -> bool:
    """Tell whether the words of a user's validator hold something of the value: a long word of it, or a whole one."""
    spoken = frozenset(_WORD.findall(said.casefold()))
    for leaf in _leaves(value, known):
        words = _WORD.findall(leaf)
        if any(word in spoken for word in words if len(words) == 1 or len(word) >= _LONG_WORD):
            return True
        if leaf and not words and leaf in said:
            return True
    return False


def _leaves(value: Any, known: Collection[str]) -> Iterator[str]:
    """Tell the texts and numbers of a value, keys that are no declared field among them."""
    if isinstance(value, Mapping):
        yield from (str(key).casefold() for key in value if key not in known)
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each, known)
    elif value is not None and not isinstance(value, bool):
        yield str(value).casefold()


async def import_validators() -> None:
    """Import what holds a value against a JSON schema without blocking the event loop: it takes up to 80 ms, once."""
    if not validators_imported():
        await asyncio.to_thread(_import_validators)


def validators_imported() -> bool:
    """Tell whether that is there."""
    return bool(_import_validators.cache_info().currsize)


@cache
def _import_validators() -> None:
    _by_json_schema({})({})  # the first schema brings the schema of schemas with it


def _by_json_schema(schema: Mapping[str, Any]) -> Finder:
    from jsonschema.validators import Draft202012Validator, validator_for  # noqa: PLC0415  (30 ms that few need)
    from referencing import Registry  # noqa: PLC0415  (as above)

    kind = validator_for(schema, default=Draft202012Validator)
    kind.check_schema(dict(schema))
    # A registry of its own fetches nothing; the default one would.
    return partial(_broken_in_json, kind(dict(schema), registry=Registry()), schema)


def _broken_in_json(validator: Any, schema: Mapping[str, Any], value: Any) -> list[str]:
    try:
        errors = list(validator.iter_errors(value))
    except Exception:  # noqa: BLE001  (a reference that leads nowhere or to itself, a pattern that is none)
        return []
    known = _fields_in(schema) if errors else frozenset()
    return list(dict.fromkeys(each for error in errors for each in _told_by_json_schema(error, known)))


def _told_by_json_schema(error: ValidationError, known: Collection[str]) -> Iterator[str]:
    path, rule = list(error.absolute_path), str(error.validator)
    if rule == "required" and isinstance(error.validator_value, list) and isinstance(error.instance, Mapping):
        for name in error.validator_value:
            if name not in error.instance:
                yield _told(_place([*path, name], {*known, name}), "is required")
    elif rule in {"anyOf", "oneOf"} and (branches := _branches(error)):
        yield from _told_by_branches(branches, _place(path, known), known)
    else:
        yield _told(_place(path, known), _rule(error))


def _branches(error: ValidationError) -> list[list[ValidationError]]:
    """Return what each alternative finds wrong; nothing where more than one fits and only one should."""
    branches: dict[Any, list[ValidationError]] = {}
    for each in error.context or ():
        branches.setdefault(each.relative_schema_path[0], []).append(each)
    return list(branches.values())


def _told_by_branches(branches: list[list[ValidationError]], where: str, known: Collection[str]) -> Iterator[str]:
    """Tell what is wrong with the value as the nearest alternative of its kind, else which kinds there are."""
    meant = [branch for branch in branches if not any(map(_is_of_another_kind, branch))]
    if meant:
        for each in min(meant, key=len):
            yield from _told_by_json_schema(each, known)
        return
    marks = [next(filter(_is_of_another_kind, branch)) for branch in branches]
    if len({tuple(mark.absolute_path) for mark in marks}) == 1:
        yield _told(_place(list(marks[0].absolute_path), known), _either([_rule(mark) for mark in marks]))
    else:
        yield _told(where, f"must fit one of its {len(branches)} forms")


def _is_of_another_kind(error: ValidationError) -> bool:
    """Tell an alternative for another type of value, or for an object with another mark, from one that is close."""
    return error.validator in _KINDS and len(error.relative_path) <= (error.validator == "const")


def _rule(error: ValidationError) -> str:
    """Tell in words of the schema alone which rule is broken."""
    rule, wanted, schema = str(error.validator), cast("Any", error.validator_value), error.schema
    if not isinstance(schema, Mapping):
        return "holds what must not be given"  # the schema is `false`, and the place is its parent's
    if rule == "type":
        return f"must be of type {wanted if isinstance(wanted, str) else ' or '.join(map(str, wanted))}"
    if rule in _OTHER_FIELDS:
        fields = ", ".join(schema.get("properties", ()))
        return f"must have no other fields than {_short(fields)}" if fields else "must have no other fields"
    if rule not in _RULES:
        return f"breaks the rule {rule!r} of its schema"
    values = wanted if rule == "enum" else [wanted]
    return _RULES[rule].format(_short(", ".join(json.dumps(each, ensure_ascii=False, default=str) for each in values)))


def _short(text: str) -> str:
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}..."


def _fields_in(schema: Any) -> frozenset[str]:
    """Return the names of the fields that a JSON schema declares anywhere: other keys are the model's own words."""
    if isinstance(schema, list):
        return frozenset().union(*map(_fields_in, schema))
    if not isinstance(schema, Mapping):
        return frozenset()
    fields = schema.get("properties")
    own = frozenset(fields) if isinstance(fields, Mapping) else frozenset()
    return own.union(*map(_fields_in, schema.values()))


def _place(path: Sequence[Any], known: Collection[str]) -> str:
    """Write a place as `'items[0].name'`; a key that no schema declares is `*`."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step if step in known else '*'}" for step in path]
    return f"'{''.join(steps).removeprefix('.')}'" if steps else ""


def _told(where: str, what: str) -> str:
    is_verb = what.startswith(("must ", "is ", "breaks ", "holds "))
    return f"{where or 'it'} {what}" if is_verb else f"{where}: {what}" if where else what


def _either(whats: list[str]) -> str:
    """Say of several rules that one is enough: `must be of type integer or null`."""
    first, *others = dict.fromkeys(whats)
    for start in ("must be of type ", "must be ", "must "):
        if first.startswith(start) and all(other.startswith(start) for other in others):
            return " or ".join([first, *(other.removeprefix(start) for other in others)])
    return " or ".join([first, *others])
