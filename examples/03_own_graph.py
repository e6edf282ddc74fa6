"""Put the nodes into a graph of your own, with a state of your own: your nodes stand before and behind ours."""

import re
from typing import NotRequired

import show
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from shop import Shop

from langchain_tiered import Ledger, TieredState, TierRouter, nodes, route_by_tier
from langchain_tiered.offline import offline_tiers

shop = Shop()
tiers = offline_tiers()
names = [tier.name for tier in tiers]


class Letter(TieredState):
    """A letter to the shop: our channels, and one of your own."""

    order_id: NotRequired[int | None]


def find(state: Letter) -> Letter:
    """Find the order that the letter is about, without any model."""
    found = re.search(r"\b10\d\d\b", state["messages"][-1].text)
    return {"order_id": int(found[0]) if found else None}


def sign(state: Letter) -> Letter:
    """Add a line that names the tier, and the order's status."""
    order = shop.order(state["order_id"]) if state["order_id"] else None
    about = f" Order {state['order_id']} is {order['status']}." if order else ""
    return {"messages": [AIMessage(f"(Answered by {state['route']['tier']}.{about})")]}


builder = StateGraph(Letter)
builder.add_node("find", find)
builder.add_node("classify", nodes.classify(TierRouter(tiers)))
builder.add_conditional_edges("classify", route_by_tier, names)
for tier in tiers:
    builder.add_node(tier.name, nodes.answer(tier, tiers=tiers))
    builder.add_edge(tier.name, "check")
builder.add_node("check", nodes.check(tiers, on_accepted="sign"), destinations=(*names, "sign"))
builder.add_node("sign", sign)
builder.add_edge(START, "find")
builder.add_edge("find", "classify")
builder.add_edge("sign", END)
graph = builder.compile()

print(graph.get_graph().draw_mermaid())
for request in (
    "Classify the letter. Labels: praise, complaint. Letter: I have a complaint, order 1042 came late.",
    "Prove that two odd numbers add up to an even one.",
):
    result = graph.invoke({"messages": [("user", request)]})
    for message in result["messages"]:
        print(f"{message.type:>5}: {message.text}")
    print(f" paid: ${Ledger(result['ledger']).total_usd:.6f}")
show.offline_note()
