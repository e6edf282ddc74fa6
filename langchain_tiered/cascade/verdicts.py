"""Ask the checks of an answer, and make a verdict of whatever they do: say something, raise, talk nonsense, or hang."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import copy_context
from math import isfinite
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from langgraph.errors import GraphBubbleUp

from langchain_tiered.cascade.checks import finished, not_empty, not_refused
from langchain_tiered.cascade.failures import is_missing_recording
from langchain_tiered.cascade.validity import matches_schema, valid_tool_calls
from langchain_tiered.errors import ConfigurationError, UnknownTaskError
from langchain_tiered.types import TASKS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_tiered.cascade.checks import Check, CheckInput, ChecksLike
    from langchain_tiered.types import Task, Tier

BUILT_IN: tuple[Check, ...] = (not_refused, finished, valid_tool_calls, not_empty, matches_schema)
"""The checks of `checks=None`. They need no model. A refusal is named before its emptiness."""

_log = logging.getLogger(__name__)

NONE_DECLARED = Verdict(accepted=True, check="none", reason="No check was declared.", score=None)


class Checks:
    """The checks that an agent and its tiers declare, and which of them hold for an answer.

    Raises:
        UnknownTaskError: If a task in the mapping is not in the vocabulary.
        ConfigurationError: If something that is no callable stands where a check should.
    """

    def __init__(self, declared: ChecksLike = None) -> None:
        by_task = dict(declared) if isinstance(declared, Mapping) else {"*": BUILT_IN if declared is None else declared}
        self._by_task = {"*": BUILT_IN} | {task: _functions(task, checks) for task, checks in by_task.items()}

    def of(self, tier: Tier, task: Task) -> tuple[Check, ...]:
        """Return the checks of an answer that `tier` gives to a `task`, in the order in which they are asked."""
        return (*self._by_task.get(task, self._by_task["*"]), *tier.checks)

    def of_tool_turn(self, tier: Tier, task: Task) -> tuple[Check, ...]:
        """Return the checks of a message that calls tools: the built-in ones among those declared.

        One that was cut off must not run, whatever its arguments look like: a stream's half of a number is a number.
        """
        return tuple(check for check in self.of(tier, task) if check in BUILT_IN)

    def read_whole_answer(self, tier: Tier, task: Task, schema: object = None) -> bool:
        """Tell whether a check must read the whole answer before any of it may be shown."""
        checks = self.of(tier, task)
        return any(check not in BUILT_IN for check in checks) or (schema is not None and matches_schema in checks)


def need_no_model(checks: Sequence[Check]) -> bool:
    """Tell whether all checks are built in, and so quick and without calls of their own."""
    return all(check in BUILT_IN for check in checks)


def built_in_verdict(checks: Sequence[Check], given: CheckInput) -> Verdict:
    """Do what `verdict_of` does where all checks are built in and no threshold holds: in nearly every call."""
    verdict = NONE_DECLARED
    for check in checks:
        verdict = cast("Verdict", check(given))
        if not verdict["accepted"]:
            break
    return verdict


def verdict_of(
    checks: Sequence[Check], given: CheckInput, thresholds: Mapping[str, float], max_check_s: float = 60.0
) -> Verdict:
    """Ask each check in turn; return the first rejection, else the last acceptance.

    A check that raises, returns nonsense or takes too long is a rejection that names it. Interrupts and missing
    recordings are nobody's verdict, and are raised.

    Args:
        checks: What to ask, in order.
        given: The answer and its request.
        thresholds: Least score by check name, from the policy.
        max_check_s: The longest that a check may take, in seconds. One that hangs is left behind in its thread.

    Raises:
        ConfigurationError: If a check is async: only `averdict_of` can ask it.
    """
    verdict = NONE_DECLARED
    for check in checks:
        is_ours = check in BUILT_IN
        said = check(given) if is_ours else _asked(check, given, max_check_s)
        if not is_ours and inspect.isawaitable(said):
            if inspect.iscoroutine(said):
                said.close()
            raise ConfigurationError(f"Check {_name(check)!r} is async. Run the agent by `ainvoke` or `astream`.")
        verdict = _read(check, said, thresholds) if thresholds or not is_ours else cast("Verdict", said)
        if not verdict["accepted"]:
            break
    return verdict


async def averdict_of(
    checks: Sequence[Check], given: CheckInput, thresholds: Mapping[str, float], max_check_s: float = 60.0
) -> Verdict:
    """Do what `verdict_of` does; async checks are awaited, a user's sync ones run in a thread.

    A check that is an object may have an `acheck` beside its call: it is awaited here.
    """
    verdict = NONE_DECLARED
    for check in checks:
        said = check(given) if check in BUILT_IN else await _aasked(check, given, max_check_s)
        verdict = _read(check, said, thresholds) if thresholds or check not in BUILT_IN else cast("Verdict", said)
        if not verdict["accepted"]:
            break
    return verdict


def _functions(task: str, checks: Any) -> tuple[Check, ...]:
    if task != "*" and task not in TASKS:
        raise UnknownTaskError(task, [*TASKS, "*"], "checks")
    given = tuple(checks) if isinstance(checks, Iterable) else (None if callable(checks) else checks,)
    for check in given:
        if not callable(check):
            raise ConfigurationError(
                f"Check {check or checks!r} for {task!r} is not callable. A check is a function of a CheckInput that "
                "returns a Verdict or a bool; give a sequence of them, or a mapping from task to sequence."
            )
    return given


def _asked(check: Check, given: CheckInput, max_check_s: float) -> object:
    """Ask a check; an error of the check's own is handed back, to become a rejection that names it."""
    asked = _in_thread(check, given)
    try:
        return asked.result(max_check_s)
    except FutureTimeoutError as error:
        return _own(error) if asked.done() else _Late(max_check_s)
    except Exception as error:  # noqa: BLE001  (a user's check may raise anything; `_own` sorts it)
        return _own(error)


async def _aasked(check: Check, given: CheckInput, max_check_s: float) -> object:
    """Do what `_asked` does, without blocking the event loop."""
    task = asyncio.ensure_future(_awaited(check, given))
    try:
        await asyncio.wait({task}, timeout=max_check_s)
    finally:
        late = not task.done() and task.cancel()  # also where the caller was cancelled
    if late:
        return _Late(max_check_s)
    try:
        return task.result()
    except Exception as error:  # noqa: BLE001  (as in `_asked`)
        return _own(error)


async def _awaited(check: Check, given: CheckInput) -> object:
    acheck: Callable[[CheckInput], Awaitable[Any]] | None = getattr(check, "acheck", None)
    if acheck is not None:
        return await acheck(given)
    if inspect.iscoroutinefunction(check):
        said: Any = check(given)
    else:
        said = await asyncio.wrap_future(_in_thread(check, given))
    return await said if inspect.isawaitable(said) else said


def _in_thread(check: Check, given: CheckInput) -> Future[Any]:
    """Ask a check in a thread of its own; those of a pool would keep the interpreter from ending if one hangs."""
    said: Future[Any] = Future()
    context = copy_context()

    def ask() -> None:
        try:
            said.set_result(context.run(check, given))
        except BaseException as error:  # noqa: BLE001  (handed to whoever waits)
            said.set_exception(error)

    said.set_running_or_notify_cancel()
    Thread(target=ask, daemon=True, name=f"check {_name(check)}").start()
    return said


class _Late:
    """Stands for the word of a check that did not come in time."""

    def __init__(self, max_check_s: float) -> None:
        self.max_check_s = max_check_s


def _own(error: Exception) -> Exception:
    """Return a check's own error; an interrupt and a recording that is missing are nobody's verdict, and are raised."""
    if isinstance(error, GraphBubbleUp) or is_missing_recording(error):
        raise error
    _log.warning("A check raised, so its answer counts as rejected.", exc_info=error)
    return error


def _read(check: Check, said: object, thresholds: Mapping[str, float]) -> Verdict:
    """Turn whatever a check returned into a verdict: an error or nonsense is a rejection that says so."""
    name = _name(check)
    if isinstance(said, bool):
        return _verdict(name, said, f"{name} {'accepts' if said else 'rejects'} the answer.")
    if (problem := _nonsense(said)) is not None:
        return _verdict(name, False, f"The check {name} {problem}")
    told: Any = said
    verdict = Verdict(
        accepted=told["accepted"],
        check=told.get("check") or name,
        reason=told.get("reason") or f"{name} {'accepts' if told['accepted'] else 'rejects'} the answer.",
        score=told.get("score"),
    )
    least = thresholds.get(verdict["check"])
    if verdict["accepted"] and least is not None and verdict["score"] is not None and verdict["score"] < least:
        reason = f"{verdict['reason']} Its score {verdict['score']:.2f} is below the threshold {least:.2f}."
        return _verdict(verdict["check"], False, reason, verdict["score"])
    return verdict


def _nonsense(said: object) -> str | None:
    """Return what is wrong with a check's word, `None` where it is a verdict."""
    if isinstance(said, Exception):
        return f"raised {type(said).__name__}."  # its words may quote the answer; they are in the log
    if isinstance(said, _Late):
        return f"took longer than {said.max_check_s:g} s."
    if not isinstance(said, Mapping) or not isinstance(said.get("accepted"), bool):
        return f"returned a {type(said).__name__}, neither a Verdict nor a bool."
    score = said.get("score")
    if score is not None and not (isinstance(score, (int, float)) and isfinite(score)):
        return f"gave {score!r} as its score, which is no number."
    return None


def _verdict(check: str, accepted: bool, reason: str, score: float | None = None) -> Verdict:  # noqa: FBT001  (Verdict's own order)
    return Verdict(accepted=accepted, check=check, reason=reason, score=score)


def _name(check: Check) -> str:
    return getattr(check, "__name__", type(check).__name__)
