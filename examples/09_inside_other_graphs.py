"""Put the tiered agent into what you have: as a node of a parent graph, and as a tool of another agent."""

from typing import Any

import show
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from shop import Shop, tools

from langchain_tiered import Ledger, TieredState, TierRouterMiddleware, collect_ledger, create_tiered_agent
from langchain_tiered.offline import offline_tiers

REFUND = "Refund order 1042 and tell me why it was late."
tiers = offline_tiers()

# As a node. A parent whose state is a TieredState gets route and ledger too, and keeps the ledger of the thread.
# A sub-graph that is to remember its own thread is made with checkpointer=True.
support = create_tiered_agent(tiers, tools=tools(Shop()), checkpointer=True, name="support")


def thank(_: Any) -> dict[str, list[AIMessage]]:
    """Say goodbye."""
    return {"messages": [AIMessage("Thank you for shopping with us.")]}


def parent(schema: type[Any]) -> Any:
    """Return a graph with the agent as one of its nodes."""
    builder = StateGraph(schema)
    builder.add_node("support", support)
    builder.add_node("thank", thank)
    builder.add_edge(START, "support")
    builder.add_edge("support", "thank")
    builder.add_edge("thank", END)
    return builder.compile(checkpointer=InMemorySaver())


thread = {"configurable": {"thread_id": "ann"}}
graph = parent(TieredState)
for request in (REFUND, "And where is the parcel of order 1043?"):
    result = graph.invoke({"messages": [("user", request)]}, thread)
    ledger = Ledger(result["ledger"])
    print(f"node: {result['route']['tier']}, ${ledger.last_run().total_usd:.6f}. {result['messages'][-2].text[:90]}")
print(f"  the thread has paid ${ledger.total_usd:.6f} in {len(ledger.by_run())} runs")

# A parent that knows nothing of ledgers: the block does, and so do streams, with the tokens of the tiers.
with collect_ledger() as paid:
    parts = parent(MessagesState).stream(
        {"messages": [("user", REFUND)]}, thread, stream_mode="messages", subgraphs=True
    )
    words = [chunk.text for _, (chunk, _) in parts if chunk.type == "AIMessageChunk" and chunk.text]
print(f"node, streamed: {len(words)} parts for ${paid.total_usd:.6f}, the first one is {words[0]!r}")

# As a tool. The config carries callbacks, tags and the thread on; without it a stream cannot see into the agent.
agent = create_tiered_agent(tiers, tools=tools(Shop()), name="shop_desk")


@tool
def ask_shop_desk(order_id: int, config: RunnableConfig) -> str:
    """Have an order refunded by the shop's desk, which tells why it was late."""
    request = f"Refund order {order_id} and tell me why it was late."
    answer: AIMessage = agent.invoke({"messages": [("user", request)]}, config)["messages"][-1]
    return answer.text


assistant = create_agent(tiers[-1].model, [ask_shop_desk], middleware=[TierRouterMiddleware(tiers[-1:])])
with collect_ledger() as paid:
    result = assistant.invoke({"messages": [("user", REFUND)]})
print(f"tool: {result['messages'][-1].text[:90]}")
for name, ledger in paid.by_tier().items():
    print(f"  {name}: {len(ledger)} calls, ${ledger.total_usd:.6f}")
show.offline_note()
