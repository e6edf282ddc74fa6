"""The words of the library: tiers, tasks, facts, routes, attempts, verdicts, ledger entries, as plain values.

Nothing here imports a framework at run time, reads a clock or decides anything. What travels in a graph's state is a
JSON-plain `TypedDict`; what a user configures is a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypeAlias, get_args

# Below Python 3.12 only this `TypedDict` reaches the JSON schemas that LangGraph Studio shows.
from typing_extensions import TypedDict

from langchain_tiered.errors import DuplicateNameError, InvalidTierError, UnknownTierError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool

    from langchain_tiered.cascade.checks import Check

    Tool: TypeAlias = BaseTool | Callable[..., Any] | dict[str, Any]

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
]

RESERVED_NAMES = frozenset({"classify", "check", "none", "__start__", "__end__"})
RESERVED_CHARACTERS = (":", "|")


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

    decided_by: Literal["rules", "classifier"]
    """Who says so."""


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

    rejected_by: NotRequired[str]
    """The check that rejected what the call gave; there only where one did."""


@dataclass(frozen=True)
class Rates:
    """Prices of a model that override the published ones, in USD per million tokens."""

    input_usd: float
    """Price of input tokens."""

    output_usd: float
    """Price of output tokens; reasoning is output."""

    cached_input_usd: float | None = None
    """Price of input read from the prompt cache, or `None` for the full input price."""

    as_of: str | None = None
    """The day that the prices held, as `YYYY-MM-DD`."""

    source: str | None = None
    """Where the prices stand, for the report."""

    def __post_init__(self) -> None:
        for name in ("input_usd", "output_usd", "cached_input_usd"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise InvalidTierError(
                    f"Rates({name}={value!r}): a rate is a number of USD per million tokens, at least 0."
                )


@dataclass(frozen=True)
class Facts:
    """What is plainly there in a request, before anybody judges it."""

    text: str = ""
    """The last user turn. Earlier messages are never joined to it: "ok thanks" stays easy after a hard history."""

    tokens: int = 0
    """Estimated input of the next call: all messages, in tokens."""

    turn_tokens: int = 0
    """Estimated size of the last user turn, in tokens."""

    images: int = 0
    """Images anywhere in the messages: the model must be able to take them."""

    audio: int = 0
    """Audio parts anywhere in the messages."""

    files: int = 0
    """Files such as PDFs anywhere in the messages."""

    turn_images: int = 0
    """Images of the last user turn alone: what the request is about."""

    turn_files: int = 0
    """Files of the last user turn alone."""

    tools: tuple[str, ...] = ()
    """Names of the tools that the app runs itself."""

    tool_words: frozenset[str] = frozenset()
    """Content words of the tools' names and descriptions, lower case."""

    provider_tools: tuple[str, ...] = ()
    """Types of the tools that the provider runs, such as `web_search`."""

    schema: bool = False
    """Whether the answer must fit a schema."""

    turns: int = 1
    """User turns so far, this one included."""

    previous: Route | None = None
    """The route of the last AI message that carries one: the latch."""

    in_turn: bool = False
    """Whether the turn is under way: an AI or tool message stands after the last human one."""

    cached_tokens: int = 0
    """Input of the thread's last answer that came out of the provider's prompt cache, in tokens; `0` when unknown."""

    output_tokens: int = 0
    """Output of the thread's last answer, in tokens; `0` when unknown."""


@dataclass(frozen=True)
class TierFacts:
    """What the pure decisions know of a tier: plain values, no model object."""

    name: str
    """The tier's name."""

    max_input_tokens: int | None = None
    """Input that it takes reliably, in tokens, or `None` when unknown."""

    images: bool | None = None
    """Whether it takes images; `None` when unknown, which means that it may be tried. So below."""

    audio: bool | None = None
    """Whether it takes audio."""

    files: bool | None = None
    """Whether it takes files."""

    tools: bool | None = None
    """Whether it can call tools, where it is to be given any."""

    fallbacks: int = 0
    """How many other models stand beside its own."""

    rates: Rates | None = None
    """Prices of its model, or `None` when they are unknown, or nobody needs them."""

    def misfits(self, facts: Facts) -> tuple[str, ...]:
        """Name each fact that rules this tier out; empty when it can take the request."""
        found = []
        if self.max_input_tokens is not None and facts.tokens > self.max_input_tokens:
            found.append(f"about {facts.tokens:,} input tokens, it takes {self.max_input_tokens:,}")
        for count, takes, what in (
            (facts.images, self.images, "images"),
            (facts.audio, self.audio, "audio"),
            (facts.files, self.files, "files"),
            (len(facts.tools) + len(facts.provider_tools), self.tools, "tools"),
        ):
            if count and takes is False:
                found.append(f"{what} ({count}), it takes none")
        return tuple(found)

    def fits(self, facts: Facts) -> bool:
        """Tell whether nothing known rules this tier out for a request."""
        return not self.misfits(facts)


@dataclass(frozen=True)
class Tier:
    """A rung of the ladder: a name, a model, and what it is for. A sequence of tiers runs cheapest first.

    ```python
    Tier("nano", "openai:gpt-5.4-nano", criteria="Labels, extraction and single-step questions.")
    ```

    Raises:
        InvalidTierError: If the name or the model is empty, or a field is out of range; says what was expected.
    """

    name: str
    """The node, ledger and route name. Not in `RESERVED_NAMES`, and without `:` and `|`."""

    model: BaseChatModel | str
    """A chat model, or a `provider:model` string that is built at first use, so that no key is needed before."""

    criteria: str = field(kw_only=True)
    """What the tier is for, in words that the classifier reads as they stand."""

    tools: Sequence[Tool] = field(default=(), kw_only=True)
    """Tools of this tier alone, beside those of the agent."""

    fallbacks: Sequence[BaseChatModel | str] = field(default=(), kw_only=True)
    """Models that stand in, in order, when the tier's own model is down."""

    checks: Sequence[Check] = field(default=(), kw_only=True)
    """Checks of this tier's answers, beside those of the agent."""

    max_input_tokens: int | None = field(default=None, kw_only=True)
    """The reliable context where that is less than the model's window, in tokens."""

    rates: Rates | str | None = field(default=None, kw_only=True)
    """Prices that override the published ones, or a `provider:model` whose published prices hold; else the model's."""

    price_factor: float = field(default=1.0, kw_only=True)
    """Multiplies the price: `1.1` for regional processing, `0.5` for batch or flex."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InvalidTierError(f"Tier name {self.name!r} is empty. Give each tier a short name, such as 'nano'.")
        if self.name in RESERVED_NAMES or any(character in self.name for character in RESERVED_CHARACTERS):
            raise InvalidTierError(
                f"Tier name {self.name!r} is reserved: graph and ledger use {', '.join(sorted(RESERVED_NAMES))}, "
                "and LangGraph ':' and '|' in namespaces. Choose another name."
            )
        if not self.model:
            raise InvalidTierError(
                f"Tier {self.name!r} has no model. Give a chat model or a string like 'openai:gpt-5.4-nano'."
            )
        if isinstance(self.fallbacks, str):
            raise InvalidTierError(
                f"Tier {self.name!r}: fallbacks={self.fallbacks!r} is one string. Write a list of them."
            )
        if self.max_input_tokens is not None and not _is_above_zero(self.max_input_tokens):
            raise InvalidTierError(
                f"Tier {self.name!r}: max_input_tokens={self.max_input_tokens!r} must be at least 1, "
                "or None for the model's window."
            )
        if not _is_above_zero(self.price_factor):
            raise InvalidTierError(
                f"Tier {self.name!r}: price_factor={self.price_factor!r} must be above 0; "
                "1.0 is the list price, 0.5 batch or flex."
            )
        for check in self.checks:
            if not callable(check):
                raise InvalidTierError(f"Tier {self.name!r}: check {check!r} is not callable. Give functions.")


def _is_above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < float("inf")


def checked_tiers(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """Return `tiers` as a tuple.

    Raises:
        InvalidTierError: If there is none, or something in the sequence is no `Tier`.
        DuplicateNameError: If two share a name.
    """
    if isinstance(tiers, Tier):
        raise InvalidTierError(f"One Tier, {tiers.name!r}, was given instead of a sequence. Write [tier].")
    checked = tuple(tiers)
    if not checked:
        raise InvalidTierError(
            "The tiers are empty. Pass at least one Tier, cheapest first, or None for default_tiers()."
        )
    for tier in checked:
        if not isinstance(tier, Tier):
            raise InvalidTierError(f"{tier!r} is not a Tier. Write Tier(name, model, criteria=...), cheapest first.")
    names = [tier.name for tier in checked]
    for name in names:
        if names.count(name) > 1:
            raise DuplicateNameError("tier", name, names)
    return checked


def place_of(name: str, tiers: Sequence[Tier | TierFacts]) -> int:
    """Return where the tier called `name` stands, `0` for the cheapest.

    Raises:
        UnknownTierError: If no declared tier has that name.
    """
    for place, tier in enumerate(tiers):
        if tier.name == name:
            return place
    raise UnknownTierError(name, [tier.name for tier in tiers])
