"""Say of an answer whether it may reach the user, by what the provider tells of it: finished, not refused, not empty.

A check decides nothing more. How an answer sounds is not read here, and a short one is as good as a long one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_tiered.types import Route, Verdict

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

CUT_OFF = frozenset(
    {"length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length", "model_context_window_exceeded"}
    | {"error"}  # Mistral's, and that of routers of many providers: one behind them broke off
    | {"pause_turn"}  # Anthropic's, of a long turn of its own tools: the rest comes when it is sent back
)
"""Finish reasons that mean that the answer was cut off, as OpenAI, Anthropic, Google, Mistral and Amazon write them."""

REFUSED = frozenset(
    {"refusal", "content_filter", "content_filtered", "guardrail_intervened"}
    | {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "LANGUAGE", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)
"""Finish reasons that mean that the model or its provider would not answer."""


_TELLING = frozenset(
    {"openai", "anthropic", "google_genai", "google_vertexai", "mistralai", "ollama", "groq", "deepseek", "xai"}
    | {"bedrock_converse"}
)
"""Whose integration tells with every whole answer why the model stopped: one without a reason is half a stream.

Read off the integrations' own source, November 2026. Others may have their reasons not to tell one.
"""

_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
"""What Vertex AI tells with each part of a stream before the last."""

_SILENT = frozenset(
    {"text", "output_text", "refusal", "reasoning", "thinking", "redacted_thinking"}
    | {"function_call", "tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call"}
)
"""Content blocks that are no content: words are read as text, and calls as calls, where they can be read at all."""


@dataclass(frozen=True)
class CheckInput:
    """What a check may look at: the answer, and what was asked."""

    request: Sequence[BaseMessage]
    """The messages that the answer answers: the system prompt, where there is one, and the thread."""

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
    if why is None and _must_tell(given.answer):
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
    if answer.additional_kwargs.get("refusal") or any(block.get("refusal") for block in _blocks(answer)):
        # Its words stay in the attempt: a verdict's reason is public.
        return _verdict("not_refused", False, "The model refused.")
    blocked = _block_reason(answer)
    why = blocked or _stop_reason(answer)
    if blocked or why in REFUSED:
        return _verdict("not_refused", False, f"The provider stopped the answer ({why}).")
    return _verdict("not_refused", True, "The model did not refuse.")


def _verdict(check: str, accepted: bool, reason: str, score: float | None = None) -> Verdict:  # noqa: FBT001  (Verdict's own order)
    return Verdict(accepted=accepted, check=check, reason=reason, score=score)


def _stop_reason(answer: AIMessage) -> str | None:
    """Read why the model stopped, whatever its provider calls it."""
    said = answer.response_metadata
    for name in ("finish_reason", "stop_reason", "stopReason", "done_reason"):
        if (why := said.get(name)) and (told := str(why).replace(_UNSPECIFIED, "")):
            return told
    if said.get("status") == "incomplete":
        return str((said.get("incomplete_details") or {}).get("reason") or "max_output_tokens")
    return None


def _block_reason(answer: AIMessage) -> str | None:
    """Read why Google let no model see the request: then there is no answer that could have a finish reason."""
    feedback = answer.response_metadata.get("prompt_feedback")
    why = feedback.get("block_reason") if isinstance(feedback, Mapping) else None
    return None if why in {None, 0} else str(getattr(why, "value", why))


def _must_tell(answer: AIMessage) -> bool:
    """Tell whether a whole answer of its provider says why it ended. One of OpenAI's Responses has a status instead."""
    said = answer.response_metadata
    provider = str(said.get("model_provider"))
    if provider not in _TELLING or "status" in said or _block_reason(answer):
        return False
    # With `stream_usage=False` Anthropic's integration tells the reason as little as the model.
    return provider != "anthropic" or "model_name" in said


def _blocks(answer: AIMessage) -> list[dict[str, Any]]:
    """Return the content blocks as the provider wrote them, out of the wrapping of what LangChain has no form for."""
    if isinstance(answer.content, str):
        return []
    blocks = [block for block in answer.content if isinstance(block, dict)]
    return [block["value"] if block.get("type") == "non_standard" else block for block in blocks]


def _other_content(answer: AIMessage) -> bool:
    """Tell whether the answer holds something besides text and reasoning: an image, audio, a provider tool's result."""
    return any(block.get("type") not in _SILENT for block in _blocks(answer)) or "audio" in answer.additional_kwargs
