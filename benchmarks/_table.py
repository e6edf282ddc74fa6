"""The tables of the benchmarks: one line for each measure, with its goal and whether it was met."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"


class Row(NamedTuple):
    """One line of the table."""

    measure: str
    value: str
    goal: str = ""
    met: str = ""


def ratio(measure: str, ours: Sequence[float], theirs: Sequence[float], goal: float, *, least: bool = False) -> Row:
    """Return a line with the ratio of two series, round by round."""
    return row(measure, [mine / yours for mine, yours in zip(ours, theirs, strict=True)], goal, least=least)


def row(measure: str, values: Sequence[float], goal: float, *, unit: str = "", least: bool = False) -> Row:
    """Return a line with the median, and with the middle half of the values for the doubt that remains."""
    low, middle, high = quantiles(values, n=4)
    met, sign = (middle >= goal, "≥") if least else (middle <= goal, "≤")
    value = f"{middle:.3f}{unit} ({low:.3f} to {high:.3f})"
    return Row(measure, value, f"{sign} {goal:g}{unit}", "yes" if met else "NO")


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table, with `rich` where it is installed."""
    if find_spec("rich") is None:
        print(markdown(title, rows))
        return
    from rich.console import Console  # noqa: PLC0415  (an optional part)
    from rich.table import Table  # noqa: PLC0415  (the same)

    table = Table(*(name.capitalize() for name in Row._fields))
    for line in rows:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def markdown(title: str, rows: Sequence[Row]) -> str:
    """Return the table as Markdown, under a line that says what it was measured with."""
    packages = ("langchain", "langchain-core", "langchain-openai", "langgraph")
    told = ", ".join(f"{package} {version(package)}" for package in packages)
    head = f"Python {platform.python_version()}, {os.cpu_count()} CPUs; {told}."
    lines = [Row._fields, *(("---",) * 4,), *rows]
    return "\n".join([f"# {title}", "", head, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def write(name: str, title: str, rows: Sequence[Row]) -> None:
    """Write the table down beside the others."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(markdown(title, rows), encoding="utf-8")
