"""Refund an order with real tools over a SQLite shop; a tier without the tools hands the request up.

Tools go to the second tier and those above. A tool never runs twice, whatever becomes of the answer.
"""

import show
from shop import Shop, tools

from langchain_tiered import Ledger, TierRouter, create_tiered_agent
from langchain_tiered.offline import offline_tiers

shop = Shop()
tiers = offline_tiers()
router = TierRouter(tiers, classifier=lambda _: "nano")  # a classifier that always says nano, to show the hand-up
agent = create_tiered_agent(router=router, tools=tools(shop))

VAGUE = (
    "My neighbour saw the van on Monday morning. Nobody rang, although I was at home cooking until evening, with both "
    "windows open to the street. What happened to parcel 1043?"
)

for request in ("Refund order 1042 and tell me why it was late.", VAGUE):
    result = agent.invoke({"messages": [("user", request)]})
    print(f"\n{request}\n  -> {result['route']['tier']}: {result['route']['reason']}")
    for message in result["messages"][1:]:
        calls = ", ".join(f"{call['name']}({call['args']})" for call in getattr(message, "tool_calls", ()))
        print(f"  {message.type:>5}: {calls or message.text}")
    for tier, ledger in Ledger(result["ledger"]).by_tier().items():
        print(f"  {tier}: {len(ledger)} calls, ${ledger.total_usd:.6f}")
show.offline_note()
