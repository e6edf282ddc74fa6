"""What a run tells of its steps while it runs: one event on the `custom` stream for each that is not an acceptance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from langgraph.config import get_stream_writer
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from langgraph.types import StreamWriter

    from langchain_tiered.cascade.steps import Action, Step
    from langchain_tiered.types import Attempt, FailureKind


class StepEvent(TypedDict):
    """A step that follows an attempt, as `stream_mode="custom"` gives it. It has no word of the answer."""

    type: Literal["tiered_step"]
    """Tells the event from those of the app."""

    action: Action
    """What is done: `wait`, `repair`, `fall_back`, `escalate`, `downgrade`, `ask` or `stop`."""

    tier: str
    """The tier whose attempt fell short."""

    to: str
    """The tier that answers next; the same one where the step stays there."""

    fallback: int
    """Which of its models: `0` for its own, `n` for its n-th fallback."""

    reason: str
    """A sentence for a person."""

    check: str | None
    """The check that rejected the answer, or `None` when none did."""

    failure: FailureKind | None
    """What kind of provider error there was, or `None` when there was none."""

    wait_s: float
    """How long is waited before, in seconds."""


def announce(attempt: Attempt, step: Step, writer: StreamWriter | None = None) -> None:
    """Write the event of a step to the custom stream, where somebody listens.

    Args:
        attempt: What fell short.
        step: What follows.
        writer: Of the graph that is listened to, where the caller runs in a loop inside it: a sub-graph's own writer is
            heard only with `subgraphs=True`.
    """
    verdict, failure = attempt["verdict"], attempt["failure"]
    event = StepEvent(
        type="tiered_step",
        action=step.action,
        tier=attempt["tier"],
        to=step.tier,
        fallback=step.fallback,
        reason=step.reason,
        check=verdict["check"] if verdict else None,
        failure=failure["kind"] if failure else None,
        wait_s=step.wait_s,
    )
    (writer or stream_writer())(event)


def stream_writer() -> StreamWriter:
    """Return the writer of the graph that the caller is a node of; outside one nobody listens."""
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):
        return lambda _: None
