"""Five thousand requests at 64 at once while a fifth of all calls breaks, or one of them alone.

```shell
python -W error tests/soak/soak.py                    # all of it, then the throughput without faults
python -W error tests/soak/soak.py --seed 7 --only 123  # one request, as it went in that soak
```
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LEAST_THROUGHPUT = 0.85


def main() -> int:
    """Run what was asked for, show it, and tell whether all held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this request alone")
    parser.add_argument("--no-throughput", action="store_true", help="leave the throughput without faults out")
    given = parser.parse_args()
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    sys.path[:1] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]  # this file has the name of its package
    if given.only is not None:
        return _show_one(given.only, given.seed)
    run = import_module("soak.run")
    outcome = run.soak(run.Plan(requests=given.requests, seed=given.seed), say=_say)
    _show(outcome)
    if not given.no_throughput:
        outcome.problems.extend(_throughput())
    for problem in outcome.problems:
        _say(f"PROBLEM  {problem}")
    _say(f"{len(outcome.problems)} problems" if outcome.problems else "All held.")
    return 1 if outcome.problems else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show(outcome: Any) -> None:
    stats, paid = outcome.report.stats, outcome.paid
    requests = len(outcome.notes)
    faults = sum(stats["faults"].values())
    rows = {
        "requests": f"{requests:,} in {outcome.seconds:.0f} s, {requests / outcome.seconds:.0f}/s",
        "calls": f"{stats['calls']:,}, {faults:,} of them broken ({faults / stats['calls']:.1%})",
        "tokens": ", ".join(f"{count:,} {name.removesuffix('_tokens')}" for name, count in stats["tokens"].items()),
        "cost": f"${paid.ledger_usd:.6f}, by genai_prices ${paid.genai_usd:.6f}",
        "objects": " ".join(f"{size.objects:,}" for size in outcome.sizes),
        "memory": f"{' '.join(f'{size.mb:.0f}' for size in outcome.sizes)} MB",
        **{end: f"{count:,}" for end, count in outcome.ends.most_common()},
    }
    for name, value in rows.items():
        _say(f"{name:<26} {value}")


def _show_one(number: int, seed: int) -> int:
    run = import_module("soak.run")
    ended, note = asyncio.run(run.only(number, run.Plan(seed=seed)))
    _say(f"{ended.work}\n{ended.work.text}\n\nended: {note.end}")
    for call in note.calls:
        _say(f"  {call}")
    for attempt in getattr(ended.error, "attempts", ()):
        _say(f"  tried {attempt['tier']}: {attempt['failure'] or attempt['verdict']}")
    _say(repr(ended.error) if ended.error is not None else ended.state["messages"][-1].text)
    for problem in note.problems:
        _say(f"PROBLEM  {problem}")
    return 1 if note.problems else 0


def _throughput() -> list[str]:
    """Measure requests per second at 64 at once without faults, in turns with graphs that are written by hand."""
    _say("Throughput without faults ...")
    overhead, serving = import_module("overhead"), import_module("_server")
    model, client = import_module("langchain_openai").ChatOpenAI, import_module("openai").DefaultAsyncHttpxClient

    async def measured(url: str) -> Any:
        async with client() as lines:
            models = {
                tier: model(
                    model=name,
                    base_url=url,
                    api_key="none",
                    max_retries=0,
                    http_socket_options=(),
                    http_async_client=lines,
                )
                for tier, name in overhead.MODELS.items()
            }
            return await overhead.concurrent(overhead.agents(models), overhead.Effort(bursts=12))

    with serving.server() as url:
        rows = asyncio.run(measured(url))
    for row in rows:
        _say(f"{row.measure}: {row.value}{f', goal {row.goal}' if row.goal else ''}")
    return [f"{row.measure} is {row.value}, wanted {row.goal}" for row in rows if row.met == "NO"]


if __name__ == "__main__":
    sys.exit(main())
