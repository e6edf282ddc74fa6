"""The commands: each reads its options, does one thing, prints, and ends with an exit code.

`0` when all went well, `1` when a request failed or was skipped, `2` for a wrong use, `130` after Ctrl-C.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from langchain_core.messages import HumanMessage
from rich.console import Console
from rich.text import Text

from langchain_tiered.accounting import Ledger
from langchain_tiered.cli import tables
from langchain_tiered.cli.progress import progress
from langchain_tiered.cli.records import Record, image_block, not_heeded, read_records, text_record
from langchain_tiered.cli.running import Agents, Result, first_line, is_expected, run_all
from langchain_tiered.cli.serving import serve_offline
from langchain_tiered.cli.setup import Serving, load_tools, serving
from langchain_tiered.errors import TieredError
from langchain_tiered.routing import Policy, TierRouter
from langchain_tiered.routing.explaining import plain

FAILED, INTERRUPTED = 1, 130

app = typer.Typer(
    help="Answer each request with the cheapest model tier that can do it, and show what that saved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Online = Annotated[
    bool | None,
    typer.Option(
        "--online/--offline",
        help="Insist on language models, or on the offline tiers. By default the key decides: OPENAI_API_KEY.",
        show_default=False,
    ),
]
Tools = Annotated[
    str | None,
    typer.Option(
        metavar="PATH.py:NAME",
        help="The tools: a list, or a function that returns one. A module may stand for the path.",
    ),
]


def _version(asked: bool) -> None:  # noqa: FBT001  (the value of an option)
    if asked:
        typer.echo(version("langchain-tiered"))
        raise typer.Exit


@app.callback()
def _root(
    *,
    shown: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Show the version.", callback=_version)
    ] = False,
) -> None:
    del shown


@app.command()
def run(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="One request.", show_default=False)] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(metavar="IN.jsonl", help="Many requests, one JSON object a line; - reads them from stdin."),
    ] = None,
    tools: Tools = None,
    pin: Annotated[str | None, typer.Option(metavar="TIER", help="Let this tier answer everything.")] = None,
    online: Online = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many requests run at a time.")] = 4,
    show_answers: Annotated[bool, typer.Option("--show-answers", help="Print the answers to a file, too.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.jsonl", help="Write each result as it comes, one JSON object a line.")
    ] = None,
) -> None:
    """Answer one TEXT, or each record of a file, and show the route, the cost, and what was saved."""
    records = _records(text, file)
    with _wrong_use():
        served = serving(online=online)
        agents = Agents(TierRouter(served.tiers, policy=Policy(pin=pin)), load_tools(tools))
        agents.of(None)  # what is wrong with the tools is told before the first request
    console = Console(highlight=False)
    began = perf_counter()
    with _writer(out, file) as write:
        _note(console, served)
        for told in not_heeded(records, [tier.name for tier in served.tiers]):
            _complain(told, style="yellow")
        results, ended = _run(records, agents, concurrency, write)
    if file is None:
        _print_one(console, results)
    else:
        _print_many(console, results, len(records), perf_counter() - began, served, answers=show_answers)
    if isinstance(ended, KeyboardInterrupt):
        console.print("\nInterrupted. What was under way is not counted, and may have cost something.")
        raise typer.Exit(INTERRUPTED)
    if ended is not None:
        raise ended
    raise typer.Exit(0 if all(result.status == "answered" for result in results) else FAILED)


@app.command()
def route(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The request.", show_default=False)],
    *,
    tools: Tools = None,
    image: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="An image of the request; may be given more than once.")
    ] = None,
    online: Online = None,
) -> None:
    """Show where TEXT would go, and why. Nothing is answered."""
    _has_words(text)
    with _wrong_use():
        served, loaded = serving(online=online), load_tools(tools)
        images = [image_block(each, Path()) for each in image or ()]
    console = Console(highlight=False)
    _note(console, served)
    message = HumanMessage([{"type": "text", "text": text}, *images] if images else text)
    try:
        explanation = TierRouter(served.tiers).explain([message], tools=loaded)
    except Exception as error:
        if not is_expected(error):
            raise
        _complain(first_line(error))
        raise typer.Exit(FAILED) from None
    console.print(explanation)


app.command()(serve_offline)


def _records(text: str | None, file: Path | None) -> Sequence[Record]:
    if (text is None) == (file is None):
        raise typer.BadParameter("Give one TEXT, or --file IN.jsonl.")
    if file is None:
        return [text_record(_has_words(text or ""))]
    try:
        records = read_records(file)
    except OSError as error:
        raise typer.BadParameter(f"--file {file} cannot be read: {error.strerror}.") from None
    if not records:
        told = "stdin" if str(file) == "-" else file
        raise typer.BadParameter(f'{told} has no records. Write one JSON object a line, such as {{"text": "Hello"}}.')
    return records


def _has_words(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("TEXT is empty.")
    return text


def _run(
    records: Sequence[Record], agents: Agents, concurrency: int, write: Callable[[Result], None]
) -> tuple[list[Result], BaseException | None]:
    """Return the results in the order of the records, and what ended the run early: Ctrl-C, or a bug."""
    results: list[Result] = []
    ended: BaseException | None = None
    with progress(len(records), Console(stderr=True, highlight=False)) as advance:

        def take(result: Result) -> None:
            results.append(result)
            write(result)
            advance()

        try:
            asyncio.run(run_all(records, agents, concurrency, take))
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  (raised again below what was paid for)
            ended = error
    return sorted(results, key=lambda result: result.record.line), ended


@contextmanager
def _wrong_use() -> Iterator[None]:
    """Turn what the library raises of options into a wrong use."""
    try:
        yield
    except TieredError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _writer(out: Path | None, file: Path | None) -> Iterator[Callable[[Result], None]]:
    """Yield what writes a result to `out` at once, or does nothing where there is none."""
    if out is None:
        yield lambda _: None
        return
    if file is not None and out.exists() and file.exists() and out.samefile(file):
        raise typer.BadParameter(f"--out {out} is the file of requests itself.")
    try:
        # A lone surrogate cannot be written in UTF-8, and its escape is what JSON calls it.
        opened = out.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise typer.BadParameter(f"--out {out} cannot be written: {error.strerror}.") from None
    with opened as stream:

        def write(result: Result) -> None:
            stream.write(result.line())
            stream.flush()

        yield write


def _note(console: Console, served: Serving) -> None:
    if served.note is not None:
        console.print(served.note, style="yellow")
        console.print()


def _complain(told: str, style: str = "red") -> None:
    Console(stderr=True, highlight=False).print(Text(plain(told), style=style))


def _print_one(console: Console, results: Sequence[Result]) -> None:
    for result in results:
        if result.error is not None:
            _complain(result.error)
        else:
            console.print(Text(tables.answer_text(result.answer)), soft_wrap=True)
            console.print()
        console.print(tables.result_pairs(result))
        console.print(tables.savings(result.ledger))


def _print_many(
    console: Console, results: Sequence[Result], total: int, seconds: float, served: Serving, *, answers: bool
) -> None:
    ledger = Ledger(entry for result in results for entry in result.ledger)
    if results:
        console.print(tables.results_table(results, console))
        console.print(tables.not_shown(results) or "")
    for result in results if answers else ():
        _print_answer(console, result)
    console.print("\n".join(filter(None, [tables.outcome(results, total, seconds), tables.expectations(results)])))
    console.print()
    console.print(tables.shares_table(results, [tier.name for tier in served.tiers], ledger))
    console.print()
    console.print(tables.savings(ledger))
    if served.closing is not None:
        console.print(f"\n{served.closing}", style="yellow")


def _print_answer(console: Console, result: Result) -> None:
    if result.status == "answered":
        console.print(Text(f"#{result.record.line}", style="bold"))
        console.print(Text(tables.answer_text(result.answer)), soft_wrap=True)
        console.print()
