"""The wheel and the sdist as a user meets them: built, checked, installed where nothing else is, and used.

```shell
make release-check
```

The packages stay in `dist/`; all else is made in a temporary folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from zipfile import ZipFile

from release.contents import missing_from_sdist, unwanted_in_sdist, wrong_in_wheel
from release.lowest import ROOT

DIST = ROOT / "dist"
REQUEST = "Classify the ticket. Labels: bug, praise. Ticket: the app crashes."
_WHERE = "import langchain_tiered; print(langchain_tiered.__file__)"


class CheckFailedError(RuntimeError):
    """A step did not do what a release needs."""


@dataclass(frozen=True)
class Packages:
    """What was built, and the folder to try it in."""

    wheel: Path
    sdist: Path
    folder: Path

    @property
    def unpacked(self) -> Path:
        """The sdist, unpacked by `sdist_is_complete`."""
        return self.folder / self.sdist.name.removesuffix(".tar.gz")

    @property
    def bin(self) -> Path:
        """The commands of the empty environment."""
        return self.folder / "empty" / "bin"


def main() -> int:
    """Do each step, show it, and return 1 at the first that fails."""
    os.environ.pop("PYTHONPATH", None)  # how make finds this script, and nothing that a user has
    os.environ.pop("OPENAI_API_KEY", None)
    _step(0, "Build the sdist, and the wheel from it")
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            packages = built(Path(folder))
            for place, (title, step) in enumerate(STEPS, 1):
                _step(place, title)
                step(packages)
        except CheckFailedError as error:
            _say(f"FAILED: {error}")
            return 1
    _say(f"Passed in {perf_counter() - began:.0f} s: {packages.wheel.name} and {packages.sdist.name} in dist/.")
    return 0


def built(folder: Path) -> Packages:
    """Build both into `dist/`."""
    for old in DIST.glob("langchain_tiered-*"):
        old.unlink()
    _run([sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT)], folder)
    return Packages(next(DIST.glob("*.whl")), next(DIST.glob("*.tar.gz")), folder)


def metadata_is_valid(packages: Packages) -> None:
    """Check what the package index would show."""
    _run([sys.executable, "-m", "twine", "check", "--strict", str(packages.wheel), str(packages.sdist)], ROOT)
    with ZipFile(packages.wheel) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        page = wheel.read(name).decode()
    links = re.findall(r"\]\((?!https?://|#)([^)]+)\)", page)
    _none([f"  leads nowhere on a package index: {link}" for link in links], "The page")


def wheel_holds_the_package_alone(packages: Packages) -> None:
    """Check the wheel's files: all of the package, `py.typed` and data included, and nothing else."""
    with ZipFile(packages.wheel) as wheel:
        _none(wrong_in_wheel(wheel.namelist(), ROOT), "The wheel")


def sdist_is_complete(packages: Packages) -> None:
    """Check the sdist's files, and that tests which need all folders pass out of it."""
    with tarfile.open(packages.sdist) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
        sdist.extractall(packages.folder, filter="data")
    _none([*missing_from_sdist(names, ROOT), *unwanted_in_sdist(names)], "The sdist")
    some = ["tests/unit/test_docs.py", "tests/unit/test_api.py", "tests/replay"]
    _run([sys.executable, "-m", "pytest", "-q", *some], packages.unpacked)


def wheel_is_enough(packages: Packages) -> None:
    """Install the wheel and nothing else, and run the first example from a folder that is not the checkout."""
    _run([sys.executable, "-m", "venv", str(packages.folder / "empty")], packages.folder)
    _install(packages, str(packages.wheel))
    where = _run([str(packages.bin / "python"), "-c", _WHERE], packages.folder)
    if str(packages.folder.resolve()) not in str(Path(where.strip()).resolve()):
        raise CheckFailedError(f"The package was imported from {where.strip()}, not from the wheel.")
    example = packages.unpacked / "examples" / "01_tiered_agent.py"
    said = _run([str(packages.bin / "python"), "-W", "error", str(example)], packages.folder)
    _says(said, "nano  $0.0000")


def command_line_asks_for_its_extra(packages: Packages) -> None:
    """See that the command line says what it lacks, and works once that is installed."""
    command = [str(packages.bin / "langchain-tiered"), "route", REQUEST]
    _says(_run(command, packages.folder, fails=True), "pip install 'langchain-tiered[cli]'")
    _install(packages, f"{packages.wheel}[cli]")
    _says(_run(command, packages.folder), "nano")


STEPS = (
    ("Check the metadata", metadata_is_valid),
    ("Check the wheel's files", wheel_holds_the_package_alone),
    ("Check the sdist's files, and run some tests out of it", sdist_is_complete),
    ("Install the wheel into an empty environment, and run an example there", wheel_is_enough),
    ("Use the command line there", command_line_asks_for_its_extra),
)


def _install(packages: Packages, what: str) -> None:
    pip = [str(packages.bin / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, what], packages.folder)


def _run(command: list[str], folder: Path, *, fails: bool = False) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if bool(done.returncode) is not fails:
        raise CheckFailedError(f"{' '.join(command)} exited with {done.returncode}:\n{said}")
    return done.stdout if not fails else said


def _says(said: str, words: str) -> None:
    if words not in said:
        raise CheckFailedError(f"{words!r} was expected, and this came:\n{said}")


def _none(wrong: list[str], what: str) -> None:
    if wrong:
        raise CheckFailedError("\n".join([f"{what} is not as it should be:", *wrong]))


def _step(place: int, title: str) -> None:
    _say(f"[{place + 1}/{len(STEPS) + 1}] {title} ...")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
