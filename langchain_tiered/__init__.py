"""Answer each request with the cheapest model tier that can do it, and prove what that saved."""

from langchain_tiered.accounting.budget import Budget
from langchain_tiered.accounting.collecting import collect_ledger
from langchain_tiered.accounting.ledger import Ledger
from langchain_tiered.agent import create_tiered_agent
from langchain_tiered.chat_model import TieredChatModel
from langchain_tiered.middleware.budget import BudgetMiddleware
from langchain_tiered.middleware.escalation import EscalationMiddleware
from langchain_tiered.middleware.review import ReviewMiddleware
from langchain_tiered.middleware.routing import TierRouterMiddleware
from langchain_tiered.models import default_tiers
from langchain_tiered.nodes import route_by_tier
from langchain_tiered.orchestrator.factory import create_orchestrator
from langchain_tiered.routing.policy import Policy
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.state import TieredState
from langchain_tiered.types import LedgerEntry, Route, Tier

__all__ = [
    "Budget",
    "BudgetMiddleware",
    "EscalationMiddleware",
    "Ledger",
    "LedgerEntry",
    "Policy",
    "ReviewMiddleware",
    "Route",
    "Tier",
    "TierRouter",
    "TierRouterMiddleware",
    "TieredChatModel",
    "TieredState",
    "collect_ledger",
    "create_orchestrator",
    "create_tiered_agent",
    "default_tiers",
    "route_by_tier",
]
