"""The tiered agent for LangGraph Studio: starts without a key, on the offline tiers where there is none."""

import os

from langchain_core.tools import tool

from langchain_tiered import create_tiered_agent, default_tiers
from langchain_tiered.offline import offline_tiers

ORDERS = {1040: "delivered on 3 March", 1041: "on its way, due on Friday", 1042: "held at customs since Monday"}


@tool
def find_order(order_id: int) -> str:
    """Look up where an order is, by its number."""
    return f"Order {order_id} is {ORDERS.get(order_id, 'not known here')}."


graph = create_tiered_agent(
    default_tiers() if os.environ.get("OPENAI_API_KEY") else offline_tiers(),
    tools=[find_order],
    system_prompt="You help the customers of a small shop. Be brief.",
)
"""Its models, prompts and the pin can be edited on their nodes in Studio."""
