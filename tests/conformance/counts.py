"""Run LangChain's standard suites on the tiered model and on `ChatOpenAI`, and print both counts side by side.

```shell
python tests/conformance/counts.py
```
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).parent
OURS, THEIRS, BROKEN = "TestTiered", "TestOpenAI", "TestTieredWithFaults"
SUITES = {"unit": (OURS, THEIRS), "integration": (OURS, THEIRS), "faults": (BROKEN, THEIRS)}
TOLD = {"unit": "unit suite", "integration": "integration suite", "faults": "integration suite, 10 % faults"}
KINDS = ("passed", "failed", "skipped")


def counted(suite: str) -> dict[str, Counter[str]]:
    """Run a suite; return by class how many tests passed, failed, and were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junitxml={report}"]
        subprocess.run([*command, str(HERE / f"test_standard_{suite}.py")], check=False, stdout=subprocess.DEVNULL)
        cases = ET.parse(report).iter("testcase")  # noqa: S314  (written by the line above)
        found: dict[str, Counter[str]] = {}
        for case in cases:
            kinds = {child.tag for child in case}
            kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            found.setdefault(case.get("classname", "").rpartition(".")[2], Counter())[kind] += 1
    return found


def main() -> int:
    """Print the counts; return how many tests of ours failed."""
    failed = 0
    measure: Counter[str] = Counter()
    sys.stdout.write(f"{'':32}{'TieredChatModel':>32}{'ChatOpenAI':>32}\n")
    for suite, (ours, theirs) in SUITES.items():
        found = counted(suite)
        measure = found.get(theirs, measure)  # the integration suite's, where faults break the tiers alone
        failed += found[ours]["failed"]
        sides = [", ".join(f"{counts[kind]} {kind}" for kind in KINDS) for counts in (found[ours], measure)]
        sys.stdout.write(f"{TOLD[suite]:32}{sides[0]:>32}{sides[1]:>32}\n")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
