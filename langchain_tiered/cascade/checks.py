"""Say of an answer whether it may reach the user. A check decides nothing more, and calls a model only if it says so.

The built-in checks read what the provider says of the answer, not how it sounds: an answer is not judged by its length.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

from langgraph.errors import GraphBubbleUp

from langchain_tiered.cascade.failures import is_missing_recording
from langchain_tiered.errors import ConfigurationError, UnknownTaskError
from langchain_tiered.types import TASKS, Route, Verdict

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

    from langchain_tiered.types import Task, Tier

CUT_OFF = frozenset(
    {"length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length", "model_context_window_exceeded"}
)
"""Finish reasons that mean that the answer was cut off, as OpenAI, Anthropic, Google, Mistral and Amazon write them."""

REFUSED = frozenset(
    {"refusal", "content_filter", "content_filtered", "guardrail_intervened"}
    | {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "IMAGE_SAFETY"}
)
"""Finish reasons that mean that the model or its provider would not answer."""


_SILENT = frozenset(
    {"text", "output_text", "refusal", "reasoning", "thinking", "redacted_thinking"}
    | {"function_call", "tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call"}
)
"""Content blocks that are no content: words are read as text, and calls as calls, where they can be read at all."""


@dataclass(frozen=True)
class CheckInput:
    """What a check may look at: the answer, and what was asked."""

    request: Sequence[BaseMessage]
    """The messages that the answer answers, the last human one included."""

    answer: AIMessage
    """The answer."""

    route: Route | None = None
    """Where the request was routed, or `None` outside a routed run."""

    tools: Sequence[Any] = ()
    """The tools that the model was given."""

    schema: Any = None
    """The schema that the answer must fit, or `None`."""


CheckResult: TypeAlias = Verdict | bool
Check: TypeAlias = Callable[[CheckInput], CheckResult | Awaitable[CheckResult]]
ChecksLike: TypeAlias = Sequence[Check] | Mapping[str, Sequence[Check]] | None


def finished(given: CheckInput) -> Verdict:
    """Reject an answer that was cut off, with or without content."""
    why = _stop_reason(given.answer)
    if why in CUT_OFF:
        return _verdict("finished", False, f"The answer was cut off ({why}).")
    if why is None and given.answer.response_metadata.get("model_provider") == "openai" and _is_chat(given.answer):
        return _verdict("finished", False, "The stream of the answer broke off.")
    return _verdict("finished", True, "The answer is finished.")


def not_empty(given: CheckInput) -> Verdict:
    """Reject an answer that says and calls nothing. A short answer is as good as a long one."""
    answer = given.answer
    says_something = bool(answer.text.strip() or answer.tool_calls or _other_content(answer))
    return _verdict(
        "not_empty", says_something, "The answer has content." if says_something else "The answer is empty."
    )


def not_refused(given: CheckInput) -> Verdict:
    """Reject a refusal, in the forms of Chat Completions and Responses, and what a content filter stopped."""
    answer = given.answer
    refusal = answer.additional_kwargs.get("refusal") or next(
        (block["refusal"] for block in _blocks(answer) if block.get("refusal")), None
    )
    if refusal:
        return _verdict("not_refused", False, f"The model refused: {str(refusal)[:200]}")
    why = _stop_reason(answer)
    if why in REFUSED:
        return _verdict("not_refused", False, f"The provider stopped the answer ({why}).")
    return _verdict("not_refused", True, "The model did not refuse.")


BUILT_IN: tuple[Check, ...] = (not_refused, finished, not_empty)
"""The checks of `checks=None`. They need no model and hold no tokens back. A refusal is named before its emptiness."""


class Checks:
    """The checks that an agent and its tiers declare, and which of them hold for an answer.

    Raises:
        UnknownTaskError: If a task in the mapping is not in the vocabulary.
        ConfigurationError: If something that is no callable stands where a check should.
    """

    def __init__(self, declared: ChecksLike = None) -> None:
        by_task = dict(declared) if isinstance(declared, Mapping) else {"*": BUILT_IN if declared is None else declared}
        self._by_task = {"*": BUILT_IN} | {task: _functions(task, checks) for task, checks in by_task.items()}

    def of(self, tier: Tier, task: Task) -> tuple[Check, ...]:
        """Return the checks of an answer that `tier` gives to a `task`, in the order in which they are asked."""
        return (*self._by_task.get(task, self._by_task["*"]), *tier.checks)

    def read_whole_answer(self, tier: Tier, task: Task) -> bool:
        """Tell whether a check must read the whole answer before any of it may be shown."""
        return any(check not in BUILT_IN for check in self.of(tier, task))


def _functions(task: str, checks: Any) -> tuple[Check, ...]:
    if task != "*" and task not in TASKS:
        raise UnknownTaskError(task, [*TASKS, "*"], "checks")
    given = tuple(checks) if isinstance(checks, Iterable) else (None if callable(checks) else checks,)
    for check in given:
        if not callable(check):
            raise ConfigurationError(
                f"Check {check or checks!r} for {task!r} is not callable. A check is a function of a CheckInput that "
                "returns a Verdict or a bool; give a sequence of them, or a mapping from task to sequence."
            )
    return given


def judge(checks: Sequence[Check], given: CheckInput, thresholds: Mapping[str, float]) -> Verdict:
    """Ask each check in turn; return the first rejection, else the last acceptance.

    Args:
        checks: What to ask, in order.
        given: The answer and its request.
        thresholds: Least score by check name, from the policy.

    Raises:
        ConfigurationError: If a check is async: only `ajudge` can ask it.
    """
    verdict = _verdict("none", True, "No check was declared.")
    for check in checks:
        said: Any = _asked(check, given)
        if inspect.isawaitable(said):
            if inspect.iscoroutine(said):
                said.close()
            raise ConfigurationError(f"Check {_name(check)!r} is async. Run the agent by `ainvoke` or `astream`.")
        verdict = _read(check, said, thresholds)
        if not verdict["accepted"]:
            break
    return verdict


async def ajudge(checks: Sequence[Check], given: CheckInput, thresholds: Mapping[str, float]) -> Verdict:
    """Do what `judge` does; async checks are awaited, a user's sync ones run in a thread."""
    verdict = _verdict("none", True, "No check was declared.")
    for check in checks:
        said: Any
        if check in BUILT_IN or inspect.iscoroutinefunction(check):
            said = _asked(check, given)
        else:
            said = await asyncio.to_thread(_asked, check, given)
        if inspect.isawaitable(said):
            said = await _awaited(said)
        verdict = _read(check, said, thresholds)
        if not verdict["accepted"]:
            break
    return verdict


def _asked(check: Check, given: CheckInput) -> object:
    """Ask a check; an error of the check's own is handed back, to become a rejection that names it."""
    try:
        return check(given)
    except Exception as error:  # noqa: BLE001  (a user's check may raise anything; `_own` sorts it)
        return _own(error)


async def _awaited(said: Awaitable[Any]) -> object:
    try:
        return await said
    except Exception as error:  # noqa: BLE001  (as in `_asked`)
        return _own(error)


def _own(error: Exception) -> Exception:
    """Return a check's own error; an interrupt and a recording that is missing are nobody's verdict, and are raised."""
    if isinstance(error, GraphBubbleUp) or is_missing_recording(error):
        raise error
    return error


def _read(check: Check, said: object, thresholds: Mapping[str, float]) -> Verdict:
    """Turn whatever a check returned into a verdict: an error or nonsense is a rejection that says so."""
    name = _name(check)
    if isinstance(said, bool):
        return _verdict(name, said, f"{name} {'accepts' if said else 'rejects'} the answer.")
    if isinstance(said, Exception):
        return _verdict(name, False, f"The check {name} raised {type(said).__name__}: {said}")
    if not isinstance(said, Mapping) or not isinstance(said.get("accepted"), bool):
        return _verdict(name, False, f"The check {name} returned {said!r}, neither a Verdict nor a bool.")
    score = said.get("score")
    if score is not None and not (isinstance(score, (int, float)) and isfinite(score)):
        return _verdict(name, False, f"The check {name} gave {score!r} as its score, which is no number.")
    verdict = Verdict(
        accepted=said["accepted"],
        check=said.get("check") or name,
        reason=said.get("reason") or f"{name} {'accepts' if said['accepted'] else 'rejects'} the answer.",
        score=score,
    )
    least = thresholds.get(verdict["check"])
    if verdict["accepted"] and least is not None and verdict["score"] is not None and verdict["score"] < least:
        reason = f"{verdict['reason']} Its score {verdict['score']:.2f} is below the threshold {least:.2f}."
        return _verdict(verdict["check"], False, reason, verdict["score"])
    return verdict


def _verdict(check: str, accepted: bool, reason: str, score: float | None = None) -> Verdict:  # noqa: FBT001  (Verdict's own order)
    return Verdict(accepted=accepted, check=check, reason=reason, score=score)


def _name(check: Check) -> str:
    return getattr(check, "__name__", type(check).__name__)


def _stop_reason(answer: AIMessage) -> str | None:
    """Read why the model stopped, whatever its provider calls it."""
    said = answer.response_metadata
    why = next(
        (said[name] for name in ("finish_reason", "stop_reason", "stopReason", "done_reason") if said.get(name)), None
    )
    if why is None and said.get("status") == "incomplete":
        why = (said.get("incomplete_details") or {}).get("reason") or "max_output_tokens"
    return None if why is None else str(why)


def _is_chat(answer: AIMessage) -> bool:
    """Tell an answer of Chat Completions, which says why it ended, from one of Responses, which has a status."""
    return "status" not in answer.response_metadata


def _blocks(answer: AIMessage) -> list[dict[str, Any]]:
    """Return the content blocks as the provider wrote them, out of the wrapping of what LangChain has no form for."""
    content = answer.content if isinstance(answer.content, list) else []
    blocks = [block for block in content if isinstance(block, dict)]
    return [block["value"] if block.get("type") == "non_standard" else block for block in blocks]


def _other_content(answer: AIMessage) -> bool:
    """Tell whether the answer holds something besides text and reasoning: an image, audio, a provider tool's result."""
    return any(block.get("type") not in _SILENT for block in _blocks(answer)) or "audio" in answer.additional_kwargs
