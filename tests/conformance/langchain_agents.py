"""LangChain's own tests of `create_agent`, with each of ours in front of every agent, and with nothing.

```shell
PYTHONPATH=tests python -m conformance.langchain_agents   # or the names of some of ours, behind it
```

The tests come from the source distribution of the installed version, which is fetched from the package index into a
folder that git ignores. Each test that passes with nothing in front and is lost behind one of ours is told apart:

- `any`: it is lost behind an empty middleware of the same hooks and channels too, or with any model that streams and
  tells of itself. Such a test compares the whole state, or the drawn graph, with one that nothing was added to.
- `mended`: the model that the test has scripted gave something that no tool or schema takes, and was asked again: that
  is what `EscalationMiddleware` and `TieredChatModel` are for.
- `ours`: anything else, a bug of ours. Their names are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.in_front import IN_FRONT, MIDDLEWARE, MODEL, NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Outcomes = dict[str, tuple[str, list[str]]]

TESTS_OF_OURS = Path(__file__).parents[1]
CACHE = TESTS_OF_OURS.parent / ".conformance"
TESTS = "tests/unit_tests/agents"
OF_ANY_MODEL = {
    "test_create_agent_invoke[memory]": "compares the whole message with one whose response_metadata is empty",
    "test_internal_whole_message_excluded_from_raw_event_log": "counts the events of a model that does not stream",
}
"""The tests that no model passes but the test's own, and why."""
HEADS = ("passed", "failed", "skipped", "lost", "any", "mended", "ours")


def source() -> Path:
    """Return the unpacked source distribution of the installed LangChain, fetched where it is not there yet."""
    name = f"langchain-{version('langchain')}"
    if not (CACHE / name / TESTS).is_dir():
        CACHE.mkdir(exist_ok=True)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:", "--dest", str(CACHE)]
        wanted = name.replace("langchain-", "langchain==")
        subprocess.run([sys.executable, "-m", "pip", "download", *options, wanted], check=True)
        with tarfile.open(CACHE / f"{name}.tar.gz") as archive:
            archive.extractall(CACHE, filter="data")
    return CACHE / name


def outcomes(root: Path, in_front: str, tests: Sequence[str] = (TESTS,), *, twins: bool = False) -> Outcomes:
    """Run tests once, and return what became of each, and the steps that were taken in it."""
    told = CACHE / f"{in_front}{' (empty)' if twins else ''}.json"
    told.unlink(missing_ok=True)
    named = {
        "IN_FRONT": in_front,
        "OUTCOMES": str(told),
        "PYTHONPATH": str(TESTS_OF_OURS),
        **({"TWINS": "1"} if twins else {}),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        *tests,
        "-q",
        "-p",
        "conformance.in_front",
        "-p",
        "no:cacheprovider",
        "-n",
        "auto",
    ]
    done = subprocess.run(command, cwd=root, env={**os.environ, **named}, capture_output=True, text=True, check=False)
    told.with_suffix(".txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if not told.exists():
        sys.exit(f"LangChain's tests could not be run:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    found: Outcomes = json.loads(told.read_text(encoding="utf-8"))
    return found


def lost(before: Outcomes, after: Outcomes) -> list[str]:
    """Return the tests that have passed before, and do not now."""
    return sorted(name for name, (kind, _) in before.items() if kind == "passed" and after[name][0] != "passed")


def told_apart(root: Path, in_front: str, plain: Outcomes, found: Outcomes) -> dict[str, list[str]]:
    """Return the tests that are lost, by why they are."""
    gone = lost(plain, found)
    behind_empty: Outcomes = outcomes(root, in_front, gone, twins=True) if gone and in_front in MIDDLEWARE else {}
    by_nature = OF_ANY_MODEL if in_front == MODEL else {}
    behind_any = [
        name
        for name in gone
        if name.rpartition("::")[2] in by_nature or (name in behind_empty and behind_empty[name][0] != "passed")
    ]
    mended = [name for name in gone if name not in behind_any and found[name][1]]
    return {"lost": gone, "any": behind_any, "mended": mended, "ours": sorted({*gone} - {*behind_any, *mended})}


def main(names: Sequence[str]) -> int:
    """Print what became of the tests behind each of ours; return how many were lost that ours has to answer for."""
    root, plain = source(), dict[str, tuple[str, list[str]]]()
    say(f"LangChain {version('langchain')}, {TESTS}\n")
    say(f"{'in front of every agent':<26}" + "".join(f"{head:>8}" for head in HEADS))
    ours: list[str] = []
    for name in [NOTHING, *(names or IN_FRONT[1:])]:
        found = outcomes(root, name)
        plain = plain or found
        kinds, apart = Counter(kind for kind, _ in found.values()), told_apart(root, name, plain, found)
        counts = [kinds["passed"], kinds["failed"] + kinds["error"], kinds["skipped"]]
        counts += [len(tests) for tests in apart.values()]
        say(f"{name:<26}" + "".join(f"{count:>8}" for count in counts))
        ours += [f"{test}, behind {name}" for test in apart["ours"]]
    say("", *ours)
    return len(ours)


def say(*lines: str) -> None:
    """Print lines at once: a run takes minutes."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
