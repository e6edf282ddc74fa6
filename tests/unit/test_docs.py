"""The README and the pages: every link leads somewhere, every block of Python compiles, the ways in really run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import langchain_tiered
from langchain_tiered.testing.fixtures import offline_server

__all__ = ["offline_server"]  # the fixture, as the plugin would give it

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
]
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^ *from (?P<module>langchain_tiered[\w.]*) import ", re.MULTILINE)
REFERENCE = re.compile(r"^::: (?P<module>[\w.]+)$", re.MULTILINE)

# What these hold is public under `langchain_tiered`; the command line is no module to import from.
SHOWN_ELSEWHERE = {"chat_model", "cli", "middleware", "orchestrator"}


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _leads_nowhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    to = (page.parent / path).resolve() if path else page
    return not to.exists() or bool(anchor and to.suffix == ".md" and anchor not in _anchors(to))


def _python(text: str) -> list[str]:
    return [inspect.cleandoc(f"\n{fence['text']}") for fence in FENCE.finditer(text) if fence["language"] == "python"]


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [link["target"] for link in LINK.finditer(text) if not re.match(r"[a-z]+:", link["target"])]
    assert [target for target in targets if _leads_nowhere(page, target)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if _python(page.read_text(encoding="utf-8"))], ids=_named)
def test_every_block_of_python_on_a_page_compiles(page: Path) -> None:
    for block in _python(page.read_text(encoding="utf-8")):
        compile(block, _named(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def test_each_block_of_the_readme_runs_without_a_key_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    names: dict[str, Any] = {}
    for place, block in enumerate(_python((ROOT / "README.md").read_text(encoding="utf-8"))):
        code = compile(block, f"README, block {place}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        made = eval(code, names)  # noqa: S307  (our own README)
        if inspect.iscoroutine(made):
            asyncio.run(made)
    said = capsys.readouterr().out
    assert re.findall(r"^(\w+): (\w+)", said, re.MULTILINE) == [
        ("model", "nano"),
        ("middleware", "mini"),
        ("agent", "mini"),
        ("nodes", "flagship"),
    ]


def _environment(server: Any) -> dict[str, str]:
    """Return what sends the default tiers to a server of ours."""
    return {**os.environ, "OPENAI_API_KEY": "offline", "OPENAI_BASE_URL": server.url, "LANGSMITH_TRACING": "false"}


@pytest.mark.parametrize("name", ["cascade", "durability", "orchestrator", "review"])
def test_the_blocks_of_a_page_run_one_after_the_other(name: str, offline_server: Any, tmp_path: Path) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text("\n\n".join(_python((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))), "utf-8")
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env=_environment(offline_server()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_tests_that_a_page_shows_pass_as_they_stand(tmp_path: Path) -> None:
    (plugins, *tests) = _python((ROOT / "docs" / "testing.md").read_text(encoding="utf-8"))
    (tmp_path / "conftest.py").write_text(plugins, "utf-8")
    (tmp_path / "test_page.py").write_text("\n\n\n".join(tests), "utf-8")
    # One wants a recording, which is made with a key: that it says so shows that it runs.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE) == ["test_page.py::test_a_refund"], (
        done.stdout
    )
    assert "CassetteError" in done.stdout
    assert re.search(r"\b[1-9]\d passed", done.stdout)


def test_pages_with_blocks_are_run_by_some_test() -> None:
    run_here = {"cascade.md", "durability.md", "orchestrator.md", "review.md", "testing.md"}
    shown = {page.name for page in (ROOT / "docs").glob("*.md") if _python(page.read_text(encoding="utf-8"))}
    assert shown == run_here | {"integrations.md"}, "tests/vendors runs integrations.md"


def test_every_public_module_and_each_that_a_page_imports_from_is_in_the_reference() -> None:
    pages = {
        reference["module"]
        for page in (ROOT / "docs" / "api").glob("*.md")
        for reference in REFERENCE.finditer(page.read_text(encoding="utf-8"))
    }
    package = Path(langchain_tiered.__file__).parent
    imported = {
        found["module"]
        for shown in [*PAGES, *(ROOT / "examples").glob("*.py")]
        for found in IMPORT.finditer(shown.read_text(encoding="utf-8"))
    }
    rooms = {path.parent.name for path in package.glob("*/__init__.py") if not path.parent.name.startswith("_")}
    assert pages >= {f"langchain_tiered.{room}" for room in rooms - SHOWN_ELSEWHERE} | imported


def test_no_page_of_the_site_is_left_out_of_its_navigation() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/]+\.md\b", settings))
    assert named == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def test_the_workflow_parses_names_targets_that_exist_and_asks_for_no_more_than_to_read() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    wanted = set(re.findall(r"make ([a-z-]+)", text))
    assert wanted >= {"check", "docs", "release-check", "test", "test-all"}
    assert [target for target in wanted if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
