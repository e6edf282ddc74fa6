"""Which files a wheel and an sdist have to hold, and which not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

PACKAGE = "langchain_tiered"
FOLDERS = (PACKAGE, "graphs", "examples", "tests", "cassettes", "benchmarks", "docs", ".github")
FILES = ("README.md", "CHANGELOG.md", "LICENSE", "Makefile", "mkdocs.yml", "langgraph.json", "pyproject.toml")
_KEPT = (".github", ".env.example", ".gitignore")


def wrong_in_wheel(names: Sequence[str], root: Path) -> list[str]:
    """Return a line for each file that the wheel lacks or should not hold."""
    wanted = {*_files(root, (PACKAGE,)), f"{PACKAGE}/py.typed"}
    strangers = [name for name in names if name not in wanted and ".dist-info/" not in name]
    return [*_lines("lacks", wanted - set(names)), *_lines("should not hold", strangers)]


def missing_from_sdist(names: Sequence[str], root: Path) -> list[str]:
    """Return a line for each file of the checkout that the sdist lacks: its tests have to run out of it."""
    wanted = {*_files(root, FOLDERS), *FILES}
    return _lines("lacks", wanted - set(names))


def unwanted_in_sdist(names: Sequence[str]) -> list[str]:
    """Return a line for each file that holds secrets, or was made by a run."""
    made = [name for name in names if any(_is_made(part) for part in name.split("/"))]
    return _lines("should not hold", made)


def _files(root: Path, folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        for path in (root / folder).rglob("*"):
            if path.is_file() and not any(map(_is_made, path.relative_to(root).parts)):
                yield path.relative_to(root).as_posix()


def _is_made(part: str) -> bool:
    return (part.startswith(".") and part not in _KEPT) or part == "__pycache__" or part.endswith(".sqlite")


def _lines(what: str, names: Iterable[str]) -> list[str]:
    return [f"  {what} {name}" for name in sorted(names)]
