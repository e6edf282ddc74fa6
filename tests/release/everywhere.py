"""All tests on each Python that we admit and this machine has, and once with the lowest versions that we admit.

```shell
make test-all
make test-all ONLY=3.12 TESTS="tests/unit -x"   # one environment, and what pytest is told
make test-all ONLY=lowest
```

Each environment stands in a folder of its own, `.venv-3.12` or `.venv-lowest`, and is used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from release.lowest import ROOT, USER_EXTRAS, lowest_versions, project, tools
from release.pythons import VERSIONS, interpreter

if TYPE_CHECKING:
    from pathlib import Path

LOWEST = "lowest"
# They need packages of the extras `vendors` and `conformance`, which ask for later versions of what is at its lowest.
LEFT_OUT_AT_LOWEST = ("--ignore=tests/vendors", "--ignore=tests/conformance")


class InstallError(RuntimeError):
    """An environment could not be made."""


def main() -> int:
    """Make the environments, run the tests in each, and return 1 where one failed or none was there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[*VERSIONS, LOWEST], help="this environment alone")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    given = parser.parse_args()
    wanted = [given.only] if given.only else [*VERSIONS, LOWEST]
    os.environ.pop("PYTHONPATH", None)  # how make finds this script
    outcomes: dict[str, str] = {}
    for place, name in enumerate(wanted, 1):
        _say(f"[{place}/{len(wanted)}] {_title(name)}")
        outcomes[name] = _outcome(name, given.pytest)
    _say("\n".join(["", *(f"{_title(name):<28} {outcome}" for name, outcome in outcomes.items())]))
    return int(not any(map(_passed, outcomes.values())) or not all(map(_passed_or_missing, outcomes.values())))


def _outcome(name: str, arguments: list[str]) -> str:
    python = interpreter(VERSIONS[0] if name == LOWEST else name)
    if python is None:
        return "not installed, skipped"
    began = perf_counter()
    try:
        environment = _made(name, python)
    except InstallError as error:
        return f"FAILED: {error}"
    left_out = LEFT_OUT_AT_LOWEST if name == LOWEST else ()
    command = [str(environment), "-m", "pytest", "-n", "auto", *left_out, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False)
    return f"{'FAILED' if done.returncode else 'passed'} in {perf_counter() - began:.0f} s"


def _made(name: str, python: str) -> Path:
    folder = ROOT / f".venv-{name}"
    bound = folder / "bin" / "python"
    if not bound.exists():
        _run([python, "-m", "venv", "--clear", str(folder)], "the environment could not be made")
    settings = project()
    wanted = ["--editable", f".[{','.join(USER_EXTRAS)}]", *tools(settings)] if name == LOWEST else ["-e", ".[dev]"]
    if name == LOWEST:
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(lowest_versions(settings)) + "\n", encoding="utf-8")
        wanted += ["--constraint", str(constraints)]
    _say("Installing ...")
    install = [str(bound), "-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check"]
    _run([*install, *wanted], "it cannot be installed; raise the bound that pip names above")
    return bound


def _run(command: list[str], what_failed: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:  # shown then alone: pip tells the cause of a conflict only where it tells much else
        _say("\n".join([*done.stdout.splitlines()[-20:], *done.stderr.splitlines()[-5:]]))
        raise InstallError(what_failed)


def _title(name: str) -> str:
    return f"Python {VERSIONS[0]}, lowest versions" if name == LOWEST else f"Python {name}"


def _passed(outcome: str) -> bool:
    return outcome.startswith("passed")


def _passed_or_missing(outcome: str) -> bool:
    return not outcome.startswith("FAILED")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
