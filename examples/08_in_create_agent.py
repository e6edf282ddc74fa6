"""Route and escalate inside LangChain's own `create_agent`: two middleware, any other beside them.

The models here are deterministic rules, no language models.
"""

import show
from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from shop import Shop, tools

from langchain_tiered import EscalationMiddleware, Ledger, TierRouterMiddleware
from langchain_tiered.offline import offline_tiers

tiers = offline_tiers()
agent = create_agent(
    tiers[-1].model,  # what answers without the router
    tools(Shop()),
    middleware=[TierRouterMiddleware(tiers), EscalationMiddleware(tiers), ModelCallLimitMiddleware(run_limit=10)],
)

for request in (
    "Classify the ticket. Labels: bug, praise, other. Ticket: a bug, the app crashes when I log in.",
    "Refund order 1042 and tell me why it was late.",
    "Prove that the square root of two is irrational.",
):
    result = agent.invoke({"messages": [("user", request)]})
    ledger = Ledger(result["ledger"])
    print(f"{result['route']['tier']:>8}  ${ledger.total_usd:.6f} for {len(ledger)} calls  {request}")
    print(f"          {result['messages'][-1].text[:100]}")
show.offline_note()
