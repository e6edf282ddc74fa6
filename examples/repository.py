"""Read-only tools over the files of one folder; nothing outside it can be named, by `..`, by a link, or in full.

```bash
langchain-tiered run "Search the repository for 'TODO'." --tools examples/repository.py:repository_tools
```
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.tools import ToolException, tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.tools import BaseTool

_SUFFIXES = frozenset({".cfg", ".json", ".md", ".py", ".rst", ".toml", ".txt", ".yaml", ".yml"})
_MOST_FILES, _MOST_HITS, _MOST_LINES, _MOST_CHARS, _MOST_BYTES = 200, 40, 400, 20_000, 2_000_000


class Repository:
    """The files of a folder, as text. Hidden ones, and those that are no text, are left out."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve(strict=True)

    def place(self, path: str) -> Path:
        """Return where a file or folder lies.

        Raises:
            ToolException: If it lies outside the folder, or is not there; the model is told.
        """
        try:
            found = (self.root / path).resolve(strict=True)
        except (OSError, ValueError) as error:  # not there, a loop of links, or a NUL in the name
            raise ToolException(f"There is no {path!r} here. Paths are relative, such as 'README.md'.") from error
        if not found.is_relative_to(self.root):
            raise ToolException(f"{path!r} lies outside the repository. Only what is in it can be read.")
        if any(part.startswith(".") for part in found.relative_to(self.root).parts):
            raise ToolException(f"{path!r} is hidden, such as what keeps keys, and cannot be read.")
        return found

    def files(self, folder: str = ".") -> Iterator[Path]:
        """Walk the text files below a folder, in the order of their names.

        Raises:
            ToolException: If it is outside, or no folder; the model is told.
        """
        if not (top := self.place(folder)).is_dir():
            raise ToolException(f"{folder!r} is no folder.")
        for found in sorted(top.iterdir()):
            if found.name.startswith(".") or found.is_symlink():
                continue  # a link may lead out, or round in a circle
            if found.is_dir() and found.name != "__pycache__":
                yield from self.files(str(found.relative_to(self.root)))
            elif found.suffix in _SUFFIXES:
                yield found

    def text(self, path: str) -> str:
        """Return what a file says.

        Raises:
            ToolException: If it is outside, no file, too large or no text; the model is told.
        """
        found = self.place(path)
        if not found.is_file() or found.stat().st_size > _MOST_BYTES:
            raise ToolException(f"{path!r} is no file of at most {_MOST_BYTES:,} bytes.")
        try:
            return found.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ToolException(f"{path!r} is no text.") from error

    def name(self, path: Path) -> str:
        """Return a path as the tools tell it."""
        return path.relative_to(self.root).as_posix()


def tools(repository: Repository) -> list[BaseTool]:
    """Return the tools over `repository`."""

    @tool
    def list_files(folder: str = ".") -> str:
        """List the files of the repository below a folder, with their number of lines."""
        found = list(islice(repository.files(folder), _MOST_FILES + 1))
        told = [f"{repository.name(path)}: {_lines_of(path)} lines" for path in found[:_MOST_FILES]]
        return "\n".join([*told, *(["... and more"] if len(found) > _MOST_FILES else [])]) or "No files."

    @tool
    def search_repository(words: str, folder: str = ".") -> str:
        """Search the files of the repository for words as they stand, and return the lines that have them."""
        hits = islice(_hits(repository, words, folder), _MOST_HITS)
        return "\n".join(hits) or f"No line has {words!r}."

    @tool
    def read_file(path: str, first_line: int = 1, last_line: int = _MOST_LINES) -> str:
        """Read lines of one file of the repository."""
        lines = repository.text(path).splitlines()[max(first_line, 1) - 1 : last_line][:_MOST_LINES]
        return "\n".join(lines)[:_MOST_CHARS] or f"{path} has no line {first_line}."

    own = [list_files, search_repository, read_file]
    for each in own:
        each.handle_tool_error = True
    return own


def _lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _hits(repository: Repository, words: str, folder: str) -> Iterator[str]:
    for path in repository.files(folder):
        name = repository.name(path)
        try:
            lines = repository.text(name).splitlines()
        except ToolException:  # no text, or too large: the others are searched
            continue
        for number, line in enumerate(lines, 1):
            if words and words in line:
                yield f"{name}:{number}: {line.strip()[:160]}"


def repository_tools() -> list[BaseTool]:
    """Return the tools over the folder that this one lies in."""
    return tools(Repository(Path(__file__).parents[1]))
