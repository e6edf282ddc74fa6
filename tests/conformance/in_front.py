"""A pytest plugin that puts something of ours in front of every agent that LangChain's own tests make.

`IN_FRONT` names it, `TWINS` asks for empty middleware of the same hooks and channels instead, and `OUTCOMES` names the
file that gets what became of each test. The tiers are one tier around the test's own model, by rules alone: no model is
asked that the test has not scripted.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import langchain.agents
import pytest
from langchain.agents import factory
from langchain.agents.middleware import AgentMiddleware

from langchain_tiered import BudgetMiddleware, EscalationMiddleware, Tier, TierRouterMiddleware
from langchain_tiered.accounting import metering
from langchain_tiered.chat_model import TieredChatModel
from langchain_tiered.middleware import ReviewMiddleware
from langchain_tiered.nodes import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    Makers = tuple[Callable[[Any], AgentMiddleware[Any, Any, Any]], ...]

NOTHING, MODEL = "nothing", "TieredChatModel"
MENDED = "mended"
KINDS = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")

steps: list[str] = []
"""What followed the attempts that fell short in the test that runs now."""


def _tiers(model: Any) -> list[Tier]:
    return [Tier("own", model, criteria="Everything.")]


def _router(model: Any) -> AgentMiddleware[Any, Any, Any]:
    return TierRouterMiddleware(_tiers(model), classifier=None)


def _escalation(model: Any) -> AgentMiddleware[Any, Any, Any]:
    return EscalationMiddleware(_tiers(model))


def _budget(_: Any) -> AgentMiddleware[Any, Any, Any]:
    return BudgetMiddleware(run_limit_usd=1_000_000)


def _review(model: Any) -> AgentMiddleware[Any, Any, Any]:
    return ReviewMiddleware(model, risky_tools=["no_tool_of_the_tests"])


MIDDLEWARE: dict[str, Makers] = {
    "TierRouterMiddleware": (_router,),
    "EscalationMiddleware": (_escalation,),
    "BudgetMiddleware": (_budget,),
    "ReviewMiddleware": (_review,),
    "all four": (_budget, _router, _escalation, _review),
}
IN_FRONT = (NOTHING, *MIDDLEWARE, MODEL)


def pytest_configure() -> None:
    """Put what `IN_FRONT` names in front of all agents that are made from now on."""
    name = os.environ["IN_FRONT"]
    if name != NOTHING:
        made = _in_front(factory.create_agent, MIDDLEWARE.get(name, ()), is_model=name == MODEL)
        _put(factory, create_agent=made)
        _put(langchain.agents, create_agent=made)
        # The fakes of LangChain's tests have no price, and a budget over a model without one is an error.
        _put(metering, estimate_usd=lambda *_, **__: 0.0)
        _put(calls, announce=lambda _, step, __=None: steps.append(step.action))


def _put(module: ModuleType, **named: Any) -> None:
    vars(module).update(named)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note of each test whether an answer was mended in it, or turned down."""
    steps.clear()
    try:
        yield
    finally:
        if steps:
            item.user_properties.append((MENDED, list(steps)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write down what became of each test, and whether an answer was mended in it."""
    found = {
        report.nodeid: (kind, dict(report.user_properties).get(MENDED, []))
        for kind in KINDS
        for report in terminalreporter.stats.get(kind, ())
    }
    Path(os.environ["OUTCOMES"]).write_text(json.dumps(found), encoding="utf-8")


def _in_front(create_agent: Callable[..., Any], makers: Makers, *, is_model: bool) -> Callable[..., Any]:
    @functools.wraps(create_agent)
    def made(model: Any, *given: Any, middleware: Any = (), **options: Any) -> Any:
        if isinstance(model, str):
            model = vars(factory)["init_chat_model"](model)  # as a test may have replaced it
        ours = [make(model) for make in makers]
        if os.environ.get("TWINS"):
            ours = [_twin(each) for each in ours]
        model = TieredChatModel(tiers=_tiers(model), classifier=None) if is_model else model
        return create_agent(model, *given, middleware=[*ours, *middleware], **options)

    return made


def _twin(of: AgentMiddleware[Any, Any, Any]) -> AgentMiddleware[Any, Any, Any]:
    """Return a middleware with the same hooks and channels that does nothing in them."""
    kind, plain = type(of), AgentMiddleware
    hooks = {name: hook for name, hook in _HOOKS.items() if getattr(kind, name) is not getattr(plain, name)}
    twin: type[AgentMiddleware[Any, Any, Any]] = type(f"Empty{kind.__name__}", (plain,), hooks)
    twin.state_schema = of.state_schema
    return twin()


def _nothing(self: Any, state: Any, runtime: Any) -> None:
    """Do nothing."""


async def _anothing(self: Any, state: Any, runtime: Any) -> None:
    """Do nothing."""


def _call_on(self: Any, request: Any, handler: Callable[[Any], Any]) -> Any:
    return handler(request)


async def _acall_on(self: Any, request: Any, handler: Callable[[Any], Any]) -> Any:
    return await handler(request)


_HOOKS: dict[str, Any] = {
    **dict.fromkeys(("before_agent", "before_model", "after_model", "after_agent"), _nothing),
    **dict.fromkeys(("abefore_agent", "abefore_model", "aafter_model", "aafter_agent"), _anothing),
    **dict.fromkeys(("wrap_model_call", "wrap_tool_call"), _call_on),
    **dict.fromkeys(("awrap_model_call", "awrap_tool_call"), _acall_on),
}
