"""Let a support desk refund orders: the flagship plans, mini does it, and no dear refund is made unreviewed.

What the reviewer doubts waits for a human, whose answers stand below. The shop is a real SQLite database, in memory.
Without OPENAI_API_KEY rules plan, work and review, no language model: they doubt what a request is not sure of itself.
"""

import os
from typing import Any

import show
from langchain.agents.middleware.types import ToolCallRequest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from shop import Shop, tools

from langchain_tiered import Tier, create_orchestrator, default_tiers
from langchain_tiered.offline import offline_tiers

REQUEST = """Six customers wrote today. Do what they ask for, and say what was done:

1. Refund order 1042, it was delivered late.
2. Refund order 1041, the paper is ruled.
3. Refund order 1045: the customer says that the arm is perhaps bent.
4. Refund order 1048: the customer is not sure, the shoes may still come.
5. Track the parcel of order 1043.
6. Classify the message. Labels: praise, complaint. Message: the bread knife is wonderful."""
DEAR_USD = 40
APPROVE = {"type": "approve"}
ANSWERS = {1045: APPROVE, 1048: {"type": "reject", "message": "Ask the customer first."}}
"""What the human says of each order that is asked about."""


def desk(tiers: tuple[Tier, ...], shop: Shop, max_parallel: int = 8) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the desk: a refund of a dear order, or of one that is not there, is judged before it is made."""

    def is_dear(request: ToolCallRequest) -> bool:
        order = shop.order(request.tool_call["args"].get("order_id", 0))
        return order is None or order["total_usd"] >= DEAR_USD

    risky = {"refund_order": {"allowed_decisions": ["approve", "reject"], "when": is_dear}}
    return create_orchestrator(
        tiers=tiers, tools=tools(shop), risky_tools=risky, checkpointer=InMemorySaver(), max_parallel=max_parallel
    )


def answers(result: dict[str, Any]) -> Command:
    """Answer each call that is doubted, by the interrupt's id."""
    said = {}
    for waiting in result["__interrupt__"]:
        orders = [action["args"]["order_id"] for action in waiting.value["action_requests"]]
        said[waiting.id] = {"decisions": [ANSWERS.get(order, ANSWERS[1048]) for order in orders]}
    return Command(resume=said)


if __name__ == "__main__":
    offline, shop = not os.environ.get("OPENAI_API_KEY"), Shop()
    graph = desk(offline_tiers() if offline else default_tiers(), shop)
    thread = {"configurable": {"thread_id": "today"}}
    result = show.run(graph, {"messages": [("user", REQUEST)]}, thread, answers)
    print(f"\n{result['verdict']}:\n{result['messages'][-1].text}\n\nThe shop's table of refunds:")
    for order_id, cents, reason in shop.refunds():
        print(f"  {order_id}  ${cents / 100:>6.2f}  {reason}")
    show.costs(result["ledger"], offline=offline)
