"""Reads requests of both protocols into one form, and refuses what OpenAI would refuse, in its words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tiered.offline import invalid
from langchain_tiered.offline.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_tiered.offline.wire import Api

    JSON = dict[str, Any]

CHARACTERS_PER_TOKEN = 4
"""How the offline models count."""

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_DATES = {"gpt-5.4": "2026-03-05"}
_LAUNCHED = "2026-03-17"
_LEAST_OUTPUT = 16  # what the Responses API asks for at least
_KEYS = re.compile(r"(?:['\"`]\w{1,40}['\"`][^'\"`\n.]{0,5}){1,20}\s*(?:keys?|fields?)\b")
_NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


@dataclass(frozen=True)
class Asked:
    """A request that could be read."""

    api: Api
    """The protocol it came in."""

    model: str
    """The model's plain name, without its date."""

    body: JSON
    """All that was sent."""

    messages: list[JSON]
    """The conversation, in the form of Chat Completions."""

    tools: list[JSON]
    """The functions offered, in the form of Chat Completions; tools that only a provider can run are left out."""

    tool_choice: str | JSON | None = None
    """Which tool must be called, in the form of Chat Completions."""

    schema: JSON | None = None
    """The JSON schema of the answer, or `None` for words."""

    max_tokens: int | None = None
    """The most that may be answered, or `None`."""

    @property
    def named(self) -> str:
        """The model as answers name it: with its date."""
        if _DATE.search(str(self.body["model"])) or not self.model.startswith("gpt-5.4"):
            return str(self.body["model"])
        return f"{self.model}-{_DATES.get(self.model, _LAUNCHED)}"

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as events."""
        return bool(self.body.get("stream"))

    @property
    def include_usage(self) -> bool:
        """Whether a stream is to end with the usage; that of the Responses API always does."""
        return self.api == "responses" or bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def service_tier(self) -> str:
        """The processing that the answer names."""
        wanted = self.body.get("service_tier")
        return str(wanted) if wanted in ("flex", "priority") else "default"

    @property
    def stop(self) -> list[str] | None:
        """The words at which the answer ends."""
        stop = self.body.get("stop")
        return [stop] if isinstance(stop, str) else stop

    def tokens(self) -> int:
        """Estimate the input, in tokens; images are not counted."""
        texts = "".join(text for message in self.messages for text in _texts(message))
        return -(-(len(texts) + len(json.dumps(self.tools)[2:])) // CHARACTERS_PER_TOKEN)

    def conversation(self) -> list[BaseMessage]:
        """Return the messages as LangChain's own."""
        return [_message(message) for message in self.messages]


def read(api: Api, raw: bytes) -> Asked:
    """Read a request.

    Raises:
        WireError: If it is no JSON object, lacks a field or has one of the wrong type or value.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise WireError(400, _NOT_JSON) from None
    if not isinstance(body, dict):
        raise WireError(400, _NOT_JSON)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise WireError(400, "you must provide a model parameter")
    invalid.check_kinds(body)
    messages = _chat_messages(body) if api == "chat" else _input_messages(body)
    invalid.check_calls(api, messages)
    tools = [_function(tool, at) for at, tool in enumerate(body.get("tools") or ())]
    functions = [tool for tool in tools if tool is not None]
    return Asked(
        api, _DATE.sub("", body["model"]), body, messages, functions,
        _choice(body, functions), _schema(api, body, messages), _max_tokens(api, body),
    )  # fmt: skip


def _chat_messages(body: JSON) -> list[JSON]:
    if body.get("messages") is None:
        raise invalid.missing("messages")
    if not body["messages"]:
        told = "Expected an array with minimum length 1, but got an empty array instead."
        raise WireError(400, f"Invalid 'messages': empty array. {told}", "messages", "empty_array")
    if body.get("n", 1) != 1:
        raise WireError(
            400, f"Invalid 'n': this offline server gives one choice, not {body['n']!r}.", "n", invalid.INVALID_VALUE
        )
    for at, message in enumerate(body["messages"]):
        invalid.check_message(message, f"messages[{at}]")
    return list(body["messages"])


def _input_messages(body: JSON) -> list[JSON]:
    """Turn the input of the Responses API into messages of Chat Completions."""
    given = body.get("input")
    if given is None:
        raise invalid.missing("input")
    if (previous := body.get("previous_response_id")) is not None:
        told = f"Previous response with id '{previous}' not found."
        raise WireError(400, told, "previous_response_id", "previous_response_not_found")
    messages = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    for at, item in enumerate([{"role": "user", "content": given}] if isinstance(given, str) else given):
        if not isinstance(item, dict):
            raise invalid.wrong_type(f"input[{at}]", "an object", item)
        _take_item(item, f"input[{at}]", messages)
    return messages


def _take_item(item: JSON, place: str, messages: list[JSON]) -> None:
    kind = item.get("type", "message")
    if kind == "function_call":
        function = {"name": item.get("name", ""), "arguments": item.get("arguments", "")}
        call = {"id": item.get("call_id", ""), "type": "function", "function": function}
        if messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).append(call)
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind == "function_call_output":
        output = item.get("output")
        content = output if isinstance(output, str) else _blocks(output)
        messages.append({"role": "tool", "content": content, "tool_call_id": item.get("call_id", "")})
    elif kind == "message":
        message = {"role": item.get("role"), "content": _blocks(item.get("content"))}
        invalid.check_message(message, place)
        messages.append(message)


def _blocks(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [_block(block) if isinstance(block, dict) else block for block in content]


def _block(block: JSON) -> JSON:
    kind = block.get("type")
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": block.get("text")}
    if kind == "refusal":
        return {"type": "text", "text": block.get("refusal")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": block.get("image_url") or "https://files/by-id"}}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in block.items() if name != "type"}}
    return block


def _function(tool: object, at: int) -> JSON | None:
    """Return a function in the form of Chat Completions, or `None` for a tool that a provider runs."""
    if not isinstance(tool, dict):
        raise invalid.wrong_type(f"tools[{at}]", "an object", tool)
    if "type" not in tool:
        raise invalid.missing(f"tools[{at}].type")
    if tool["type"] != "function":
        return None
    inside = "function" in tool
    function = tool["function"] if inside else {name: value for name, value in tool.items() if name != "type"}
    place = f"tools[{at}].function" if inside else f"tools[{at}]"
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid.missing(f"{place}.name")
    if function.get("strict"):
        invalid.check_strict(function.get("parameters") or {}, f"function '{function['name']}'", f"{place}.parameters")
    return {"type": "function", "function": function}


def _choice(body: JSON, functions: list[JSON]) -> str | JSON | None:
    choice = body.get("tool_choice")
    if choice is not None and not body.get("tools"):
        told = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise WireError(400, told, "tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "function":
        return choice if choice in ("none", "auto", "required") else None
    name = (choice.get("function") or choice).get("name")
    if name not in [tool["function"]["name"] for tool in functions]:
        raise WireError(400, f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    return {"type": "function", "function": {"name": name}}


def _keys(messages: list[JSON]) -> JSON:
    """Return the schema of an answer in JSON mode: an object with the keys that the last user quotes, if he does."""
    asked = next((message for message in reversed(messages) if message["role"] == "user"), {})
    quoted = _KEYS.search(" ".join(_texts(asked)))
    names = re.findall(r"['\"`](\w+)['\"`]", quoted[0]) if quoted else []
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}


def _schema(api: Api, body: JSON, messages: list[JSON]) -> JSON | None:
    param = "response_format" if api == "chat" else "text.format"
    form = body.get("response_format") if api == "chat" else (body.get("text") or {}).get("format")
    kind: Literal["text", "json_object", "json_schema"] = (form or {}).get("type", "text")
    if kind == "json_object":
        return _keys(messages)
    if form is None or kind != "json_schema":
        return None
    inner: Mapping[str, Any] = form.get("json_schema") or {} if api == "chat" else form
    for name in ("name", "schema"):
        if not inner.get(name):
            raise invalid.missing(f"{param}.json_schema.{name}" if api == "chat" else f"{param}.{name}")
    if inner.get("strict"):
        invalid.check_strict(inner["schema"], f"response_format '{inner['name']}'", param)
    return dict(inner["schema"])


def _max_tokens(api: Api, body: JSON) -> int | None:
    names = ("max_completion_tokens", "max_tokens") if api == "chat" else ("max_output_tokens",)
    for name in names:
        least = 1 if api == "chat" else _LEAST_OUTPUT
        if (most := body.get(name)) is not None and most < least:
            told = f"Expected a value >= {least}, but got {most} instead."
            code = "integer_below_min_value"
            raise WireError(400, f"Invalid '{name}': integer below minimum value. {told}", name, code)
        if most is not None:
            return int(most)
    return None


def _texts(message: JSON) -> Iterator[str]:
    content = message.get("content")
    for block in content if isinstance(content, list) else [content]:
        yield block.get("text") or "" if isinstance(block, dict) else block or ""
    for call in message.get("tool_calls") or ():
        yield json.dumps(call)


def _message(given: JSON) -> BaseMessage:
    role, content = given["role"], given.get("content") or ""
    if role == "user":
        return HumanMessage(content)
    if role in ("tool", "function"):
        return ToolMessage(content, tool_call_id=given.get("tool_call_id", ""))
    if role == "assistant":
        return AIMessage(content, tool_calls=[_tool_call(call) for call in given.get("tool_calls") or ()])
    return SystemMessage(content)


def _tool_call(call: JSON) -> Any:
    function = call.get("function") or {}
    try:
        args = json.loads(function.get("arguments") or "{}")
    except ValueError:
        args = {}  # a call that was malformed, sent back with the history
    return {"name": function.get("name", ""), "args": args if isinstance(args, dict) else {}, "id": call["id"]}
