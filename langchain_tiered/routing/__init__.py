"""Before the answer: facts, rules, classifier and policy say which tier a request goes to."""

from langchain_tiered.routing.classifier import Classifier, ClassifierFunction, create_classifier
from langchain_tiered.routing.explaining import Explanation, RuleSaid
from langchain_tiered.routing.facts import NO_TOOLS, ToolFacts, facts_of, messages_of, tool_facts
from langchain_tiered.routing.policy import Policy
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.routing.rules import RULES, Rule, classify_by_rules

__all__ = [
    "NO_TOOLS",
    "RULES",
    "Classifier",
    "ClassifierFunction",
    "Explanation",
    "Policy",
    "Rule",
    "RuleSaid",
    "TierRouter",
    "ToolFacts",
    "classify_by_rules",
    "create_classifier",
    "facts_of",
    "messages_of",
    "tool_facts",
]
