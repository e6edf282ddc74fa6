"""Tiers inside `langchain.agents.create_agent`: routing, escalation, budgets and reviews, in any order with any other.

```python
agent = create_agent(model, tools, middleware=[TierRouterMiddleware(tiers), EscalationMiddleware(tiers)])
result["route"], result["ledger"]
```
"""

from langchain_tiered.middleware.budget import BudgetMiddleware
from langchain_tiered.middleware.escalation import EscalationMiddleware
from langchain_tiered.middleware.review import ReviewMiddleware
from langchain_tiered.middleware.routing import TierRouterMiddleware

__all__ = ["BudgetMiddleware", "EscalationMiddleware", "ReviewMiddleware", "TierRouterMiddleware"]
