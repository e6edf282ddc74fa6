"""Ask three requests of one agent, and see which tier answered, why, and what it cost.

Without OPENAI_API_KEY the offline tiers answer: deterministic rules, no language model. Their costs are the same tokens
at GPT-5.4 prices.
"""

import os

import show

from langchain_tiered import Ledger, create_tiered_agent, default_tiers
from langchain_tiered.offline import offline_tiers

REQUESTS = (
    "Classify the ticket. Labels: billing, delivery, praise.\n\nTicket: my delivery has not arrived.",
    "Write a Python function that tells whether a year is a leap year.",
    "Prove that the square root of two is irrational.",
)

offline = not os.environ.get("OPENAI_API_KEY")
agent = create_tiered_agent(offline_tiers() if offline else default_tiers())

for request in REQUESTS:
    result = agent.invoke({"messages": [("user", request)]})
    route, ledger = result["route"], Ledger(result["ledger"])
    print(f"{route['tier']:>8}  ${ledger.total_usd:.6f}  {route['reason']}")
    print(f"          {result['messages'][-1].text.splitlines()[0][:100]}")
if offline:
    show.offline_note()
