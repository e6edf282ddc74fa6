"""What is risky, and what a human may decide about it: LangChain's human-in-the-loop form, read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt import ToolRuntime
from langgraph.types import interrupt
from typing_extensions import TypedDict

from langchain_tiered.cascade.stall import REVIEW
from langchain_tiered.cascade.validity import problems_of
from langchain_tiered.errors import ConfigurationError, InvalidDecisionError

if TYPE_CHECKING:
    from langchain.agents.middleware import InterruptOnConfig
    from langchain_core.messages import ToolCall
    from langgraph.runtime import Runtime

    RiskyTools: TypeAlias = Sequence[str] | Mapping[str, bool | InterruptOnConfig]

Choice = Literal["approve", "edit", "reject", "respond"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
_SETTINGS = frozenset({"allowed_decisions", "description", "args_schema", "when"})


@dataclass(frozen=True)
class Rule:
    """What holds for the calls of a risky tool."""

    allowed: tuple[Choice, ...]
    """What a human may decide."""

    description: str | Callable[..., str] | None = None
    """What the human is told, or what makes it of the call, the state and the runtime; `None` for LangChain's words."""

    when: Callable[[ToolCallRequest], bool] | None = None
    """Whether a call is risky; `None` where each one is."""

    def holds(self, call: ToolCall, state: Any, runtime: Runtime[Any]) -> bool:
        """Tell whether a call is risky; the predicate is given what LangChain's human in the loop gives it."""
        if self.when is None:
            return True
        given: ToolRuntime[Any, Any] = ToolRuntime(
            state=state,
            context=runtime.context,
            config=get_config(),
            stream_writer=runtime.stream_writer,
            tool_call_id=call["id"],
            store=runtime.store,
        )
        return bool(self.when(ToolCallRequest(tool_call=call, tool=None, state=state, runtime=given)))

    def told(self, call: ToolCall, reason: str, state: Any, runtime: Runtime[Any]) -> str:
        """Return what the human is told of a call: what it is, and why it is asked about."""
        described = self.description
        if described is None:
            described = f"Tool execution requires approval\n\nTool: {call['name']}\nArgs: {call['args']}"
        elif not isinstance(described, str):
            described = described(call, state, runtime)
        return f"{described}\n\nThe reviewer's doubt: {reason}" if reason else described


class Doubted(TypedDict):
    """A call that a human is asked about."""

    call: ToolCall
    """The call."""

    reason: str
    """Why, or nothing where every call is asked about."""

    schema: dict[str, Any] | None
    """The JSON schema of the tool's arguments, or `None` where it is not known."""


def rules_of(risky_tools: RiskyTools) -> dict[str, Rule]:
    """Return the rule of each risky tool, by its name.

    Raises:
        ConfigurationError: If there is none, or something is not in the form of `interrupt_on`.
    """
    if isinstance(risky_tools, str) or not isinstance(risky_tools, (Mapping, Sequence)):
        raise ConfigurationError(
            f"risky_tools={risky_tools!r} is no list of names. Write ['refund'] or {{'refund': True}}.",
        )
    given: list[tuple[Any, Any]]
    given = list(risky_tools.items()) if isinstance(risky_tools, Mapping) else [(name, True) for name in risky_tools]
    rules = {}
    for name, told in given:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"risky_tools has {name!r}, which is no name. Write the names of tools.")
        if told is not False:
            rules[name] = Rule(CHOICES) if told is True else _rule(name, told)
    if not given:
        raise ConfigurationError(f"risky_tools={risky_tools!r} names no tool. Name one, or leave the review out.")
    return rules


def _rule(name: str, told: Any) -> Rule:
    where = f"risky_tools[{name!r}]"
    if not isinstance(told, Mapping):
        raise ConfigurationError(
            f"{where}={told!r}: write True, False, or {{'allowed_decisions': ['approve', 'reject']}}.",
        )
    if unknown := sorted(map(str, told.keys() - _SETTINGS)):
        raise ConfigurationError(f"{where} has {', '.join(unknown)}. Known: {', '.join(sorted(_SETTINGS))}.")
    allowed = told.get("allowed_decisions")
    if not isinstance(allowed, (list, tuple)) or not allowed or any(each not in CHOICES for each in allowed):
        raise ConfigurationError(f"{where}: allowed_decisions={allowed!r}. Name some of {', '.join(CHOICES)}.")
    when, description = told.get("when"), told.get("description")
    if when is not None and not callable(when):
        raise ConfigurationError(f"{where}: when={when!r} is no function. Give one that takes a ToolCallRequest.")
    if description is not None and not isinstance(description, str) and not callable(description):
        raise ConfigurationError(f"{where}: description={description!r} is neither a text nor a function.")
    return Rule(tuple(allowed), description, when)


def decided_by_human(
    doubted: Sequence[Doubted],
    rules: Mapping[str, Rule],
    state: Any,
    runtime: Runtime[Any],
) -> list[Mapping[str, Any]]:
    """Interrupt the run, once for all calls, and return a decision for each.

    LangGraph may keep what a run was resumed with and give it to the same question again. So each answer is read in
    turn, and the error is raised where none is left: whoever resumes again is heard.

    Raises:
        InvalidDecisionError: If the run was resumed with something that is no decision.
    """
    request = {
        "action_requests": [
            {
                "name": each["call"]["name"],
                "args": each["call"]["args"],
                "description": rules[each["call"]["name"]].told(each["call"], each["reason"], state, runtime),
            }
            for each in doubted
        ],
        "review_configs": [
            {"action_name": each["call"]["name"], "allowed_decisions": list(rules[each["call"]["name"]].allowed)}
            for each in doubted
        ],
    }
    wrong: InvalidDecisionError | None = None
    while True:
        try:
            said = interrupt(request)
        except GraphInterrupt:
            if wrong is None:
                raise
            raise wrong from None
        try:
            return _decisions(said, doubted, rules)
        except InvalidDecisionError as error:
            wrong = error


def _decisions(said: object, doubted: Sequence[Doubted], rules: Mapping[str, Rule]) -> list[Mapping[str, Any]]:
    """Return the decisions, one for each call.

    Raises:
        InvalidDecisionError: If they are none; names the value, what was expected, and the mend.
    """
    expected = _expected(doubted, rules)
    decisions = said.get("decisions") if isinstance(said, Mapping) else None
    if not isinstance(decisions, (list, tuple)):
        raise InvalidDecisionError(said, "it has no list of decisions.", expected)
    if len(decisions) != len(doubted):
        raise InvalidDecisionError(said, f"it has {len(decisions)} decisions for {len(doubted)} calls.", expected)
    for place, (decision, asked) in enumerate(zip(decisions, doubted, strict=True), 1):
        if wrong := _wrong(decision, asked, rules[asked["call"]["name"]]):
            raise InvalidDecisionError(said, f"decision {place}, on {asked['call']['name']}, {wrong}", expected)
    return list(decisions)


def _wrong(decision: object, asked: Doubted, rule: Rule) -> str | None:
    """Tell what is wrong with a decision, or `None` where nothing is."""
    if not isinstance(decision, Mapping):
        return "is no dict."
    kind = decision.get("type")
    if kind not in rule.allowed:
        return f"is of the type {kind!r}; allowed: {', '.join(rule.allowed)}."
    if kind == "respond" and not isinstance(decision.get("message"), str):
        return "has no message to respond with."
    if kind == "reject" and not isinstance(decision.get("message"), str | None):
        return "has a message that is no text."
    return _wrong_edit(decision.get("edited_action"), asked) if kind == "edit" else None


def _wrong_edit(edited: object, asked: Doubted) -> str | None:
    name = asked["call"]["name"]
    if not isinstance(edited, Mapping) or not isinstance(edited.get("args"), dict):
        return "has no edited_action with args."
    if edited.get("name", name) != name:
        return f"names the tool {edited['name']!r}; an edit changes the arguments alone."
    if asked["schema"] is None:
        return None
    tool = {"type": "function", "function": {"name": name, "parameters": asked["schema"]}}
    call = tool_call(name=name, args=edited["args"], id="edited")
    return problems_of(AIMessage("", tool_calls=[call]), [tool]).get("edited")


def _expected(doubted: Sequence[Doubted], rules: Mapping[str, Rule]) -> str:
    count = len(doubted)
    allowed = "; ".join(
        f"{each['call']['name']}: {' | '.join(rules[each['call']['name']].allowed)}" for each in doubted
    )
    return (
        f"Expected: {{'decisions': [...]}} with {count} decision{'s' * (count != 1)} ({allowed}), such as "
        "{'type': 'approve'}, {'type': 'edit', 'edited_action': {'name': ..., 'args': {...}}}, "
        "{'type': 'reject', 'message': ...} or {'type': 'respond', 'message': ...}."
    )


def refusal(call: ToolCall, text: str, *, by: str, reason: str) -> ToolMessage:
    """Return what the model is told instead of a result, marked so that the call is known when it is made again."""
    mark = {REVIEW: {"decision": "reject", "by": by, "reason": reason}}
    return ToolMessage(text, name=call["name"], tool_call_id=call["id"] or "", status="error", response_metadata=mark)


def human_refusal(call: ToolCall, decision: Mapping[str, Any]) -> ToolMessage:
    """Return what the model is told of a call that a human has rejected, in LangChain's words."""
    if reason := decision.get("message"):
        text = f"User rejected the tool call for `{call['name']}` with reason: {reason}"
    else:
        text = (
            f"User rejected the tool call for `{call['name']}` with id {call['id']}. The tool was not executed. Do not "
            "retry this tool call unless the user explicitly requests it."
        )
    return refusal(call, text, by="human", reason=reason or "")


def human_response(call: ToolCall, decision: Mapping[str, Any]) -> ToolMessage:
    """Return a human's answer in the place of the tool's result."""
    mark = {REVIEW: {"decision": "respond", "by": "human", "reason": ""}}
    return ToolMessage(decision["message"], name=call["name"], tool_call_id=call["id"] or "", response_metadata=mark)
