"""What the recorder is told of a call, and the ledger entry that it makes of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_tiered.accounting.rates import price_usd
from langchain_tiered.accounting.traces import told_of
from langchain_tiered.accounting.usage import Tokens, provider_calls, tokens_of
from langchain_tiered.cascade.failures import failure_of, has_status
from langchain_tiered.types import LedgerEntry, Rates, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    from langchain_tiered.types import Outcome, Role, Route, Tier

HELD = "nostream"
"""The tag of a model whose tokens LangGraph does not stream: `langgraph.constants.TAG_NOSTREAM`."""

TIERED = "langchain-tiered"
"""The provider that a `TieredChatModel` names. It costs nothing itself: its tiers' calls are booked one by one."""

LOOP_NODE = "model"
"""The node of a `create_agent` loop that calls the agent's own model."""


def call_metadata(
    *,
    role: Role,
    tier: Tier | None,
    run_id: str | None,
    task_id: str | None = None,
    loop: bool = False,
    route: Route | None = None,
) -> dict[str, Any]:
    """Return what a recorder must be told of the calls under a config, for its `metadata`: JSON-plain and flat.

    Everything but the task is written even where it says nothing, because metadata is inherited: an agent that runs
    inside another one's tool must not keep the outer tier's rates. It does keep the outer task.

    Args:
        role: What the calls are for.
        tier: The tier that the calls are made for, or `None`. Its rates and its factor hold where `role` is `answer` or
            `classify`, and where it is `judge`, `plan` or `review`, for which whoever asks a tier says so itself.
        run_id: The invocation that pays.
        task_id: The planned task that is paid for.
        loop: Whether the calls come out of a `create_agent` loop, whose tools and hooks may call other models.
        route: Where the turn goes, and why, for tracers; `None` before that is known.
    """
    rates = None if tier is None else tier.rates
    told = {
        "tier": None if tier is None else tier.name,
        **told_of(route),
        "tiered_role": role,
        "tiered_run_id": run_id,
        "tiered_loop": loop,
        "tiered_price_factor": 1.0 if tier is None else tier.price_factor,
        "tiered_rates": asdict(rates) if isinstance(rates, Rates) else rates,
        "tiered_model": None if tier is None or rates is None else _own_name(tier.model),
    }
    return told if task_id is None else {**told, "tiered_task_id": task_id}


@dataclass
class Call:
    """A model call that is under way."""

    metadata: Mapping[str, Any]
    started: float
    held: bool
    tools: Sequence[Any] = ()
    streamed: bool = False
    shown: bool = False
    is_tiered: bool = False
    """Whether it is one of a `TieredChatModel`, whose tiers make the calls that cost something."""
    arguments: dict[Any, tuple[str | None, str]] = field(default_factory=dict)
    """Of each tool call that was streamed, by its place: its id, and its arguments as they came."""

    @property
    def latency_s(self) -> float:
        """How long it has taken so far, in seconds."""
        return perf_counter() - self.started


def entry_of(
    run_id: UUID,
    call: Call,
    response: LLMResult | None,
    tokens: Tokens,
    outcome: Outcome,
    unread: Mapping[str, Any] | None = None,
) -> LedgerEntry:
    """Return the entry of a call that has ended; `unread` is what the provider told where its client read nothing."""
    metadata, role, latency_s = call.metadata, role_of(call.metadata), call.latency_s
    ours = "tiered_role" in metadata  # else "tier" is a word of the user's own
    told = unread or getattr(message_of(response), "response_metadata", {})
    model, calls = _model_name(response, told, metadata), provider_calls(message_of(response))
    terms = {
        "provider": metadata.get("ls_provider") or told.get("model_provider"),
        "service_tier": told.get("service_tier"),
        **terms_of(metadata, role),
    }
    searches: dict[str, Any] = {"web_searches": calls.web_searches, "file_searches": calls.file_searches}
    cost_usd = None if calls.unpriced else price_usd(model, tokens, **terms, **searches)
    entry = LedgerEntry(
        id=str(run_id),
        run_id=metadata.get("tiered_run_id"),
        task_id=metadata.get("tiered_task_id"),
        role=role,
        tier=metadata.get("tier") if ours else None,
        model=model,
        input_tokens=tokens.input_tokens,
        cached_tokens=tokens.cached_tokens,
        output_tokens=tokens.output_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        cost_usd=cost_usd,
        latency_s=latency_s,
        outcome=outcome,
    )
    if cost_usd is not None and any(searches.values()):
        entry["tools_usd"] = cost_usd - (price_usd(model, tokens, **terms) or 0.0)
    return entry


def free_entry(metadata: Mapping[str, Any], model: BaseChatModel | str) -> LedgerEntry:
    """Return the entry of an answer that was kept from an earlier call with such metadata: nothing was used or paid."""
    return LedgerEntry(
        id=str(uuid4()),
        run_id=metadata.get("tiered_run_id"),
        task_id=metadata.get("tiered_task_id"),
        role=role_of(metadata),
        tier=metadata.get("tier"),
        model=_own_name(model),
        input_tokens=0,
        cached_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        cost_usd=0.0,
        latency_s=0.0,
        outcome="accepted",
    )


def role_of(metadata: Mapping[str, Any]) -> Role:
    """Tell what a call was for. LangChain's middleware marks the calls that it makes itself by `lc_source`."""
    if source := metadata.get("lc_source"):
        return "summarize" if source == "summarization" else "other"
    role: Role = metadata.get("tiered_role", "other")
    return "other" if role == "answer" and metadata.get("tiered_loop") and not _is_loops_own(metadata) else role


def _is_loops_own(metadata: Mapping[str, Any]) -> bool:
    """Tell whether a call in a loop is the loop's own: neither a tool's, nor that of an agent that a tool runs."""
    if metadata.get("langgraph_node") != LOOP_NODE:
        return False
    spaces = str(metadata.get("langgraph_checkpoint_ns") or "").split("|")
    nodes = [space.partition(":")[0] for space in spaces if not space.isdigit()]  # numbers tell visits apart
    # `nano|model` is the loop of tier nano; `nano|tools|model` is an agent that one of its tools runs.
    return metadata.get("tier") not in nodes or nodes[-2:] == [metadata.get("tier"), LOOP_NODE]


def terms_of(metadata: Mapping[str, Any], role: Role) -> dict[str, Any]:
    """Return the tier's own terms of price. They are not those of the other models that are called on its behalf."""
    if role not in {"answer", "classify", "judge", "plan", "review"} and not metadata.get("tiered_own_terms"):
        return {}
    rates, own, called = (metadata.get(name) for name in ("tiered_rates", "tiered_model", "ls_model_name"))
    if own is not None and called is not None and own != called:
        rates = None  # another model, which a middleware has put in the tier's place
    return {
        "rates": Rates(**rates) if isinstance(rates, dict) else rates,
        "factor": metadata.get("tiered_price_factor", 1.0),
    }


def _own_name(model: BaseChatModel | str) -> str | None:
    """Return the name of a tier's model, as LangChain tells it of each call."""
    if isinstance(model, str):
        return model.partition(":")[2] or model
    return named(model)[0]


def message_of(response: LLMResult | None) -> BaseMessage | None:
    """Return the first message of a response: with several to choose from, each tells the usage of all."""
    first = next((generation for choices in (response.generations if response else ()) for generation in choices), None)
    return getattr(first, "message", None)


def tokens_in(response: LLMResult | None) -> Tokens:
    """Return what a response says that its call used."""
    message = message_of(response)
    told = getattr(message, "response_metadata", {})
    output = (response.llm_output if response else None) or {}
    return tokens_of(getattr(message, "usage_metadata", None) or output.get("token_usage") or told.get("token_usage"))


def _model_name(response: LLMResult | None, told: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    output = (response.llm_output if response else None) or {}
    return (
        told.get("model_name") or told.get("model") or output.get("model_name") or metadata.get("ls_model_name") or None
    )


def is_replayed(message: BaseMessage | None) -> bool:
    """Tell whether an answer came out of LangChain's own cache, which marks it: nothing was used, nothing is paid."""
    return (getattr(message, "usage_metadata", None) or {}).get("total_cost") == 0


def unread_on(error: BaseException) -> dict[str, Any]:
    """Return the answer, with its `usage`, that a provider gave and its client could not parse; empty without one.

    OpenAI's client leaves it on the error where an answer was cut off, and LangChain the HTTP response where an answer
    breaks the schema that was asked for.
    """
    told: Any = error
    try:
        body = told.completion.model_dump() if getattr(told, "completion", None) else told.response.json()
    except Exception:  # noqa: BLE001  (no response, one without a body, or one of a client that has other methods)
        return {}
    return body if isinstance(body, dict) and isinstance(body.get("usage"), dict) else {}


def may_be_charged(error: BaseException, call: Call) -> bool:
    """Tell whether a call that failed may have cost something."""
    if call.streamed or not isinstance(error, Exception):
        return True
    failure, refused = failure_of(error, of_call=True), has_status(error)
    if failure is None:
        return not refused
    # A filter that stops an answer, and a request that took too long, are charged for by some, whatever the status.
    return failure["kind"] in {"no_answer", "timeout"} or (failure["kind"] == "outage" and not refused)
