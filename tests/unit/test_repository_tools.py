"""The file tools of the examples read one folder, and nothing beside it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def module() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module("repository")
    sys.path.remove(str(EXAMPLES))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "package").mkdir(parents=True)
    (root / "README.md").write_text("# Read me\nThe answer is 42.\n", encoding="utf-8")
    (root / "package/code.py").write_text("def answer():\n    return 42\n", encoding="utf-8")
    (root / ".env").write_text("KEY=secret-in-a-file", encoding="utf-8")
    (root / "picture.png").write_bytes(b"\x89PNG 42")
    (root / "broken.txt").write_bytes(b"\xff\xfe\x00 42")
    (tmp_path / "outside.md").write_text("secret-outside 42", encoding="utf-8")
    (root / "link.md").symlink_to(tmp_path / "outside.md")
    (root / "up").symlink_to(tmp_path)
    (root / "round").symlink_to(root)
    return root


@pytest.fixture
def ask(module: Any, folder: Path) -> Any:
    own = {each.name: each for each in module.tools(module.Repository(folder))}
    return lambda name, **args: own[name].invoke(args)


@pytest.mark.parametrize(
    "path",
    [
        "../outside.md", "/etc/passwd", "link.md", "up/outside.md", "package/../../outside.md",
        "round/../../outside.md", "up", ".env", "package/../.env", "~/.ssh/id_rsa", "a\0b", "", "..",
        "package/nothing.py", "x" * 5_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("tool", ["read_file", "list_files", "search_repository"])
def test_nothing_outside_the_folder_can_be_read(ask: Any, folder: Path, tool: str, path: str) -> None:
    if tool == "read_file":
        told = ask(tool, path=path)
    else:
        told = ask(tool, folder=path, **({"words": "42"} if tool == "search_repository" else {}))
    assert "secret" not in told
    assert "outside.md:" not in told
    assert str(folder) not in told


def test_files_are_listed_without_hidden_ones_pictures_and_links(ask: Any) -> None:
    assert ask("list_files").splitlines() == ["README.md: 2 lines", "broken.txt: 0 lines", "package/code.py: 2 lines"]
    assert ask("list_files", folder="package") == "package/code.py: 2 lines"
    assert ask("list_files", folder="README.md") == "'README.md' is no folder."


def test_lines_are_found_by_words_as_they_stand_beside_files_that_are_no_text(ask: Any) -> None:
    assert ask("search_repository", words="42").splitlines() == [
        "README.md:2: The answer is 42.",
        "package/code.py:2: return 42",
    ]
    assert ask("search_repository", words="(a+)+$") == "No line has '(a+)+$'."
    assert ask("search_repository", words="") == "No line has ''."
    assert ask("search_repository", words="42", folder="README.md") == "'README.md' is no folder."


def test_file_is_read_by_its_lines(ask: Any) -> None:
    assert ask("read_file", path="README.md", first_line=2, last_line=2) == "The answer is 42."
    assert ask("read_file", path="README.md", first_line=9) == "README.md has no line 9."
    assert ask("read_file", path="package") == "'package' is no file of at most 2,000,000 bytes."
    assert ask("read_file", path="broken.txt") == "'broken.txt' is no text."


def test_a_large_file_is_cut(ask: Any, folder: Path) -> None:
    (folder / "long.txt").write_text(("x" * 99 + "\n") * 9_000, encoding="utf-8")
    assert len(ask("read_file", path="long.txt", last_line=9_000)) == 20_000
    (folder / "huge.txt").write_bytes(b"x" * 2_000_001)
    assert "at most" in ask("read_file", path="huge.txt")
