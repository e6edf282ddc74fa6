"""Shows on stderr how far a run has come: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

HANDFUL = 5
"""Records that need no progress."""

_LINES = 10


@contextmanager
def progress(total: int, console: Console) -> Iterator[Callable[[], None]]:
    """Show the progress of `total` records on `console`; what is yielded is called after each."""
    if total <= HANDFUL:
        yield lambda: None
    elif console.is_terminal:
        columns = (TextColumn("Answering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)
    else:
        done, step = count(1), max(HANDFUL, -(-total // _LINES))

        def advance() -> None:
            if (number := next(done)) % step == 0 or number == total:
                console.print(f"{number} of {total} done")

        yield advance
