"""The Makefile, without installing anything: which Python it takes, and that it reads `.env`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLD = "#!/bin/sh\nexit 1  # what the question for its version gives on an older Python\n"
HALF = '#!/bin/sh\n[ "$1" = -c ] || { mkdir -p .venv/bin && touch .venv/bin/python && exit 3; }\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed.")


def made(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    environment = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "MAKEFLAGS")}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("target", ["run", "test", "test-all", "test-langchain-next"])
def test_a_python_that_is_not_admitted_is_told_in_a_line_and_leaves_nothing(target: str, tmp_path: Path) -> None:
    old = script(tmp_path / "an old" / "python3.10", OLD)
    done = made(tmp_path, target, f"PYTHON={old}")
    assert done.returncode == 2
    assert done.stdout == (
        f"Python 3.11, 3.12 or 3.13 is needed: {old} is none of them. Install one or name it: make {target} "
        "PYTHON=/path/to/python3.12\n"
    )
    assert not list(tmp_path.glob(".venv*"))


def test_an_environment_that_could_not_be_made_is_removed(tmp_path: Path) -> None:
    assert made(tmp_path, "run", f"PYTHON={script(tmp_path / 'half', HALF)}").returncode == 2
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("env", "told"), [(None, "key: none"), ("OPENAI_API_KEY=of-the-file\n", "key: of-the-file")])
def test_run_reads_a_file_of_settings_where_there_is_one(env: str | None, told: str, tmp_path: Path) -> None:
    if env is not None:
        (tmp_path / ".env").write_text(env, encoding="utf-8")
    script(tmp_path / ".venv/bin/langchain-tiered", '#!/bin/sh\necho "key: ${OPENAI_API_KEY:-none}"\n')
    script(tmp_path / ".venv/bin/python", "")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv/.cli").touch()
    done = made(tmp_path, "run", f"PYTHON={sys.executable}", "--assume-old=pyproject.toml")
    assert done.stdout.splitlines() == [told], done.stderr


def test_the_file_of_settings_that_is_copied_changes_nothing_until_it_is_filled_in() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
