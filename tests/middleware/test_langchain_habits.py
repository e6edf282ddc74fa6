"""What LangChain's own tests of `create_agent` expect behind any middleware; `make conformance` runs those too."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, call_then, say, tiers
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from orders import agent, resumed

from langchain_tiered import BudgetMiddleware, EscalationMiddleware, TierRouterMiddleware, create_tiered_agent

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

THREAD: Any = {"configurable": {"thread_id": "1"}}
NICE = "Remember to be nice!"


class Reminder(AgentMiddleware[Any, Any, Any]):
    """Adds to the request's own list, as LangChain's tests do: what it adds joins the thread."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        request.messages.append(HumanMessage(NICE))
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        request.messages.append(HumanMessage(NICE))
        return await handler(request)


@pytest.mark.parametrize("order", ["RX", "XR", "EX", "XE", "REX", "ERX", "RXE", "XRE"])
def test_what_a_middleware_adds_to_the_list_of_messages_joins_the_thread(run: Any, order: str) -> None:
    result = run(agent(order, tiers(nano=say("n"), mini=say("m")), {"X": Reminder()}), ask(LABEL))
    assert [message.text for message in result["messages"]] == [LABEL, NICE, "n"]


def test_it_joins_the_thread_in_a_tiered_agent_too(run: Any) -> None:
    made = create_tiered_agent(tiers(nano=say("n"), mini=say("m")), middleware=[Reminder()])
    assert [message.text for message in run(made, ask(LABEL))["messages"]] == [LABEL, NICE, "n"]


@pytest.mark.parametrize("order", list(permutations("BREX")), ids="".join)
def test_a_run_with_all_of_ours_goes_on_after_an_interrupt(
    run: Any, order: tuple[str, ...], refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=call_then("refund", {"order": 7}, say("It is refunded.")), mini=say("m"))
    stack: dict[str, Any] = {
        "B": BudgetMiddleware(run_limit_usd=1),
        "R": TierRouterMiddleware(scripted),
        "E": EscalationMiddleware(scripted),
        "X": HumanInTheLoopMiddleware(interrupt_on={"refund": True}),
    }
    own: Any = scripted[0].model
    made: Any = create_agent(own, [refund], middleware=[stack[each] for each in order], checkpointer=InMemorySaver())
    run(made, ask(LABEL), THREAD)
    result = run(made, resumed({"type": "approve"}), THREAD)
    assert (result["messages"][-1].text, refunds) == ("It is refunded.", [7])
    assert [entry["outcome"] for entry in result["ledger"]] == ["tool_turn", "accepted"]
