"""After the answer: checks say whether it will do, and the engine says what follows."""

from langchain_tiered.cascade.agreement import agreement
from langchain_tiered.cascade.checks import Check, CheckInput, finished, not_empty, not_refused
from langchain_tiered.cascade.circuit import Circuit
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.cascade.judge import judge
from langchain_tiered.cascade.stall import stalled
from langchain_tiered.cascade.steps import Limits, Step, next_step
from langchain_tiered.cascade.validity import matches_schema, valid_tool_calls

__all__ = [
    "Check",
    "CheckInput",
    "Circuit",
    "Limits",
    "Step",
    "agreement",
    "failure_of",
    "finished",
    "judge",
    "matches_schema",
    "next_step",
    "not_empty",
    "not_refused",
    "stalled",
    "valid_tool_calls",
]
