"""The command line: `langchain-tiered run` and `langchain-tiered route`. The one room that prints."""

from __future__ import annotations

import sys

from langchain_tiered.errors import MissingExtraError

__all__ = ["main"]

_EXTRA = frozenset({"typer", "rich", "click"})
_USAGE = 2


def main() -> None:
    """Run the command line. Without the extra `cli` it says how to install it, and exits with 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a narrow encoding must not end a run that is paid for
    try:
        from langchain_tiered.cli.commands import app  # noqa: PLC0415  (the extra may be missing)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(f"{MissingExtraError('cli', 'The command line')}\n")
        raise SystemExit(_USAGE) from None
    app()
