"""What travels in a graph's state: JSON-plain `TypedDict`s, and the vocabularies that they are written in."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, get_args

# Below Python 3.12 only this `TypedDict` reaches the JSON schemas that LangGraph Studio shows.
from typing_extensions import TypedDict

Task = Literal[
    "classify",
    "extract",
    "rank",
    "lookup",
    "code",
    "terminal",
    "tools",
    "search",
    "screen",
    "scan",
    "write",
    "reason",
    "review",
    "long_document",
]
TASKS: tuple[Task, ...] = get_args(Task)

DecidedBy = Literal["rules", "classifier", "policy", "pin", "latch", "escalation"]
Role = Literal["classify", "answer", "judge", "plan", "review", "summarize", "other"]
Outcome = Literal["accepted", "rejected", "failed", "downgraded", "truncated", "tool_turn"]
FailureKind = Literal[
    "rate_limit",
    "too_large",
    "overflow",
    "outage",
    "timeout",
    "open_circuit",
    "no_answer",
    "authentication",
    "unknown_model",
    "invalid_request",
    "budget",
]


class Route(TypedDict):
    """Where a request goes, and why."""

    tier: str
    """Name of the tier that answers."""

    task: Task
    """The kind of work."""

    confidence: float | None
    """Self-reported certainty from `0` to `1`, or `None` when not reported. Not a probability."""

    reason: str
    """A sentence for a person: which fact, rule or model carried the decision."""

    decided_by: DecidedBy
    """What had the last word."""

    escalated_from: str | None
    """The tier first chosen, when an escalation has raised the route since; else `None`."""


class Classification(TypedDict):
    """What rules or a classifier say of a request. The policy decides; this only tells."""

    tier: str | None
    """The tier held to be enough, or `None` when the classifier failed: then `Policy.on_classifier_error` holds."""

    task: Task
    """The kind of work."""

    confidence: float | None
    """Self-reported certainty from `0` to `1`, or `None` when not reported.

    Not a probability: choose thresholds by calibration.
    """

    reason: str
    """A sentence for a person."""

    decided_by: Literal["rules", "classifier", "policy"]
    """Who says so: `policy` where nobody is sure, and the request goes where it leans."""


class Verdict(TypedDict):
    """What a check says of an answer."""

    accepted: bool
    """Whether the answer may reach the user."""

    check: str
    """Name of the check that decided: the one that rejected, or the last that accepted."""

    reason: str
    """A sentence for a person."""

    score: float | None
    """The check's own score, higher is better, or `None` when it gives none."""


class Failure(TypedDict):
    """A provider's error, told apart by what can be done about it."""

    kind: FailureKind
    """What went wrong."""

    message: str
    """The provider's words, without secrets."""

    retry_after_s: float | None
    """How long the provider asks to wait, in seconds, or `None` when it does not say."""


class Attempt(TypedDict):
    """One try of one tier at the current turn: the one interface between the bodies and the engine."""

    tier: str
    """Name of the tier."""

    fallback: int
    """`0` for the tier's own model, `n` for its n-th fallback."""

    messages: list[dict[str, Any]]
    """What the tier adds to the thread since the last human message, as dicts: tool calls, tool results, the answer."""

    rewrites: bool
    """Whether `messages` is the whole thread instead, because a middleware rewrote its history."""

    verdict: Verdict | None
    """What the checks say, or `None` while they have not spoken."""

    failure: Failure | None
    """Why no answer came, or `None` when one did."""

    hand_up: str | None
    """Why the tier asks for a more capable one, or `None` when it does not."""

    call_id: str | None
    """The ledger entry of the call that answered, or `None` when no call did."""

    shown: bool
    """Whether tokens of the answer have reached the user already."""


class LedgerEntry(TypedDict):
    """One paid model call."""

    id: str
    """The call's own id: an entry that arrives twice is booked once."""

    run_id: str | None
    """The invocation that it was paid in, or `None` outside our graphs."""

    task_id: str | None
    """The planned task that it was paid for, or `None`."""

    role: Role
    """What the call was for."""

    tier: str | None
    """The tier whose model was called, or `None` for a model outside the tiers."""

    model: str | None
    """The model that answered, as the provider names it; `None` when nobody said."""

    input_tokens: int | None
    """All input tokens, cached ones included; `None` when not reported."""

    cached_tokens: int | None
    """The part of the input read from the provider's prompt cache."""

    output_tokens: int | None
    """All output tokens, reasoning included."""

    reasoning_tokens: int | None
    """The part of the output spent on reasoning."""

    cost_usd: float | None
    """Price of the call, or `None` when it cannot be known. Never `0` for an unknown price."""

    latency_s: float | None
    """From the call's start to its last token, in seconds."""

    outcome: Outcome
    """What became of the call."""

    tools_usd: NotRequired[float]
    """The part of the cost that is for the provider's own tools, such as a web search; there only where it has one."""

    reserved_usd: NotRequired[float]
    """What a budget counts the call as; there only where its cost is unknown."""

    rejected_by: NotRequired[str]
    """The check that rejected what the call gave; there only where one did."""
