"""Say what the offline tiers are, and show a run of an orchestrator: its plan as a tree, live, and what it cost.

The tree needs `rich` (`pip install 'langchain-tiered[cli]'`) and a terminal. Without either, plain lines tell the same
once the run has ended or waits, in the plan's order, so that two runs say the same.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from langchain_tiered import Ledger, collect_ledger

try:
    from rich.live import Live
    from rich.text import Text
    from rich.tree import Tree
except ImportError:  # the tree is an extra
    Live = Text = Tree = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Callable

    from langgraph.graph.state import CompiledStateGraph

FLAGSHIP = "openai:gpt-5.4"
OFFLINE = "Offline tiers: deterministic rules, no language model. Costs: the same tokens at GPT-5.4 prices."
OFFLINE_TEAM = (
    "Offline: deterministic rules planned, worked and reviewed, no language model.\n"
    "What the tools found is so, and an answer is what they told, word for word.\n"
    "Costs are those of the same tokens at GPT-5.4 prices; nothing was paid."
)
_STYLES = {"done": "green", "failed": "red", "skipped": "red", "begun": "yellow", "asks a human": "magenta"}
_WIDTH = 76


def offline_note() -> None:
    """Say in a last line what answered, and what the dollars stand for."""
    print(f"\n{OFFLINE}")


class _Shown:
    """What is known of a run while it goes on."""

    def __init__(self, paid: Ledger) -> None:
        self.paid = paid
        self.values: dict[str, Any] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.reviews: dict[tuple[str, str], dict[str, Any]] = {}

    def take(self, kind: str, part: Any, *, is_root: bool) -> None:
        """Take a part of the stream."""
        if kind == "values" and is_root:
            self.values = part
        elif kind == "custom" and part.get("type") == "tiered_task":
            self.events[part["task"]] = part
        elif kind == "custom" and part.get("type") == "tiered_review":
            self.reviews[part["call_id"], part["by"]] = part

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks in the plan's order, each with what has become of it."""
        waits = bool(self.values.get("__interrupt__"))
        verdicts = {result["id"]: result["verdict"] for result in self.values.get("results") or ()}
        shown = []
        for task in (self.values.get("plan") or {"tasks": []})["tasks"]:
            event = self.events.get(task["id"]) or {"state": "waits", "tier": None, "cost_usd": None, "reason": ""}
            state = "asks a human" if waits and event["state"] == "begun" else event["state"]
            shown.append({**task, **event, "state": state, "verdict": verdicts.get(task["id"], "unreviewed")})
        return shown

    def head(self) -> str:
        """Tell in a line how far the run is, and what it has cost."""
        tasks = self.tasks()
        ended = sum(task["state"] in ("done", "failed", "skipped") for task in tasks)
        so_far = f"{_usd(self.paid.total_usd)}, all-flagship {_usd(self.paid.baseline_usd(FLAGSHIP))}"
        return f"{ended} of {len(tasks)} tasks, {so_far}" if tasks else "planning ..."

    def tree(self) -> Any:
        """Return the plan as a tree for rich."""
        root = Tree(Text(self.head(), style="bold"))
        work = root.add("plan and review by the flagship, work by the tiers")
        for task in self.tasks():
            work.add(Text(_line(task), _STYLES.get(task["state"], "dim"), no_wrap=True, overflow="ellipsis"))
        verdict = self.values.get("verdict")
        root.add(Text(f"review: {verdict or '...'}", style="bold green" if verdict == "satisfied" else "bold"))
        return root


def run(
    graph: CompiledStateGraph[Any, Any, Any, Any],
    given: Any,
    config: Any = None,
    answered: Callable[[dict[str, Any]], Any] | None = None,
) -> dict[str, Any]:
    """Run a graph and show it; return what `invoke` would.

    Args:
        graph: An orchestrator.
        given: Its input.
        config: As for `invoke`.
        answered: Takes a result that waits for a human, and returns what the run is resumed with.
    """
    is_live = Tree is not None and sys.stdout.isatty()
    with collect_ledger() as paid:
        shown = _Shown(paid)
        _stream(graph, given, config, shown, is_live=is_live)
        while answered is not None and shown.values.get("__interrupt__"):
            print("\nThe run waits. The human answers, and it goes on.\n")
            _stream(graph, answered(shown.values), config, shown, is_live=is_live)
    return shown.values


def _stream(graph: Any, given: Any, config: Any, shown: _Shown, *, is_live: bool) -> None:
    """Run until the graph ends, or waits for a human."""
    shown.reviews = {}
    with Live(shown.tree(), refresh_per_second=8) if is_live else nullcontext() as live:
        for space, kind, part in graph.stream(given, config, stream_mode=["custom", "values"], subgraphs=True):
            shown.take(kind, part, is_root=not space)
            if live is not None:
                live.update(shown.tree())
    if not is_live:
        print(*map(_line, shown.tasks()), sep="\n")
    for review in sorted(shown.reviews.values(), key=lambda each: (each["by"], each["decision"], each["reason"])):
        print(f"{review['by']}: {review['decision']} {review['tool']}. {review['reason']}".rstrip())


def costs(entries: Any, *, offline: bool) -> None:
    """Print what each role and tier cost, and what the flagship alone would have."""
    ledger = Ledger(entries)
    print(f"\n{'role':<10}{'tier':<10}{'calls':>5}{'input':>9}{'output':>8}{'cost':>12}")
    for role, by_role in ledger.by_role().items():
        for tier, paid in sorted(by_role.by_tier().items()):
            used = paid.usage()
            tokens = f"{used['input_tokens']:>9,}{used['output_tokens']:>8,}"
            print(f"{role:<10}{tier:<10}{len(paid):>5}{tokens}{_usd(paid.total_usd):>12}")
    print(f"{'total':<20}{len(ledger):>5}{'':>17}{_usd(ledger.total_usd):>12}")
    baseline, saved = ledger.baseline_usd(FLAGSHIP), ledger.saved_usd(FLAGSHIP)
    share = f" ({100 * saved / baseline:.0f} %)" if saved is not None and baseline else ""
    print(f"all work by {FLAGSHIP}, plan and reviews as they were: {_usd(baseline)}, an estimate")
    print(f"saved: {_usd(saved)}{share}")
    if offline:
        print(f"\n{OFFLINE_TEAM}")


def _line(task: dict[str, Any]) -> str:
    needs = f", after {', '.join(task['depends_on'])}" if task["depends_on"] else ""
    told = shorten(f"{task['instruction']}{needs}", _WIDTH, placeholder=" ...")
    why = f": {task['reason']}" if task["reason"] else ""
    tier, cost = task["tier"] or "", _usd(task["cost_usd"]) if task["cost_usd"] is not None else ""
    return f"{task['id']:<9}{task['kind']:<9}{tier:<9}{task['state']:<13}{cost:>10}  {told}{why}"


def _usd(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.6f}"
