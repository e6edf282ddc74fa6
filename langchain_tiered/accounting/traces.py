"""What tracers are told of a run: tags and metadata as it begins, and what is known later on the run as they keep it.

LangSmith, LangChain's OpenTelemetry export and every other `BaseTracer` show these as their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from langchain_core.tracers.context import tracing_v2_callback_var

from langchain_tiered.accounting.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.types import LedgerEntry, Route

CLASSIFY, JUDGE, REJECTED = "tiered:classify", "tiered:judge", "tiered:rejected"
"""Tags of calls that classify and judge, and of the run in which a call's answer was rejected."""

_OF_ROUTE = ("task", "reason", "decided_by", "escalated_from")


def is_traced() -> bool:
    """Tell whether LangChain adds a tracer of its own to a call, by the environment or by the block around."""
    from langsmith.utils import tracing_is_enabled  # noqa: PLC0415  (it comes with LangChain, which imports it as late)

    return tracing_v2_callback_var.get() is not None or bool(tracing_is_enabled())


def payer(config: RunnableConfig | None) -> str:
    """Return the id of the run that pays: the one around, where an agent runs in a tool or a check of another one."""
    around = ((config or {}).get("metadata") or {}).get("tiered_run_id")
    return str(around or uuid4())


def tier_tag(tier: str) -> str:
    """Return the tag of the runs of a tier."""
    return f"tier:{tier}"


def told_of(route: Route | None) -> dict[str, Any]:
    """Return what the metadata of a call tells of its route; the tier stands there already."""
    return {name: route[name] if route else None for name in _OF_ROUTE}  # type: ignore[literal-required]


def with_metadata(around: Mapping[str, Any] | None, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with ours added.

    What says nothing is left out, so that a user's own `task` or `reason` stays; unless we stand in a run of ours,
    whose words must not be taken for the inner one's.
    """
    around = around or {}
    if "tiered_role" not in around:
        told = {name: value for name, value in told.items() if value is not None or name not in _OF_ROUTE}
    return {**around, **told}


def tagged(config: RunnableConfig, *tags: str) -> RunnableConfig:
    """Return `config` with tags added."""
    return cast("RunnableConfig", {**config, "tags": [*(config.get("tags") or ()), *tags]})


def mark(
    config: RunnableConfig | None,
    *tags: str,
    tier: str | None = None,
    route: Route | None = None,
    paid: Sequence[LedgerEntry] = (),
    **more: Any,
) -> None:
    """Write onto the run that `config` stands in what was not known when it began. Without a tracer nothing is done.

    Args:
        config: The config of a node.
        tags: Added to the run's.
        tier: The tier whose run it is.
        route: The route of the turn.
        paid: What was paid in the run: its cost stands there as `cost_usd`, `None` where it is unknown.
        more: What else its metadata is to tell.
    """
    for run in _runs(config):
        told: dict[str, Any] = {**more, **({"tier": tier} if tier else {}), **(told_of(route) if route else {})}
        if paid:
            told["cost_usd"] = Ledger(paid).total_usd
        run.extra = {**run.extra, "metadata": {**(run.extra.get("metadata") or {}), **told}}  # the old ones are shared
        run.tags = list(dict.fromkeys([*(run.tags or ()), *tags]))


def _runs(config: RunnableConfig | None) -> Iterator[Any]:
    """Yield the run as each tracer keeps it until it ends."""
    callbacks: Any = config.get("callbacks") if config else None
    if callbacks is None:
        return
    if (run_id := getattr(callbacks, "parent_run_id", None)) is None:
        return
    for handler in callbacks.handlers:
        run = getattr(handler, "run_map", {}).get(str(run_id))
        if isinstance(getattr(run, "extra", None), dict):
            yield run
