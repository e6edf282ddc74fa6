"""Measure whether rules and lean name the right tier, on public prompts, on written ones, and on public outcomes.

```shell
python benchmarks/routing_quality.py  # a minute; reads ../shared/data, writes results/routing_quality.md
```

Every family weighs the same, and the F1 is averaged over nano, mini and flagship: a constant answer cannot pass 1/3.
The plain average over sources is no measure, since always-nano scores 0.77 on it. Rows of gsm8k and bbh are right at
mini and above. What the rules leave open goes where it leans, by weights that were fitted without its family; covered
is what the rules decide, which asks no classifier where there is one.

The rules are written by hand. A few prompts of every family were read by who wrote them; those of the families in
`TUNED` moved a rule, the others did not. The hard and the easy prompts of tests/unit/routing/hard_prompts.py are in no
fit. The lean's weights want `numpy` to be fitted, and the outcome tables are Parquet files and want `pyarrow`; what is
not installed is named, and its part left out.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from _prompts import DATA, NAMES, RETAIL, TIERS, Prompt, asked, by_rules, from_text, of_our_own, with_facts
from _table import Row, show, write
from langchain_core.messages import HumanMessage

from langchain_tiered.models import RELIABLE_TOKENS
from langchain_tiered.routing import classify_by_rules, facts_of, tool_facts
from langchain_tiered.routing.facts import NO_TOOLS
from langchain_tiered.routing.leaning import WEIGHTS, lean, weights_of

SOLVED_BY_MINI = frozenset({"gsm8k", "bbh"})
LONG_CHARS = 8_000
PAIRS = {
    "routellm": ("mixtral-8x7b-instruct", "gpt-4-1106-preview"),
    "zeroeval": ("Meta-Llama-3.1-8B-Instruct", "gpt-4o-2024-08-06"),
    "mmlupro": ("Meta-Llama-3.1-8B-Instruct", "gemini-1.5-pro-002"),
    "llmrouter": ("qwen2.5-7b-instruct", "llama-3.1-nemotron-51b-instruct"),
    "zoonk": ("openai/gpt-5.6-luna", "openai/gpt-5.6-sol"),
}
TUNED = frozenset({"adversarial_qa", "amazon_polarity", "banking77", "bbh", "common_gen", "paws"})
WHY = {
    "adversarial_qa": "a passage in quotes within one line, asked why and how: it looks like a case to be judged",
    "amazon_polarity": "the review is told in the first person, and the question is put as a decision of one's own",
    "bbh": "short puzzles of brackets and truth values look like small chores",
    "bfcl": "tools that the text does not tell of; long requests of several steps read like word problems",
    "bipia_email": "the question stands behind a long mail, about its figures",
    "duorc": "questions with why and how about a plot",
    "gsm8k": "word problems without several sentences look like one call of a tool",
    "paws": "two sentences compared in one line, asked in words of their own, such as 'can we infer'",
    "tau2": "tools that the text does not tell of, in a customer's role",
    "wiki_hop": "passages and candidates without a word that the rules know",
}
ROUNDS = 300
ENGLISH = "consider our contract and its terms when several parties disagree on payment"
LEADS = ("", "Task: ", "Answer the question below.\n\n")
LABEL = "Classify the ticket into one of these labels: refund, delivery, other. The ticket: "

Decide: TypeAlias = Callable[[Prompt], str | None]


class Score(NamedTuple):
    """What one way of deciding is worth over some families."""

    f1: float
    under: float
    over: float


class Judge:
    """Decides by rules, and by the lean that was fitted without the family of the prompt."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.weights = weights

    def __call__(self, prompt: Prompt) -> str | None:
        """Return the tier."""
        return by_rules(prompt) or lean(prompt.facts, TIERS, self.weights.get(prompt.family, WEIGHTS))["tier"]


def fitted(prompts: Sequence[Prompt]) -> Mapping[str, Any]:
    """Return for each family the weights that were fitted without it."""
    fit: Any = import_module("fit_leaning")  # it wants numpy
    return {family: weights_of(told) for family, told in fit.Examples(prompts).left_out()}


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


def score(prompts: Sequence[Prompt], decide: Decide, doubt: str | None = "flagship") -> Score:
    """Return what `decide` is worth where its doubt counts as the tier `doubt`, or as nothing where that is `None`."""
    sizes = Counter(prompt.family for prompt in prompts)
    pairs = defaultdict[tuple[str, str], float](float)
    for prompt in prompts:
        if (named := decide(prompt) or doubt) is None:
            continue
        pairs[target(prompt, named), named] += 1 / sizes[prompt.family] / len(sizes)
    off = [(NAMES.index(named) - NAMES.index(true), weight) for (true, named), weight in pairs.items()]
    return Score(
        f1=fmean(_f1(pairs, name) for name in NAMES),
        under=sum(weight for steps, weight in off if steps < 0),
        over=sum(weight for steps, weight in off if steps > 0),
    )


def _f1(pairs: Mapping[tuple[str, str], float], name: str) -> float:
    right = pairs.get((name, name), 0.0)
    both = sum(weight * ((true == name) + (named == name)) for (true, named), weight in pairs.items())
    return 2 * right / both if both else 0.0


def table(prompts: Sequence[Prompt], decide: Decide, given: str, goal: float) -> list[Row]:
    """Return the lines of rules and lean, and of what they are held against."""
    dice = random.Random(7)  # noqa: S311  (a baseline, no secret)
    ours = score(prompts, decide)
    covered = [prompt for prompt in prompts if by_rules(prompt)]
    covering = score(prompts, by_rules, None)
    unseen = [prompt for prompt in prompts if prompt.family not in TUNED]
    rows = [
        _goal(f"{given}: balanced macro-F1, families left out", ours.f1, goal),
        _goal("under-routing", ours.under, 0.06, least=False),
        Row("over-routing", f"{ours.over:.3f}"),
        _goal("coverage: decided by rules, without a call", _coverage(prompts), 0.6),
        _goal("balanced macro-F1 on the covered part, prompts weighed as in the whole", covering.f1, 0.85),
        _goal("the same, every family anew, were it by two of its prompts", score(covered, by_rules).f1, 0.85),
        Row("under-routing on the covered part", f"{covering.under:.3f}"),
        Row(
            "families whose prompts moved no rule (*): F1, under, over; coverage",
            f"{_told(score(unseen, decide))}; {_coverage(unseen):.3f}",
        ),
    ]
    others: dict[str, tuple[Decide, str]] = {f"rules alone, doubt = {name}": (by_rules, name) for name in NAMES[1:]}
    others |= {f"always {name}": (lambda _: None, name) for name in NAMES}
    others |= {"random": (lambda _: dice.choice(NAMES), ""), "three-line rule": (by_three_lines, "")}
    return rows + [Row(f"{name}: F1, under, over", _told(score(prompts, *how))) for name, how in others.items()]


def _coverage(prompts: Sequence[Prompt]) -> float:
    return mean_over_families((prompt.family, by_rules(prompt) is not None) for prompt in prompts)


def _told(each: Score) -> str:
    return f"{each.f1:.3f}, {each.under:.3f}, {each.over:.3f}"


def by_family(prompts: Sequence[Prompt], decide: Decide, given: str) -> list[Row]:
    """Return a line for each family, the worst first, and the reasons of the five worst."""
    families = defaultdict[str, list[Prompt]](list)
    for prompt in prompts:
        families[prompt.family].append(prompt)
    lines = []
    for family, members in families.items():
        said = [(prompt, decide(prompt)) for prompt in members]
        right = fmean(named == target(prompt, named or "") for prompt, named in said)
        open_ = Counter(named for prompt, named in said if by_rules(prompt) is None)
        ruled = Counter(by_rules(prompt) for prompt in members) - Counter({None: len(members)})
        told = "; ".join(f"{how} {_counted(names)}" for how, names in (("rules", ruled), ("leans", open_)) if names)
        wanted = "/".join(name for name in NAMES if any(prompt.tier == name for prompt in members))
        lines.append((right, f"{given}, {family}{'' if family in TUNED else '*'} ({wanted})", told, family))
    return [
        Row(name, f"{right:.2f} right: {told}{f' ({WHY[family]})' if place < 5 and family in WHY else ''}")
        for place, (right, name, told, family) in enumerate(sorted(lines))
    ]


def _counted(names: Mapping[str | None, int]) -> str:
    return ", ".join(f"{name} {names[name]}" for name in NAMES if names.get(name))


def written(own: Sequence[Prompt], decide: Decide) -> list[Row]:
    """Return how prompts of our own fare: those of the fit, each family left out, and those that are in no fit."""
    tests: Any = import_module("unit.routing.hard_prompts")
    said = [(prompt.tier, decide(prompt)) for prompt in own]
    low = fmean(named == "nano" for tier, named in said if tier == "flagship")
    up = fmean(named != "nano" for tier, named in said if tier == "nano")
    total = score(own, decide)
    families = len({prompt.family for prompt in own})
    rows = [
        Row(f"{len(own)} written prompts of {families} families left out: F1, under, over", _told(total)),
        Row("flagship ones among them at nano; nano ones above nano", f"{low:.3f}; {up:.3f}"),
    ]
    sets = {"hard": (tests.HARD, tests.HARD_LATER, tests.HARD_LAST), "easy": (tests.EASY, tests.EASY_LATER)}
    for kind, parts in sets.items():
        named = [[decide(Prompt("", "", asked(text))) for text in part] for part in parts]
        every = [each for part in named for each in part]
        off = fmean((each == "nano") == (kind == "hard") for each in every)
        where = "at nano" if kind == "hard" else "above nano"
        told = ", ".join(str(sum((each == "nano") == (kind == "hard") for each in part)) for part in named)
        of = ", ".join(str(len(part)) for part in parts)
        goal = 0.05 if kind == "hard" else 0.25
        rows.append(_goal(f"{len(every)} written {kind} prompts in no fit: share {where}", off, goal, least=False))
        rows.append(Row(f"the same in the parts of the file, of {of}", f"{told}; all: {_counted(Counter(every))}"))
    return rows


def in_a_schema() -> list[Row]:
    """Return how many hard prompts a rule names nano for where the answer must fit a schema: bare and led in."""
    tests: Any = import_module("unit.routing.hard_prompts")
    parts = (tests.HARD, tests.HARD_LATER, tests.HARD_LAST)
    rows = []
    for lead in LEADS:
        found = [[_in_a_schema(lead + text) for text in part] for part in parts]
        share = fmean(each == "nano" for part in found for each in part)
        told = ", ".join(f"{part.count('nano')} of {len(part)}" for part in found)
        how = f"led in by {lead.strip()!r}" if lead else "as they are"
        rows.append(_goal(f"hard prompts with a schema, {how}: at nano by rules ({told})", share, 0.05, least=False))
    return rows


def _in_a_schema(text: str) -> str | None:
    named: str | None = by_rules(Prompt("", "", facts_of([HumanMessage(text)], NO_TOOLS, schema=True)))
    return named


def times() -> list[Row]:
    """Return how long a decision takes without a model: facts, rules and lean, the least of many rounds."""
    rows = []
    for words, goal in ((100, 0.1), (700, 0.3)):
        for kind, start in (("decided", LABEL), ("unsure", "")):
            message = HumanMessage((start + " ".join([ENGLISH] * words))[: words * 6])
            took = min(_once(message) for _ in range(ROUNDS)) * 1000
            tokens = facts_of([message]).turn_tokens
            rows.append(_goal(f"ms for {words} words ({tokens} tokens), {kind}", took, goal, least=False))
    return rows


def _once(message: HumanMessage) -> float:
    start = perf_counter()
    facts = facts_of([message])
    classify_by_rules(facts, TIERS) or lean(facts, TIERS)
    return perf_counter() - start


def outcomes(name: str) -> list[Row]:
    """Return the point of the route on a table of outcomes, between a cheap model and a dear one."""
    parquet: Any = import_module("pyarrow.parquet")  # an optional part
    given = parquet.read_table(DATA / f"outcomes_{name}.parquet").to_pylist()
    cheap, dear = ({row["pid"]: row for row in given if row["model"] == model} for model in PAIRS[name])
    ids = sorted(cheap.keys() & dear.keys())
    gains = [dear[pid]["score"] - cheap[pid]["score"] for pid in ids]
    said = [asked(cheap[pid]["prompt"]) for pid in ids]
    by_rule = [classify_by_rules(facts, TIERS) for facts in said]
    leant = [found or lean(facts, TIERS) for found, facts in zip(by_rule, said, strict=True)]
    decided = fmean(each is not None for each in by_rule)
    base = fmean(cheap[pid]["score"] for pid in ids)
    priced = all(side[pid]["cost_usd"] is not None for side in (cheap, dear) for pid in ids)
    costs = [[side[pid]["cost_usd"] if priced else unit for pid in ids] for side, unit in ((cheap, 0.0), (dear, 1.0))]
    tasks = defaultdict[str, list[float]](list)
    for pid, gain in zip(ids, gains, strict=True):
        tasks[cheap[pid]["benchmark"]].append(gain)
    means = [fmean(tasks[cheap[pid]["benchmark"]]) for pid in ids]
    rows = []
    for where, tiers in (("above nano", NAMES[1:]), ("flagship", NAMES[2:])):
        chosen = [each["tier"] in tiers for each in leant]
        count = sum(chosen)
        quality = base + sum(gain for gain, each in zip(gains, chosen, strict=True) if each) / len(ids)
        cost = fmean(costs[each][place] for place, each in enumerate(chosen)) / fmean(costs[1])
        line = (
            base + count / len(ids) * fmean(gains),
            base + sum(gain for _, gain in sorted(zip(means, gains, strict=True), key=_first)[:count]) / len(ids),
            base + sum(sorted(gains, reverse=True)[:count]) / len(ids),
        )
        told = "random {:.3f}, task-mean {:.3f}, oracle {:.3f}".format(*line)
        how = f"dear = {where}: {count / len(ids):.0%} dear; {decided:.0%} by rules"
        unit = "cost" if priced else "share"
        rows.append(Row(f"{name} ({len(ids)} prompts), {how}", f"({unit} {cost:.2f}, quality {quality:.3f}); {told}"))
    return rows


def _first(pair: tuple[float, float]) -> float:
    return -pair[0]


def _goal(measure: str, value: float, goal: float, *, least: bool = True) -> Row:
    met = value >= goal if least else value <= goal
    return Row(measure, f"{value:.3f}", f"{'≥' if least else '≤'} {goal:g}", "yes" if met else "NO")


def other_sources(text: Sequence[Prompt]) -> list[Row]:
    """Return how often tools that a request is not for pull it to their tier, and where customers' messages lean."""
    retail = tool_facts([{"name": name} for name in RETAIL])
    hard = [each for each in text if each.tier == "flagship"]
    pulled = [(each.family, by_rules(each) != by_rules(_bound(each, retail))) for each in hard]
    tickets = [json.loads(line)["text"] for line in (DATA / "tickets.jsonl").read_text("utf-8").splitlines()]
    rows = [Row("flagship prompts that a shop's bound tools move", f"{mean_over_families(pulled):.3f}")]
    for schema in (False, True):
        facts = [facts_of([HumanMessage(text)], NO_TOOLS, schema=schema) for text in tickets]
        by_rule = Counter(said["tier"] for each in facts if (said := classify_by_rules(each, TIERS)))
        leant = Counter(lean(each, TIERS)["tier"] for each in facts if classify_by_rules(each, TIERS) is None)
        how = "with a schema" if schema else "as they are"
        rows.append(Row(f"tickets.jsonl {how}", f"rules: {_counted(by_rule) or 'none'}; leans: {_counted(leant)}"))
    return rows


def _bound(prompt: Prompt, tools: Any) -> Prompt:
    return prompt._replace(facts=replace(prompt.facts, tools=tools.names, tool_words=tools.words))


def main() -> None:
    """Measure, show and write down."""
    if not DATA.exists():
        print(f"The public data is not on this machine: {DATA.name} is looked for beside the repository, in shared.")
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the written test prompts
    text, given, own = from_text(), with_facts(), of_our_own()
    weights = fitted([*text, *own]) if find_spec("numpy") else {}
    if not weights:
        print("The lean is measured with its own weights, not with families left out: pip install numpy")
    decide = Judge(weights)
    rows = [*table(text, decide, "text alone", 0.75), *table(given, decide, "facts given", 0.85)]
    rows += [*written(own, decide), *in_a_schema(), *times(), *other_sources(text), *by_family(text, decide, "text")]
    rows += by_family([each for each in given if each.facts.tools], decide, "tools bound")
    if find_spec("pyarrow") is None:
        print("Outcomes are left out: pip install pyarrow")
    else:
        rows += [row for name in PAIRS for row in outcomes(name)]
    title = "Routing by rules and lean, on whole source families (* its prompts moved no rule)"
    show(title, rows)
    if weights:
        write("routing_quality", title, rows)


if __name__ == "__main__":
    main()
