"""A support desk for LangGraph Studio: refunds over a SQLite shop in memory, each one judged before it is made.

Starts without a key, on the offline tiers where there is none. Try a list: "1. Refund order 1042, it was late.", "2.
Perhaps refund order 1045." Studio shows the call that is doubted, and takes the decision.
"""

import os

from examples.shop import shop_tools
from langchain_tiered import create_orchestrator, default_tiers
from langchain_tiered.offline import offline_tiers

graph = create_orchestrator(
    tiers=default_tiers() if os.environ.get("OPENAI_API_KEY") else offline_tiers(),
    tools=shop_tools(),  # the shop lives as long as the server
    risky_tools=["refund_order"],
    checkpointer=True,  # the server brings one
    name="support_desk",
)
"""The flagship plans, judges refunds, and reviews; mini uses the tools."""
