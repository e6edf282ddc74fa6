"""What must hold of a soak: of each request when it has ended, and of all together beside what the server knows."""

from __future__ import annotations

from collections import Counter
from math import fsum, isclose
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_prices import Usage, calc_price
from langchain_core.messages import AIMessage
from soak.work import FIRST, Fields, work_of

from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.offline.faults import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from soak.bodies import Ended
    from soak.serving import Report

    from langchain_tiered.types import LedgerEntry

ERRORS = frozenset(
    {
        "NoAnswerAcceptedError",  # ours: each answer was rejected
        "OpenAIRateLimitError",  # a limit, with and without the time to wait; a request that is too large for it
        "OpenAIInvalidRequestError",  # a context that overflows
        "OpenAIAPIError",  # status 500 and 503
        "OpenAITimeoutError",
        "OpenAIConnectionError",  # a line that drops before or in an answer
        "RemoteProtocolError",  # the same in the middle of a stream, where the client does not wrap it
        "JSONDecodeError",  # garbage, or a body that was cut
    }
)
"""The types that a request may end in, its attempts listed on each."""

CUT_OFF = "The answer begins, and"
"""What the server cuts a tool call down to where it stops at a length."""

TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


class Note(NamedTuple):
    """What is kept of a request: the same each time it is made with the same seed."""

    number: int
    end: str
    """`right`, `half` for what was shown before it was cut off and stands marked, or the name of the error."""
    calls: list[list[Any]]
    """Of each paid call: tier, role, outcome, the four kinds of tokens, and USD."""
    problems: list[str]
    """What should not be."""


def noted(ended: Ended) -> Note:
    """Look at a request that has ended."""
    end = type(ended.error).__name__ if ended.error is not None else _end(ended)
    return Note(ended.work.number, end, list(map(_call, ended.ledger)), list(_problems(ended, end)))


def _call(entry: Any) -> list[Any]:
    return [entry["tier"], entry["role"], entry["outcome"], *(entry[name] for name in TOKENS), entry["cost_usd"]]


def _end(ended: Ended) -> str:
    answer = ended.state["messages"][-1]
    if not isinstance(answer, AIMessage) or not answer.text:
        return "empty"
    if answer.response_metadata.get("truncated"):
        is_half = ended.work.right.startswith(answer.text) or answer.text == CUT_OFF
        return "half" if is_half and ended.work.streams else "cut off"
    wanted = Fields(number=ended.work.told, mood="angry") if ended.work.kind == "fields" else None
    is_right = answer.text == ended.work.right and ended.state.get("structured_response") == wanted
    return "right" if is_right else "wrong"


def _problems(ended: Ended, end: str) -> Iterator[str]:
    if end not in {"right", "half", *ERRORS}:
        yield f"ended {end}: {ended.error or ended.state['messages'][-1]!r}"
    if _timeless(ended.ledger) != _timeless(ended.paid):
        yield "collect_ledger and the run's own ledger differ"
    if ended.error is not None:
        if not {entry["id"] for entry in ended.last_ledger} <= {entry["id"] for entry in ended.paid}:
            yield "the error tells of calls that nobody made"
        yield from _problems_of_error(ended.error, ended.last_ledger)
    elif ended.work.streams and ended.state["messages"][-1].text not in ended.shown:
        yield f"the answer was not streamed, but {ended.shown}"
    if end == "half" and ended.ledger[-1]["outcome"] != "truncated":
        yield f"half an answer stands, booked as {ended.ledger[-1]['outcome']}"
    if end == "right" and ended.ledger[-1]["outcome"] not in {"accepted", "downgraded"}:
        yield f"the right answer is booked as {ended.ledger[-1]['outcome']}"


def _problems_of_error(error: Exception, ledger: Sequence[LedgerEntry]) -> Iterator[str]:
    attempts = list(getattr(error, "attempts", ()))
    asked = [each["tier"] for each in attempts if (each["failure"] or {}).get("kind") != "open_circuit"]
    tried = [each["tier"] for each in ledger if each["role"] == "answer" and each["outcome"] != "tool_turn"]
    if not attempts or asked != tried:
        yield f"the error lists attempts {asked}, the ledger has {tried}"
    elif not isinstance(error, NoAnswerAcceptedError) and failure_of(error, of_call=True) != attempts[-1]["failure"]:
        yield f"the error is not that of the last attempt, {attempts[-1]['failure']}"


def _timeless(entries: Sequence[LedgerEntry]) -> dict[str, Any]:
    """Return entries by their ids, without their latency, which each recorder takes for itself."""
    return {entry["id"]: {**entry, "latency_s": None} for entry in entries}


class Paid(NamedTuple):
    """What all requests came to."""

    ledger_usd: float
    """The sum of all ledgers."""
    genai_usd: float
    """The price of what the server told, by `genai_prices` alone."""


def compared(notes: Sequence[Note], report: Report) -> tuple[Paid, list[str]]:
    """Hold all ledgers together against what the server counted and billed, and `genai_prices` against our prices."""
    calls = [call for note in notes for call in note.calls]
    bills = Counter(tuple(bill[:-1]) for bill in report.bills if bill[-1])
    usages = Counter((MODELS[call[0]], *call[3:7]) for call in calls if call[3] is not None)
    problems = []
    if (made := Counter(MODELS[call[0]] for call in calls)) != Counter(report.stats["by_model"]):
        problems.append(f"the ledgers have {dict(made)} calls, the server {report.stats['by_model']}")
    if lost := bills - usages:
        problems.append(f"the ledgers lack {lost.total()} usages that the server told, as {next(iter(lost))}")
    if invented := usages - bills:
        problems.append(f"the ledgers have {invented.total()} usages that the server never told")
    for place, name in enumerate(TOKENS):
        booked = sum(call[3 + place] or 0 for call in calls)
        told = report.stats["tokens"][name] - report.stats["untold_tokens"][name]
        if booked != told:
            problems.append(f"the ledgers have {booked} {name}, the server told {told}")
    if charged := [call for call in calls if call[3] is None and call[7]]:
        problems.append(f"{len(charged)} calls of unknown usage have a price, as {charged[0]}")
    paid = Paid(fsum(call[7] for call in calls if call[7]), fsum(map(_price_usd, bills.elements())))
    if not isclose(paid.ledger_usd, paid.genai_usd, rel_tol=1e-9):
        problems.append(f"the ledgers cost ${paid.ledger_usd:.9f}, genai_prices says ${paid.genai_usd:.9f}")
    return paid, problems


def _price_usd(bill: tuple[Any, ...]) -> float:
    model, read, cached, made, _ = bill
    usage = Usage(input_tokens=read, cache_read_tokens=cached, output_tokens=made)
    return float(calc_price(usage, model_ref=model, provider_id="openai").total_price)


def done_once(notes: Sequence[Note], asked: Sequence[int], rows: Sequence[tuple[int, int, str]]) -> Iterator[str]:
    """Tell which refunds were made twice, not at all, for nobody, or not as they were asked for."""
    refunds = {FIRST + note.number: note.end for note in notes if work_of(note.number).kind == "refund"}
    yield from (f"order {order}: refunded {count} times" for order, count in Counter(asked).items() if count > 1)
    written = {order for order, _, _ in rows}
    if unlike := (written ^ set(asked)) | (written - refunds.keys()):
        yield f"rows that nobody asked for, or that were not written: {sorted(unlike)}"
    if lacking := sorted(order for order, end in refunds.items() if end == "right" and order not in written):
        yield f"said to be refunded, and not: {lacking}"
    yield from (f"wrong row {row}" for row in rows if row[1:] != (8950, "It came late."))
