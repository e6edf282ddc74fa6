"""What OpenAI refuses in a request, in its words: missing fields, wrong types, calls without results, loose schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tiered.offline.wire import WireError

if TYPE_CHECKING:
    from langchain_tiered.offline.wire import Api

    JSON = dict[str, Any]

INVALID_VALUE = "invalid_value"
"""The code of a value outside a vocabulary."""

_MISSING, _TYPE = "missing_required_parameter", "invalid_type"
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "messages": ((list,), "an array of objects"),
    "input": ((str, list), "a string or an array of objects"),
    "instructions": ((str,), "a string"),
    "stream": ((bool,), "a boolean"),
    "stream_options": ((dict,), "an object"),
    "tools": ((list,), "an array of objects"),
    "tool_choice": ((str, dict), "a string or an object"),
    "parallel_tool_calls": ((bool,), "a boolean"),
    "response_format": ((dict,), "an object"),
    "text": ((dict,), "an object"),
    "reasoning": ((dict,), "an object"),
    "metadata": ((dict,), "an object"),
    "stop": ((str, list), "a string or an array of strings"),
    "temperature": ((int, float), "a decimal"),
    "max_tokens": ((int,), "an integer"),
    "max_completion_tokens": ((int,), "an integer"),
    "max_output_tokens": ((int,), "an integer"),
    "n": ((int,), "an integer"),
    "service_tier": ((str,), "a string"),
}
_TOLD = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", list: "an array", dict: "an object"}


def check_kinds(body: JSON) -> None:
    """Refuse a field of the wrong type; null stands for one that is left out."""
    for name in _KINDS.keys() & body.keys():
        (kinds, words), value = _KINDS[name], body[name]
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise wrong_type(name, words, value)


def wrong_type(name: str, words: str, value: object) -> WireError:
    """Return the error of a field of the wrong type; `words` tell the right one."""
    told = _TOLD.get(type(value), "null")
    return WireError(400, f"Invalid type for '{name}': expected {words}, but got {told} instead.", name, _TYPE)


def missing(name: str) -> WireError:
    """Return the error of a field that is not there."""
    return WireError(400, f"Missing required parameter: '{name}'.", name, _MISSING)


def check_message(message: object, place: str) -> None:
    """Refuse a message without a role or content, or with a part that cannot be read."""
    if not isinstance(message, dict):
        raise wrong_type(place, "an object", message)
    if "role" not in message:
        raise missing(f"{place}.role")
    if (role := message["role"]) not in _ROLES:
        known = ", ".join(f"'{each}'" for each in _ROLES)
        raise WireError(400, f"Invalid value: '{role}'. Supported values are: {known}.", f"{place}.role", INVALID_VALUE)
    content = message.get("content")
    if not isinstance(content, (str, list)) and not (content is None and role == "assistant"):
        raise wrong_type(f"{place}.content", "a string or an array of objects", content)
    for at, block in enumerate(content if isinstance(content, list) else ()):
        _check_block(block, f"{place}.content[{at}]")
    _check_call_parts(message, place)


def _check_call_parts(message: JSON, place: str) -> None:
    for at, call in enumerate(message.get("tool_calls") or ()):
        if not isinstance(call, dict) or not isinstance(call.get("function", call.get("custom")), dict):
            raise missing(f"{place}.tool_calls[{at}].function")
        if not isinstance(call.get("id"), str):
            raise missing(f"{place}.tool_calls[{at}].id")
    if message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise missing(f"{place}.tool_call_id")


def _check_block(block: object, place: str) -> None:
    if not isinstance(block, dict):
        raise wrong_type(place, "an object", block)
    if "type" not in block:
        raise missing(f"{place}.type")
    if block["type"] == "text" and not isinstance(block.get("text"), str):
        raise missing(f"{place}.text")
    if block["type"] == "image_url":
        image = block.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if not isinstance(url, str) or not url.startswith(("data:image/", "https://", "http://")):
            told = "Expected a valid URL, but got a value with an invalid format."
            raise WireError(400, f"Invalid '{place}.image_url.url'. {told}", f"{place}.image_url.url", INVALID_VALUE)


_ORPHAN = {
    "chat": "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
    "responses": "No tool call found for function call output with call_id {}.",
}
_OPEN = {
    "chat": (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        "The following tool_call_ids did not have response messages: {}"
    ),
    "responses": "No tool output found for function call {}.",
}


def check_calls(api: Api, messages: list[JSON]) -> None:
    """Refuse a conversation in which a tool call has no result, or a result no call."""
    param, pending = ("messages" if api == "chat" else "input"), list[str]()
    for message in [*messages, {"role": "end"}]:
        if message["role"] == "tool":
            if (answered := message["tool_call_id"]) not in pending:
                raise WireError(400, _ORPHAN[api].format(answered), param)
            pending.remove(answered)
        elif pending:
            raise WireError(400, _OPEN[api].format(", ".join(pending)), param)
        else:
            pending = [call["id"] for call in message.get("tool_calls") or ()]


def check_strict(schema: Any, what: str, param: str, path: tuple[str, ...] = ()) -> None:
    """Refuse a schema that strict mode does not take: every object is closed, and all its fields are required."""
    for name, value in schema.items() if isinstance(schema, dict) else ():
        inner = value.items() if name in ("properties", "$defs") and isinstance(value, dict) else ((name, value),)
        for key, each in inner:
            for part in each if isinstance(each, list) else [each]:
                check_strict(part, what, param, (*path, name, key))
    if not isinstance(schema, dict) or "properties" not in schema:
        return
    told = f"Invalid schema for {what}: In context={path!r}, "
    if schema.get("additionalProperties") is not False:
        told += "'additionalProperties' is required to be supplied and to be false."
    elif missing := [name for name in schema["properties"] if name not in (schema.get("required") or ())]:
        told += "'required' is required to be supplied and to be an array including every key in properties. "
        told += f"Missing '{missing[0]}'."
    else:
        return
    raise WireError(400, told, param, "invalid_function_parameters" if "tools" in param else None)
