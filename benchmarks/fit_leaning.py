"""Fit the weights of the lean, and write them to langchain_tiered/routing/leaning.json.

```shell
python benchmarks/fit_leaning.py  # seconds; wants numpy, and ../shared/data beside the repository
```

Two logistic regressions over the features of `langchain_tiered.routing.leaning`, with a strong ridge and without any
scaling: does a request want more than the cheapest tier, and does it want the most capable one. Fitted on the public
prompts of ../shared/data/prompts_task.jsonl.gz (banking77, p3, mbpp, bbh, gsm8k, tau2, bfcl, bipia_email) and on
leaning_prompts.txt, which is our own. Every family weighs the same, small ones less, and then every tier; what the
rules decide anyway weighs a quarter. Mini solves gsm8k and bbh, too: there the call for the flagship weighs half.

The ridge and the limits were chosen on families that were left out of the fit, with an eye on the two shares of the
written test prompts (tests/unit/routing/hard_prompts.py), which are in no fit.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _prompts import DATA, NAMES, Prompt, by_rules, from_text, of_our_own

from langchain_tiered.routing.leaning import FEATURES, SHAPES, features_of, read_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TARGET = Path(__file__).parents[1] / "langchain_tiered/routing/leaning.json"
RIDGE, ROUNDS, SMALL = 2.0, 12, 12
DECIDED, SOLVED = 0.25, 0.5
SOLVED_BY_MINI = frozenset({"gsm8k", "bbh"})
LIMITS = {
    "english": {"expected": 0.38, "flagship": 0.4},
    "any": {"expected": 0.0, "flagship": 0.5},  # what cannot be read is not held to be easy
}


class Examples:
    """Labelled requests, measured once for all fits."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        read = [read_of(prompt.facts.text) for prompt in prompts]
        self.numbers = {"english": np.array(list(map(features_of, read))), "any": np.array(list(map(shape_of, read)))}
        self.families = np.array([prompt.family for prompt in prompts])
        self.rungs = np.array([NAMES.index(prompt.tier) for prompt in prompts])
        self.solved = np.where(np.isin(self.families, sorted(SOLVED_BY_MINI)), SOLVED, 1.0)
        self.share = np.array([1.0 if by_rules(prompt) is None else DECIDED for prompt in prompts])

    def fit(self, without: str | None = None) -> dict[str, Any]:
        """Return the weights as leaning.json has them, fitted without the family `without`."""
        kept = self.families != without
        weights = self._weights(kept)
        told: dict[str, Any] = {}
        for language, names in (("english", FEATURES), ("any", SHAPES)):
            numbers = self.numbers[language][kept]
            above = logistic(numbers, self.rungs[kept] > 0, weights)
            most = logistic(numbers, self.rungs[kept] > 1, weights * self.solved[kept])
            *pairs, bias = [[round(float(up), 3), round(float(top), 3)] for up, top in zip(above, most, strict=True)]
            told[language] = {**LIMITS[language], "bias": bias, "pairs": dict(zip(names, pairs, strict=True))}
        return told

    def left_out(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each family with the weights that were fitted without it."""
        for family in dict.fromkeys(self.families.tolist()):
            yield family, self.fit(family)

    def _weights(self, kept: Any) -> Any:
        """Let every family weigh the same, save small ones, and then every tier."""
        share, families, rungs = self.share[kept], self.families[kept], self.rungs[kept]
        sizes = {family: share[families == family].sum() for family in set(families.tolist())}
        weights = np.array([one / max(sizes[family], SMALL) for one, family in zip(share, families, strict=True)])
        tiers = {rung: weights[rungs == rung].sum() for rung in set(rungs.tolist())}
        return weights / np.array([tiers[rung] for rung in rungs]) * len(weights) / 12


def logistic(numbers: Any, wanted: Any, weights: Any) -> Any:
    """Return the weights of a ridge logistic regression by Newton's method, the bias last."""
    given = np.c_[numbers, np.ones(len(numbers))]
    found = np.zeros(given.shape[1])
    ridge = np.diag([RIDGE] * numbers.shape[1] + [1e-6])
    for _ in range(ROUNDS):
        said = 1 / (1 + np.exp(-given @ found))
        slope = given.T @ (weights * (said - wanted)) + ridge @ found
        curve = (given * (weights * said * (1 - said))[:, None]).T @ given + ridge
        found -= np.linalg.solve(curve, slope)
    return found


def source_of(prompts: Sequence[Prompt]) -> Mapping[str, Any]:
    """Say what the weights were fitted on."""
    own = sum(prompt.family.startswith("own: ") for prompt in prompts)
    tiers = Counter(prompt.tier for prompt in prompts)
    return {
        "fitted_by": "benchmarks/fit_leaning.py",
        "fitted_on": f"{len(prompts) - own} prompts of ../shared/data/prompts_task.jsonl.gz and {own} of our own",
        "tiers": {name: tiers[name] for name in NAMES},
        "measured_in": "benchmarks/results/routing_quality.md",
    }


def main() -> None:
    """Fit on all families and write the weights down."""
    if not DATA.exists():
        sys.exit("The public data is not on this machine: shared/data is looked for beside the repository.")
    prompts = [*from_text(), *of_our_own()]
    told = {**source_of(prompts), **Examples(prompts).fit()}
    lines = json.dumps(told, indent=1).replace("[\n    ", "[").replace(",\n    ", ", ").replace("\n   ]", "]")
    TARGET.write_text(f"{lines}\n", encoding="utf-8")
    print(f"{len(FEATURES)} features, {len(prompts)} prompts: {TARGET.name}")


if __name__ == "__main__":
    main()
