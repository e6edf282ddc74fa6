"""`create_orchestrator`: plan, work in parallel, review, compiled into one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, StateGraph

from langchain_tiered.accounting.budget import Budget
from langchain_tiered.accounting.estimates import expect_priced
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.in_tiers import expect_known, reviewers, reviewing
from langchain_tiered.models import default_tiers
from langchain_tiered.orchestrator.asking import Asked, AskedLike
from langchain_tiered.orchestrator.planning import PlanNode
from langchain_tiered.orchestrator.plans import PLAN_SCHEMA
from langchain_tiered.orchestrator.prompts import REVIEW_SCHEMA, plan_prompt
from langchain_tiered.orchestrator.results import OrchestratorInput, OrchestratorOutput, OrchestratorState
from langchain_tiered.orchestrator.reviewing import ReviewNode
from langchain_tiered.orchestrator.workers import TieredWorker, worker_of
from langchain_tiered.orchestrator.working import Crew, WorkNode
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.types import Tier, checked_tiers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain.agents.middleware import AgentMiddleware
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.store.base import BaseStore
    from langgraph.types import Checkpointer

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.middleware.approval import RiskyTools
    from langchain_tiered.orchestrator.workers import Worker, WorkerLike
    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.types import Tool

MOST_THREADS = 100_000
"""What `max_concurrency` is unless the caller says otherwise: `max_parallel` is the limit of the work. LangGraph's own
default is a few threads more than there are processors, and what is stored would wait behind tasks that wait."""


def create_orchestrator(  # noqa: PLR0913  (what works, within what bounds, and the tail of `create_agent`)
    planner: AskedLike | None = None,
    worker: WorkerLike | None = None,
    reviewer: AskedLike | None = None,
    *,
    tiers: Sequence[Tier] | None = None,
    tools: Sequence[Tool] = (),
    risky_tools: RiskyTools | None = None,
    policy: Policy | None = None,
    checks: ChecksLike = None,
    middleware: Sequence[AgentMiddleware[Any, Any, Any]] = (),
    budget: Budget | None = None,
    max_parallel: int = 8,
    max_revisions: int = 2,
    max_tasks: int = 100,
    max_result_chars: int = 20_000,
    task_timeout_s: float | None = 600.0,
    system_prompt: str | None = None,
    context_schema: type[Any] | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    name: str = "orchestrator",
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Create a graph in which the most capable tier plans, smaller ones work in parallel, and a reviewer judges.

    ```python
    from langchain_tiered import Ledger, create_orchestrator
    from langchain_tiered.offline import offline_tiers

    orchestrator = create_orchestrator(tiers=offline_tiers())
    work = ["1. Label the text. Labels: bug, praise. Text: it crashes.", "2. Extract the total from: it is 15 USD."]
    result = orchestrator.invoke({"messages": [("user", chr(10).join(work))]})
    print(result["verdict"], [each["output"] for each in result["results"]], Ledger(result["ledger"]).total_usd)
    ```

    A task begins as soon as what it depends on is done. A worker gets its task and the results that it needs, never
    the thread. A request that needs no plan is answered by the planner, or handed to one worker, without a review.

    Args:
        planner: A chat model, a `provider:model` string, a tier, or a runnable or function of messages that gives the
            plan as JSON; `None` for the last tier.
        worker: An agent, a chat model, any runnable, or a function of the task; `None` for the tiers, each task at the
            tier of its kind, with checks and escalations as in `create_tiered_agent`.
        reviewer: As `planner`.
        tiers: Cheapest first; `None` for `default_tiers()`.
        tools: Of the tiers as workers, as for `create_tiered_agent`.
        risky_tools: Those whose calls are judged before they run, as for `create_tiered_agent`, here by `reviewer`. For
            another judge, or a human alone, put a `ReviewMiddleware` into `middleware`.
        policy: Bounds routes and steps of the tiers as workers.
        checks: What is asked of their answers.
        middleware: Runs inside each of their loops.
        budget: What a run and a thread may cost in USD, over planner, workers and reviewer together.
        max_parallel: How many tasks may be under way at once.
        max_revisions: How often the reviewer may send tasks back.
        max_tasks: How many tasks a plan may have.
        max_result_chars: How much of a result is handed on; the whole of a longer one is put into the store.
        task_timeout_s: How long one try at a task may take, in seconds; `None` for as long as it likes.
        system_prompt: Told to the planner, behind its own instructions.
        context_schema: A dataclass of your own, as for a `StateGraph`.
        checkpointer: Keeps threads, and each task as soon as it has ended.
        store: As for `create_agent`.
        name: The graph's name.

    Returns:
        A compiled graph: `{"messages": [...]}` to `messages`, `plan`, `results`, `ledger` and `verdict`.

    Raises:
        ConfigurationError: What can be known at build: bad tiers, numbers out of range, tools for a worker of your
            own, a budget over a model without a known price, a review that interrupts without a checkpointer, a risky
            tool that no tier has.
    """
    _expect_counts(max_parallel=(max_parallel, 1), max_revisions=(max_revisions, 0), max_tasks=(max_tasks, 1))
    _expect_counts(max_result_chars=(max_result_chars, 1))
    if task_timeout_s is not None and not (_is_number(task_timeout_s) and task_timeout_s > 0):
        raise ConfigurationError(f"task_timeout_s={task_timeout_s!r}: give a number of seconds above 0, or None.")
    ladder = checked_tiers(default_tiers() if tiers is None else tiers)
    asked = Asked(ladder[-1] if planner is None else planner, "plan", PLAN_SCHEMA)
    judge = Asked(ladder[-1] if reviewer is None else reviewer, "review", REVIEW_SCHEMA)
    hands = (_tier_of(worker),) if isinstance(worker, (Tier, str)) else ladder
    offered = [*tools, *(tool for tier in hands for tool in tier.tools)]
    if worker is None or isinstance(worker, (Tier, str)):
        judged_by = None if risky_tools is None else _model_of(ladder[-1] if reviewer is None else reviewer)
        middleware = reviewing(middleware, risky_tools, judged_by, interrupts=bool(checkpointer))
        expect_known(risky_tools, offered, middleware)
        router = TierRouter(hands, classifier=None, policy=policy)
        doer: Worker = TieredWorker(router, tools, middleware, checks, budget)
    elif tools or risky_tools or middleware or policy is not None or checks is not None:
        raise ConfigurationError(
            "tools, risky_tools, policy, checks and middleware are for the tiers. Give them to your worker."
        )
    else:
        doer, hands, offered = worker_of(worker), (), []
    if budget is not None:
        _expect_kept(budget, [each.tier for each in (asked, judge)], [*hands, *reviewers(middleware)])
    crew = Crew(doer, max_parallel, task_timeout_s, max_result_chars, budget)
    prompt = plan_prompt(max_tasks, _told_of(offered), system_prompt)
    builder = StateGraph(
        OrchestratorState,
        context_schema=context_schema,
        input_schema=OrchestratorInput,
        output_schema=OrchestratorOutput,
    )
    builder.add_node("plan", PlanNode(asked, prompt, max_tasks, budget), destinations=("work", END))
    builder.add_node("work", WorkNode(crew), destinations=("review", END))
    builder.add_node("review", ReviewNode(judge, max_revisions, budget), destinations=("work", END))
    builder.add_edge(START, "plan")
    graph = builder.compile(checkpointer=checkpointer, store=store, name=name)
    graph.stream_channels = list(graph.output_channels)
    graph.config = {"max_concurrency": MOST_THREADS}
    return graph


def _told_of(tools: Sequence[Tool]) -> dict[str, str]:
    """Return the tools by name, each with the first line of what it is for."""
    told = {}
    for tool in tools:
        if isinstance(tool, dict) and tool.get("type", "function") != "function":
            told[str(tool["type"])] = "Run by the provider."
            continue
        function = convert_to_openai_tool(tool)["function"]
        told[function["name"]] = str(function.get("description") or "").partition("\n")[0]
    return told


def _tier_of(worker: Tier | str) -> Tier:
    return worker if isinstance(worker, Tier) else Tier("worker", worker, criteria="All tasks.")


def _model_of(reviewer: AskedLike) -> BaseChatModel | str | Tier:
    """Return the reviewer as who judges calls of tools, too.

    Raises:
        ConfigurationError: If it could not: a runnable or a function is asked about results alone.
    """
    if isinstance(reviewer, (BaseChatModel, str, Tier)):
        return reviewer
    raise ConfigurationError(
        f"reviewer={reviewer!r} cannot judge calls of risky_tools: it is no chat model, string or tier. Put a "
        "ReviewMiddleware into middleware instead."
    )


def _expect_kept(budget: Budget, asked: Sequence[Tier | None], ladder: Sequence[Tier]) -> None:
    """Refuse a budget that cannot be kept."""
    if not isinstance(budget, Budget):
        raise ConfigurationError(f"budget={budget!r} is no Budget. Write budget=Budget(run_limit_usd=...).")
    expect_priced([*(tier for tier in asked if tier is not None), *ladder])


def _expect_counts(**given: tuple[object, int]) -> None:
    for name, (value, least) in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigurationError(f"{name}={value!r}: give a whole number, at least {least}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
