"""Turns results and sums into what `rich` prints. Decides nothing, computes no price."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from langchain_tiered.accounting import Ledger
from langchain_tiered.routing.explaining import plain, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from langchain_tiered.cli.running import Result

BASELINE = "openai:gpt-5.4"
"""The model that would have answered everything without tiers."""

_MOST_ROWS, _FIRST_ROWS = 50, 20
_REASON_LINES, _ERROR_LINES = 2, 4
_COST_WIDTH, _BAR_WIDTH, _GAP = 10, 20, 2
_NO_ANSWER = frozenset({"failed", "rejected"})
_ROLES = {"classify": "classifier"}


def answer_text(answer: Any) -> str:
    """Return an answer as it is shown: a text as it stands, a value as JSON."""
    told = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2, default=str)
    return plain(told, lines=True)


def results_table(results: Sequence[Result], console: Console) -> Table:
    """Return a row for each result: of many, the first ones, and the first of those that were not answered."""
    shown = list(results)
    if len(results) > _MOST_ROWS:
        missed = [result for result in results[_FIRST_ROWS:] if result.status != "answered"]
        shown = [*results[:_FIRST_ROWS], *missed[:_FIRST_ROWS]]
    number = max((len(str(result.record.line)) for result in shown), default=1)
    tier = max((len(word) for result in shown for word in _where(result).split("\n")), default=4)
    rest = max(console.width - number - tier - _COST_WIDTH - 4 * _GAP, 30)
    table = _table("#", "Request", "Tier", "Why", "Cost")
    for column, width in zip(table.columns, (number, rest // 3, tier, rest - rest // 3, _COST_WIDTH), strict=True):
        column.width = width
    table.columns[0].justify = table.columns[-1].justify = "right"
    for result in shown:
        style = "" if result.status == "answered" else "red"
        table.add_row(*_row(result, console, rest // 3, rest - rest // 3), style=style)
    return table


def not_shown(results: Sequence[Result]) -> str | None:
    """Say how many results stand in no table, or return `None`."""
    if len(results) <= _MOST_ROWS:
        return None
    missed = sum(result.status != "answered" for result in results[_FIRST_ROWS:])
    shown = _FIRST_ROWS + min(missed, _FIRST_ROWS)
    return f"{len(results) - shown} more rows are not shown. --out FILE.jsonl writes every result."


def outcome(results: Sequence[Result], total: int, seconds: float) -> str:
    """Say in a line what became of the requests."""
    found = Counter(result.status for result in results)
    raised = sum(bool(result.route and result.route["escalated_from"]) for result in results)
    done = f"{len(results)} of {total}" if len(results) < total else str(total)
    return (
        f"{done} request{'s' * (total != 1)} in {seconds:.1f} s: {found['answered']} answered, "
        f"{found['failed']} failed, {found['skipped']} skipped. Escalated: {raised}."
    )


def expectations(results: Sequence[Result]) -> str | None:
    """Say how often the tier that answered is the one that the record expects, or `None` where none does."""
    judged = [(result, result.route["tier"]) for result in results if result.route and result.record.expected]
    if not judged:
        return None
    other = [
        f"#{result.record.line} {result.record.expected}" for result, tier in judged if tier != result.record.expected
    ]
    told = f"Answered by the tier that the file expects: {len(judged) - len(other)} of {len(judged)}."
    return f"{told} Expected otherwise: {', '.join(other)}." if other else told


def shares_table(results: Sequence[Result], tiers: Sequence[str], ledger: Ledger) -> Table:
    """Return what each tier did and cost, then the other calls: the rows add up to the total."""
    table = _table("", "Requests", "", "", "Calls", "Cost")
    for place in (1, 2, 4, 5):
        table.columns[place].justify = "right"
    answered = Counter(result.route["tier"] for result in results if result.route)
    whole = sum(answered.values())
    roles = ledger.by_role()
    by_tier = roles.pop("answer", Ledger()).by_tier()
    for name in [*tiers, *(name for name in by_tier if name not in tiers)]:
        paid, count = by_tier.get(name, Ledger()), answered[name]
        share = 100 * count / whole if whole else 0
        bar = ProgressBar(total=100, completed=share, width=_BAR_WIDTH, complete_style="cyan", finished_style="cyan")
        table.add_row(name, str(count), f"{share:.0f} %", bar, str(len(paid)), usd(paid.total_usd))
    for role, paid in ({"classify": Ledger()} | roles).items():
        table.add_row(_ROLES.get(role, role), "", "", "", str(len(paid)), usd(paid.total_usd))
    table.add_section()
    table.add_row("total", str(whole), "", "", str(len(ledger)), usd(ledger.total_usd), style="bold")
    return table


def savings(ledger: Ledger) -> Table:
    """Return what the same tokens would have cost without tiers, and what was saved, if anything was answered."""
    baseline, saved = ledger.baseline_usd(BASELINE), ledger.saved_usd(BASELINE)
    share = f" ({100 * saved / baseline:.0f} %)" if saved is not None and baseline else ""
    rows: list[tuple[str, RenderableType]] = [
        ("baseline", f"{usd(baseline)} for the same tokens at {BASELINE}, an estimate"),
        ("saved", Text(f"{usd(saved)}{share}", style="bold green" if (saved or 0) > 0 else "bold")),
    ]
    if not any(entry["role"] == "answer" and entry["outcome"] not in _NO_ANSWER for entry in ledger):
        rows = [("saved", "nothing: no call led to an answer")]
    if ledger.unpriced:
        known = Ledger(entry for entry in ledger if entry["cost_usd"] is not None)
        told = (
            f"{len(ledger) - len(known)} of {', '.join(ledger.unpriced)}; the other calls cost {usd(known.total_usd)}"
        )
        rows.append(("unpriced", told))
    return pairs(rows)


def result_pairs(result: Result) -> Table:
    """Return the route and the cost of one result."""
    rows: list[tuple[str, RenderableType]] = []
    if (route := result.route) is not None:
        raised = f", escalated from {route['escalated_from']}" if route["escalated_from"] else ""
        rows.append(("tier", f"{route['tier']}, decided by {route['decided_by']}{raised}"))
        rows.append(("why", f"{route['task']}: {plain(route['reason'])}"))
    asked = result.ledger.by_role().get("classify", Ledger())
    classifier = f", the classifier {usd(asked.total_usd)} of it" if asked else ""
    calls = len(result.ledger)
    rows.append(("cost", f"{usd(result.ledger.total_usd)} in {calls} call{'s' * (calls != 1)}{classifier}"))
    return pairs(rows)


def pairs(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    """Return names and what they stand for, below each other."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", width=10)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value) if isinstance(value, str) else value)
    return table


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name)
    return table


def _row(result: Result, console: Console, request_width: int, why_width: int) -> list[RenderableType]:
    request = Text(plain(result.record.title), no_wrap=True, overflow="ellipsis")
    request.truncate(request_width, overflow="ellipsis")
    if result.route:
        why = Text.assemble((f"{result.route['task']}: ", "bold"), plain(result.route["reason"]))
    else:
        why = Text(plain(result.error or ""))
    why = _first_lines(why, console, why_width, _REASON_LINES if result.route else _ERROR_LINES)
    return [str(result.record.line), request, _where(result), why, usd(result.ledger.total_usd)]


def _where(result: Result) -> str:
    """Name the tier that answered, and the one first chosen; or what became of the request instead."""
    if result.route is None:
        return result.status
    raised = result.route["escalated_from"]
    return f"{result.route['tier']}\nfrom {raised}" if raised else result.route["tier"]


def _first_lines(text: Text, console: Console, width: int, most: int) -> Text:
    """Return what of `text` goes into the first lines, with a mark where something is left out."""
    lines = text.wrap(console, width)
    if len(lines) > most:
        last = lines[most - 1]
        last.rstrip()
        last.truncate(width - 1)
        last.append("…")
    return Text("\n").join(lines[:most])
