"""Tiers inside `langchain.agents.create_agent`: routing and escalation as middleware, in any order with any other.

```python
agent = create_agent(model, tools, middleware=[TierRouterMiddleware(tiers), EscalationMiddleware(tiers)])
result["route"], result["ledger"]
```
"""

from langchain_tiered.middleware.escalation import EscalationMiddleware
from langchain_tiered.middleware.routing import TierRouterMiddleware

__all__ = ["EscalationMiddleware", "TierRouterMiddleware"]
