"""Where the interpreters are: on the path, else in pyenv, each one tried before it is believed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSIONS = ("3.11", "3.12", "3.13")
# `ensurepip` makes the environment's pip; some systems leave it out of their own Python.
_IS_ONE = "import sys, ensurepip; sys.exit('{}.{}'.format(*sys.version_info) != sys.argv[1])"


def interpreter(version: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the first interpreter of a version, such as `3.12`, that runs and can make environments.

    A shim of pyenv stands on the path for each version that is installed, and fails for those that are not chosen.
    """
    return next((path for path in _candidates(version, environ) if _is_one(path, version)), None)


def _candidates(version: str, environ: Mapping[str, str]) -> Iterator[str]:
    yield sys.executable
    for folder in environ.get("PATH", "").split(os.pathsep):
        yield str(Path(folder) / f"python{version}")
    pyenv = Path(environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python{version}"), reverse=True))


def _is_one(path: str, version: str) -> bool:
    try:
        tried = subprocess.run([path, "-c", _IS_ONE, version], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
