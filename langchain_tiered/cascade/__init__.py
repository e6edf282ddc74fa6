"""After the answer: checks say whether it will do, and the engine says what follows."""

from langchain_tiered.cascade.checks import Check, CheckInput, finished, not_empty, not_refused
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.cascade.steps import Limits, Step, next_step

__all__ = [
    "Check",
    "CheckInput",
    "Limits",
    "Step",
    "failure_of",
    "finished",
    "next_step",
    "not_empty",
    "not_refused",
]
