"""Put the nodes into a graph of your own: classify, one answer node for each tier, check, and a node behind them."""

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph

from langchain_tiered import TieredState, TierRouter, nodes, route_by_tier
from langchain_tiered.offline import offline_tiers

tiers = offline_tiers()
names = [tier.name for tier in tiers]


def sign(state: TieredState) -> dict[str, list[AIMessage]]:
    """Add a line that names the tier."""
    return {"messages": [AIMessage(f"(Answered by {state['route']['tier']}.)")]}


builder = StateGraph(TieredState)
builder.add_node("classify", nodes.classify(TierRouter(tiers)))
builder.add_conditional_edges("classify", route_by_tier, names)
for tier in tiers:
    builder.add_node(tier.name, nodes.answer(tier, tiers=tiers))
    builder.add_edge(tier.name, "check")
builder.add_node("check", nodes.check(tiers, on_accepted="sign"), destinations=(*names, "sign"))
builder.add_node("sign", sign)
builder.add_edge(START, "classify")
builder.add_edge("sign", END)
graph = builder.compile()

print(graph.get_graph().draw_mermaid())
for message in graph.invoke({"messages": [("user", "Prove that two odd numbers add up to an even one.")]})["messages"]:
    print(f"{message.type:>5}: {message.text}")
