"""The words of the library: tiers, tasks, facts, routes, attempts, verdicts, ledger entries, as plain values.

Nothing here imports a framework at run time, reads a clock or decides anything. What travels in a graph's state is a
JSON-plain `TypedDict`; what a user configures is a frozen dataclass.
"""

from typing import TYPE_CHECKING

from langchain_tiered.types.facts import Facts, TierFacts
from langchain_tiered.types.records import (
    TASKS,
    Attempt,
    Classification,
    DecidedBy,
    Failure,
    FailureKind,
    LedgerEntry,
    Outcome,
    Role,
    Route,
    Task,
    Verdict,
)
from langchain_tiered.types.tiers import (
    RESERVED_CHARACTERS,
    RESERVED_NAMES,
    Rates,
    Tier,
    checked_tiers,
    named,
    place_of,
    told_apart,
)

if TYPE_CHECKING:
    from langchain_tiered.types.tiers import Tool as Tool  # an alias for annotations, which runs nowhere

__all__ = [
    "RESERVED_CHARACTERS",
    "RESERVED_NAMES",
    "TASKS",
    "Attempt",
    "Classification",
    "DecidedBy",
    "Facts",
    "Failure",
    "FailureKind",
    "LedgerEntry",
    "Outcome",
    "Rates",
    "Role",
    "Route",
    "Task",
    "Tier",
    "TierFacts",
    "Verdict",
    "checked_tiers",
    "named",
    "place_of",
    "told_apart",
]
