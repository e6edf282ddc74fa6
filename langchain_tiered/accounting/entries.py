"""What the recorder is told of a call, and the ledger entry that it makes of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
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

_ON_TERMS = frozenset({"answer", "classify", "judge", "plan", "review"})
"""The roles that are asked of a tier, and paid for on its terms."""

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
    put_in: str | None = None,
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
        put_in: The name of the model that was put in for the tier, where another middleware may replace it: a call of
            another model is no tier's.
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
        "tiered_put_in": put_in,
    }
    return told if task_id is None else {**told, "tiered_task_id": task_id}


@dataclass
class Call:
    """A model call that is under way."""

    metadata: Mapping[str, Any]
    role: Role
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
    run_id: UUID, call: Call, said: Said, tokens: Tokens, outcome: Outcome, unread: Mapping[str, Any] | None = None
) -> LedgerEntry:
    """Return the entry of a call that has ended; `unread` is what the provider told where its client read nothing."""
    metadata, latency_s = call.metadata, call.latency_s
    told = unread or said.metadata
    model, calls = _model_name(said, told, metadata), provider_calls(said.message)
    rates, factor = terms_of(metadata, call.role)
    price = partial(
        price_usd,
        model,
        tokens,
        provider=metadata.get("ls_provider") or told.get("model_provider"),
        service_tier=told.get("service_tier"),
        rates=rates,
        factor=factor,
    )
    searched = calls.web_searches or calls.file_searches
    cost_usd = None
    if not calls.unpriced:
        cost_usd = price(web_searches=calls.web_searches, file_searches=calls.file_searches) if searched else price()
    entry = LedgerEntry(
        id=str(run_id),
        run_id=metadata.get("tiered_run_id"),
        task_id=metadata.get("tiered_task_id"),
        role=call.role,
        tier=_tier_of(metadata),
        model=model,
        input_tokens=tokens.input_tokens,
        cached_tokens=tokens.cached_tokens,
        output_tokens=tokens.output_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        cost_usd=cost_usd,
        latency_s=latency_s,
        outcome=outcome,
    )
    if cost_usd is not None and searched:
        entry["tools_usd"] = cost_usd - (price() or 0.0)
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


def terms_of(metadata: Mapping[str, Any], role: Role) -> tuple[Rates | str | None, float]:
    """Return the tier's own rates and factor. They are not those of the other models that are called on its behalf."""
    if (role not in _ON_TERMS and not metadata.get("tiered_own_terms")) or _is_anothers(metadata):
        return None, 1.0
    rates, own, called = metadata.get("tiered_rates"), metadata.get("tiered_model"), metadata.get("ls_model_name")
    if own is not None and called is not None and own != called:
        rates = None  # another model, which a middleware has put in the tier's place
    return Rates(**rates) if isinstance(rates, dict) else rates, metadata.get("tiered_price_factor", 1.0)


def _tier_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the tier that a call is made for; without a role of ours the word is the user's own."""
    return metadata.get("tier") if "tiered_role" in metadata and not _is_anothers(metadata) else None


def _is_anothers(metadata: Mapping[str, Any]) -> bool:
    """Tell whether a middleware further in has put another model in the place of the tier's."""
    put_in, called = metadata.get("tiered_put_in"), metadata.get("ls_model_name")
    return put_in is not None and called is not None and put_in != called


def _own_name(model: BaseChatModel | str) -> str | None:
    """Return the name of a tier's model, as LangChain tells it of each call."""
    if isinstance(model, str):
        return model.partition(":")[2] or model
    return named(model)[0]


class Said(NamedTuple):
    """What a model has said in a call, as far as it is booked: nothing, where the call broke before."""

    message: BaseMessage | None = None
    """The first message of several to choose from: each tells the usage of all."""

    output: Mapping[str, Any] = MappingProxyType({})
    """What stands beside the messages."""

    @classmethod
    def of(cls, response: LLMResult | None) -> Said:
        """Read it out of LangChain's form."""
        if response is None:
            return NOTHING
        first = next((generation for choices in response.generations for generation in choices), None)
        return cls(getattr(first, "message", None), response.llm_output or {})

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the provider told of the message."""
        return self.message.response_metadata if self.message is not None else {}

    @property
    def tokens(self) -> Tokens:
        """What the call used, as far as it is told."""
        usage = getattr(self.message, "usage_metadata", None)
        return tokens_of(usage or self.output.get("token_usage") or self.metadata.get("token_usage"))

    @property
    def is_replayed(self) -> bool:
        """Tell whether it came out of LangChain's own cache, which marks it: nothing was used, nothing is paid."""
        usage = getattr(self.message, "usage_metadata", None)
        return usage is not None and usage.get("total_cost") == 0


NOTHING = Said()


def _model_name(said: Said, told: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    names = told.get("model_name") or told.get("model") or said.output.get("model_name")
    return names or metadata.get("ls_model_name") or None


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


def may_be_charged(error: BaseException, *, streamed: bool = False) -> bool:
    """Tell whether a call that failed may have cost something; `streamed`: a part of its answer had come."""
    if streamed or not isinstance(error, Exception):
        return True
    failure, refused = failure_of(error, of_call=True), has_status(error)
    if failure is None:
        return not refused
    # A filter that stops an answer, and a request that took too long, are charged for by some, whatever the status.
    return failure["kind"] in {"no_answer", "timeout"} or (failure["kind"] == "outage" and not refused)
