"""Measure whether the rules name the right tier, on public prompts and on public outcomes, by whole source families.

```shell
python benchmarks/routing_quality.py  # half a minute; reads ../shared/data, writes results/routing_quality.md
```

Every family weighs the same, and the F1 is averaged over nano, mini and flagship: a constant answer cannot pass 1/3.
The plain average over sources is no measure, since always-nano scores 0.77 on it. Rows of gsm8k and bbh are right at
mini and above. Where the rules are unsure there is no tier without a model: such a doubt counts as the flagship, which
is the policy's choice without a classifier, and beside it as mini.

The rules are written by hand. A few prompts of every family were read by who wrote them; those of the families in
`TUNED` moved a rule, the others did not. The outcome tables are Parquet files and want `pyarrow`, which nothing else
here needs; without it they are left out.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter, defaultdict
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from _table import Row, show, write
from langchain_core.messages import HumanMessage

from langchain_tiered.models import RELIABLE_TOKENS
from langchain_tiered.routing import classify_by_rules, facts_of, tool_facts
from langchain_tiered.routing.facts import NO_TOOLS
from langchain_tiered.types import TierFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from langchain_tiered.types import Facts

DATA = Path(__file__).parents[1] / "../shared/data"
NAMES = ("nano", "mini", "flagship")
TIERS = tuple(map(TierFacts, NAMES))
SOLVED_BY_MINI = frozenset({"gsm8k", "bbh"})
LONG_CHARS = 8_000
IMAGE = {"type": "image", "url": "https://example.org/a.png"}
RETAIL = [
    "cancel_pending_order",
    "exchange_delivered_order_items",
    "find_user_id_by_email",
    "get_order_details",
    "get_product_details",
    "get_user_details",
    "list_all_product_types",
    "modify_pending_order_address",
    "modify_pending_order_items",
    "modify_user_address",
    "return_delivered_order_items",
    "transfer_to_human_agents",
]
PAIRS = {
    "routellm": ("mixtral-8x7b-instruct", "gpt-4-1106-preview"),
    "zeroeval": ("Meta-Llama-3.1-8B-Instruct", "gpt-4o-2024-08-06"),
    "mmlupro": ("Meta-Llama-3.1-8B-Instruct", "gemini-1.5-pro-002"),
    "llmrouter": ("qwen2.5-7b-instruct", "llama-3.1-nemotron-51b-instruct"),
    "zoonk": ("openai/gpt-5.6-luna", "openai/gpt-5.6-sol"),
}
TUNED = frozenset({"adversarial_qa", "amazon_polarity", "banking77", "bbh", "common_gen", "paws"})
WHY = {
    "adversarial_qa": "questions with why and how, or beside their passage without a word that says so",
    "bfcl": "tools that the text does not tell of",
    "paws": "two sentences compared in words of their own, such as 'can we infer'",
    "tau2": "tools that the text does not tell of, in a customer's role",
    "wiki_hop": "passages and candidates without a word that the rules know",
}
UNTOLD = frozenset({"bfcl", "tau2"})  # what makes these mini are tools that their texts do not tell of


class Prompt(NamedTuple):
    """One labelled request."""

    family: str
    """The source, without its templates: what is held out is the whole of it."""

    tier: str
    """The label, by the rule of thumb of the data's authors."""

    facts: Facts
    """What the rules are given."""


Decide: TypeAlias = "Callable[[Prompt], str | None]"


class Score(NamedTuple):
    """What one way of deciding is worth over some families."""

    f1: float
    under: float
    over: float
    coverage: float
    covered: float
    """The share of right answers among those that were decided, weighed as the prompts are."""


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read a file of the data."""
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def family_of(source: str) -> str:
    """Return the family of a source: one data set, whatever its templates and its crowd of writers."""
    name = source.removeprefix("p3:").split(":")[0]
    known = ("adversarial_qa", "amazon_polarity", "common_gen", "duorc", "paws", "wiki_hop")
    return next((family for family in known if name.startswith(family)), name)


def from_text() -> list[Prompt]:
    """Return the prompts whose label can be told from a text: all but those that are long by a fact of their own."""
    return [
        Prompt(family_of(row["source"]), row["tier"], facts_of([HumanMessage(row["text"])]))
        for row in rows_of("prompts_task.jsonl.gz")
        if row["tier"] is not None
    ]


def with_facts() -> list[Prompt]:
    """Return the prompts with their tools bound, their images there, and a long document before them.

    Of tau2 only the names of its tools are known here. The calls of bfcl are taken from the file that has their tools;
    its conversations of several turns are in none. The receipts are images, wanted in a schema.
    """
    retail = tool_facts([{"name": name} for name in RETAIL])
    prompts = [each for each in from_text() if each.family not in {"bfcl", "tau2"}]
    prompts += [
        Prompt("tau2", "mini", facts_of([HumanMessage(row["text"])], retail))
        for row in rows_of("prompts_task.jsonl.gz")
        if row["source"].startswith("tau2")
    ]
    for row in rows_of("tool_calls_bfcl_v4.jsonl.gz"):
        if row["expect_call"]:
            said = [HumanMessage(message["content"]) for message in row["messages"] if message["role"] == "user"]
            prompts.append(Prompt("bfcl", "mini", facts_of(said, tool_facts(row["tools"]))))
    for row in rows_of("prompts_long.jsonl.gz"):
        facts = replace(facts_of([HumanMessage(row["text"])]), tokens=RELIABLE_TOKENS + 1)
        prompts.append(Prompt("lost_in_the_middle", row["tier"], facts))
    shown = facts_of([HumanMessage([{"type": "text", "text": "Read it."}, IMAGE])], schema=True)
    return [*prompts, Prompt("receipts", "nano", shown)]


def by_rules(prompt: Prompt) -> str | None:
    """Return the tier that our rules name."""
    said = classify_by_rules(prompt.facts, TIERS)
    return said["tier"] if said else None


def by_three_lines(prompt: Prompt) -> str:
    """Return what a rule of three lines says: tools or an image, a long text, anything else."""
    if prompt.facts.tools or prompt.facts.turn_images:
        return "mini"
    long = len(prompt.facts.text) > LONG_CHARS or prompt.facts.tokens > RELIABLE_TOKENS
    return "flagship" if long else "nano"


def target(prompt: Prompt, named: str) -> str:
    """Return the label that an answer is held against; what mini solves is right at mini and above."""
    return named if prompt.family in SOLVED_BY_MINI and named != "nano" else prompt.tier


def mean_over_families(values: Iterable[tuple[str, float]]) -> float:
    """Return the mean of the families' means."""
    families = defaultdict[str, list[float]](list)
    for family, value in values:
        families[family].append(value)
    return fmean(map(fmean, families.values())) if families else 0.0


def score(prompts: Sequence[Prompt], decide: Decide, doubt: str) -> Score:
    """Return what `decide` is worth where its doubt counts as the tier `doubt`."""
    said = [(prompt, decide(prompt)) for prompt in prompts]
    sizes = Counter(prompt.family for prompt in prompts)
    pairs = defaultdict[tuple[str, str], float](float)
    for prompt, found in said:
        named = found or doubt
        pairs[target(prompt, named), named] += 1 / sizes[prompt.family] / len(sizes)
    off = [(NAMES.index(named) - NAMES.index(true), weight) for (true, named), weight in pairs.items()]
    return Score(
        f1=fmean(_f1(pairs, name) for name in NAMES),
        under=sum(weight for steps, weight in off if steps < 0),
        over=sum(weight for steps, weight in off if steps > 0),
        coverage=mean_over_families((prompt.family, found is not None) for prompt, found in said),
        covered=_share_right(said, sizes),
    )


def _share_right(said: Sequence[tuple[Prompt, str | None]], sizes: Counter[str]) -> float:
    """Return the share of right answers among those that were decided, weighed as in the whole."""
    decided = [(found == target(prompt, found), 1 / sizes[prompt.family]) for prompt, found in said if found]
    weight = sum(each for _, each in decided)
    return sum(each for right, each in decided if right) / weight if weight else 0.0


def _f1(pairs: dict[tuple[str, str], float], name: str) -> float:
    right = pairs.get((name, name), 0.0)
    both = sum(weight * ((true == name) + (named == name)) for (true, named), weight in pairs.items())
    return 2 * right / both if both else 0.0


def table(prompts: Sequence[Prompt], given: str, goal: float) -> list[Row]:
    """Return the lines of our rules and of what they are held against."""
    dice = random.Random(7)  # noqa: S311  (a baseline, no secret)
    told = [prompt for prompt in prompts if prompt.family not in UNTOLD]
    unseen = [prompt for prompt in prompts if prompt.family not in TUNED]
    rules = score(prompts, by_rules, "flagship")
    rows = [
        _goal(f"{given}: balanced macro-F1, doubt = flagship", rules.f1, goal),
        Row("the same, doubt = mini", f"{score(prompts, by_rules, 'mini').f1:.3f}"),
        Row("the same, doubt = flagship, without bfcl and tau2", f"{score(told, by_rules, 'flagship').f1:.3f}"),
        _goal("under-routing", rules.under, 0.06, least=False),
        Row("over-routing, doubt = flagship", f"{rules.over:.3f}"),
        _goal("coverage: decided without a call", rules.coverage, 0.6),
        _goal("right where decided", rules.covered, 0.85),
        Row(
            "families whose prompts moved no rule (*): F1, under, coverage, right where decided",
            "{0.f1:.3f}, {0.under:.3f}, {0.coverage:.3f}, {0.covered:.3f}".format(score(unseen, by_rules, "flagship")),
        ),
    ]
    others: dict[str, Decide] = {f"always {name}": lambda _, name=name: name for name in NAMES}  # type: ignore[misc]
    others |= {"random": lambda _: dice.choice(NAMES), "three-line rule": by_three_lines}
    for name, decide in others.items():
        each = score(prompts, decide, "flagship")
        rows.append(Row(f"{name}: F1, under, over", f"{each.f1:.3f}, {each.under:.3f}, {each.over:.3f}"))
    return rows


def by_family(prompts: Sequence[Prompt], given: str) -> list[Row]:
    """Return a line for each family, the worst first."""
    families = defaultdict[str, list[Prompt]](list)
    for prompt in prompts:
        families[prompt.family].append(prompt)
    lines = []
    for family, members in families.items():
        named = Counter(by_rules(prompt) or "doubt" for prompt in members)
        right = sum(count for name, count in named.items() if name == target(members[0], name))
        told = ", ".join(f"{name} {named[name]}" for name in (*NAMES, "doubt") if named[name])
        mark = "" if family in TUNED else "*"
        lines.append((right / len(members), f"{given}, {family}{mark} ({members[0].tier})", told + _why(family, given)))
    return [Row(measure, f"{share:.2f} right: {told}") for share, measure, told in sorted(lines)]


def _why(family: str, given: str) -> str:
    return f" ({WHY[family]})" if given == "text" and family in WHY else ""


def ceiling(prompts: Sequence[Prompt]) -> Row:
    """Return what rules could reach that doubt only where no text tells of the tools."""
    best = score(prompts, lambda prompt: None if prompt.family in UNTOLD else prompt.tier, "flagship")
    return Row("text alone: F1 of rules that are wrong nowhere and doubt bfcl and tau2 alone", f"{best.f1:.3f}")


def outcomes(name: str) -> list[Row]:
    """Return the point of the rules' route on a table of outcomes, between a cheap model and a dear one."""
    parquet: Any = import_module("pyarrow.parquet")  # an optional part
    given = parquet.read_table(DATA / f"outcomes_{name}.parquet").to_pylist()
    cheap, dear = ({row["pid"]: row for row in given if row["model"] == model} for model in PAIRS[name])
    ids = sorted(cheap.keys() & dear.keys())
    gains = [dear[pid]["score"] - cheap[pid]["score"] for pid in ids]
    up = [_goes_up(cheap[pid]["prompt"]) for pid in ids]
    decided = fmean(each is not None for each in up)
    base = fmean(cheap[pid]["score"] for pid in ids)
    priced = all(side[pid]["cost_usd"] is not None for side in (cheap, dear) for pid in ids)
    costs = [[side[pid]["cost_usd"] if priced else unit for pid in ids] for side, unit in ((cheap, 0.0), (dear, 1.0))]
    tasks = defaultdict[str, list[float]](list)
    for pid, gain in zip(ids, gains, strict=True):
        tasks[cheap[pid]["benchmark"]].append(gain)
    means = [fmean(tasks[cheap[pid]["benchmark"]]) for pid in ids]
    rows = []
    for doubt in (True, False):
        chosen = [doubt if each is None else each for each in up]
        count = sum(chosen)
        quality = base + sum(gain for gain, each in zip(gains, chosen, strict=True) if each) / len(ids)
        cost = fmean(costs[each][place] for place, each in enumerate(chosen)) / fmean(costs[1])
        line = (
            base + count / len(ids) * fmean(gains),
            base + sum(gain for _, gain in sorted(zip(means, gains, strict=True), key=_first)[:count]) / len(ids),
            base + sum(sorted(gains, reverse=True)[:count]) / len(ids),
        )
        told = "random {:.3f}, task-mean {:.3f}, oracle {:.3f}".format(*line)
        how = f"doubt = {'dear' if doubt else 'cheap'}; {count / len(ids):.0%} dear, {decided:.0%} decided"
        unit = "cost" if priced else "share"
        rows.append(Row(f"{name} ({len(ids)} prompts), {how}", f"({unit} {cost:.2f}, quality {quality:.3f}); {told}"))
    return rows


def _first(pair: tuple[float, float]) -> float:
    return -pair[0]


def _goes_up(text: str) -> bool | None:
    """Tell whether the rules send a prompt above the lowest of two models, or `None` where they are unsure."""
    said = classify_by_rules(facts_of([HumanMessage(text)]), TIERS)
    return said["tier"] != "nano" if said else None


def _goal(measure: str, value: float, goal: float, *, least: bool = True) -> Row:
    met = value >= goal if least else value <= goal
    return Row(measure, f"{value:.3f}", f"{'≥' if least else '≤'} {goal:g}", "yes" if met else "NO")


def own_prompts() -> list[Row]:
    """Return how often tools that a request is not for pull it to their tier, and how tickets fare."""
    retail = tool_facts([{"name": name} for name in RETAIL])
    hard = [each for each in from_text() if each.tier == "flagship"]
    pulled = [(each.family, by_rules(each) != by_rules(_bound(each, retail))) for each in hard]
    tickets = [json.loads(line)["text"] for line in (DATA / "tickets.jsonl").read_text("utf-8").splitlines()]
    rows = [Row("flagship prompts that a shop's bound tools move", f"{mean_over_families(pulled):.3f}")]
    for schema in (False, True):
        said = [classify_by_rules(facts_of([HumanMessage(text)], NO_TOOLS, schema=schema), TIERS) for text in tickets]
        told = Counter(each["tier"] or "doubt" if each else "doubt" for each in said)
        how = "with a schema" if schema else "as they are"
        rows.append(Row(f"tickets.jsonl {how}", ", ".join(f"{name} {count}" for name, count in told.most_common())))
    return rows


def _bound(prompt: Prompt, tools: Any) -> Prompt:
    return prompt._replace(facts=replace(prompt.facts, tools=tools.names, tool_words=tools.words))


def main() -> None:
    """Measure, show and write down."""
    if not DATA.exists():
        print(f"The public data is not on this machine: {DATA.name} is looked for beside the repository, in shared.")
        return
    text, given = from_text(), with_facts()
    rows = [*table(text, "text alone", 0.75), ceiling(text), *table(given, "facts given", 0.85), *own_prompts()]
    rows += [*by_family(text, "text"), *by_family([each for each in given if each.facts.tools], "tools bound")]
    if find_spec("pyarrow") is None:
        print("Outcomes are left out: pip install pyarrow")
    else:
        rows += [row for name in PAIRS for row in outcomes(name)]
    title = "Routing by rules, on whole source families (* its prompts moved no rule)"
    show(title, rows)
    write("routing_quality", title, rows)


if __name__ == "__main__":
    main()
