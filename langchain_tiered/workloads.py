"""Which work goes where, as data: each kind of work with its rung, the reason, and the source of the reason.

The rungs are those of the GPT-5.4 family at its launch, and hold for any ladder: a tier is what it can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_tiered.types import Task


@dataclass(frozen=True)
class Workload:
    """A kind of work, the rung that it belongs on, and why."""

    task: Task
    """The kind of work."""

    rung: int
    """`0` for the cheapest tier, `1` for the second, `2` for the most capable; see `home`."""

    reason: str
    """Why this rung is enough, in a phrase that a route can quote."""

    source: str
    """What the reason rests on: a published score, or the vendor's guidance at launch (17 March 2026)."""

    never_below: bool = False
    """Whether the published scores rule the tiers below out, so that the rung is a floor and not only a habit."""


_GUIDANCE = "Launch guidance for GPT-5.4 mini and nano, 17 March 2026"

WORKLOADS: tuple[Workload, ...] = (
    Workload("classify", 0, "labels and triage want cost and speed more than depth", _GUIDANCE),
    Workload("extract", 0, "extraction is narrow, repeated and bound by a schema", _GUIDANCE),
    Workload("rank", 0, "ranking and filtering are narrow and repeated", _GUIDANCE),
    Workload("lookup", 0, "one well-defined question over a small context is a single step", _GUIDANCE),
    Workload(
        "scan",
        0,
        "the cheapest tier reads documents given as images; only the doubtful ones go up",
        _GUIDANCE,
    ),
    Workload("write", 1, "prose for a reader wants more care than labels and less depth than proofs", _GUIDANCE),
    Workload(
        "code",
        1,
        "code is written by the second tier nearly as well as by the dearest",
        "SWE-Bench Pro: 57.7 / 54.4 / 52.4",
    ),
    Workload(
        "terminal",
        1,
        "the cheapest tier falls far behind in terminals",
        "Terminal-Bench 2.0: mini 60.0, nano 46.3",
        True,
    ),
    Workload(
        "tools",
        1,
        "several tools want the second tier",
        "Toolathlon: mini 42.9, nano 35.5; tau2-bench telecom: mini 93.4",
        True,
    ),
    Workload("search", 1, "web and file search are tool work", "Toolathlon: mini 42.9, nano 35.5", True),
    Workload(
        "screen",
        1,
        "screens and computer use are beyond the cheapest tier",
        "OSWorld-Verified: 75.0 / 72.1 / 39.0",
        True,
    ),
    Workload("reason", 2, "open-ended reasoning and planning want the most capable tier", _GUIDANCE),
    Workload("review", 2, "a final judgement wants the most capable tier", _GUIDANCE),
    Workload(
        "long_document",
        2,
        "long context is kept by the most capable tier alone",
        "MRCR v2, 128K-256K: gpt-5.4 79.3, mini 33.6",
    ),
)
"""Which work goes where, from the model facts published at launch. One row for each `Task`."""

_WORKLOADS = {workload.task: workload for workload in WORKLOADS}


def workload_of(task: Task) -> Workload:
    """Return the row of `WORKLOADS` for `task`."""
    return _WORKLOADS[task]


def home(rung: int, count: int) -> int:
    """Return the place of `rung` among `count` tiers: the lowest, the second, or the last.

    The number of tiers is free: with two, the second and the last are the same; with five, those between them are
    reached by a classifier that names them, by floors and by escalation.
    """
    return (0, min(1, count - 1), count - 1)[rung]
