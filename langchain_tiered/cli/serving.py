"""The command that serves the offline models over OpenAI's protocol."""

from pathlib import Path
from typing import Annotated

import typer

from langchain_tiered.cli.setup import OFFLINE
from langchain_tiered.errors import TieredError
from langchain_tiered.offline.faults import Faults


def serve_offline(
    *,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port of 127.0.0.1; 0 takes a free one.")] = 8000,
    faults: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='When to break, and how: {"seed": 7, "rates": {"rate_limit": 0.05}, "script": [...]}.'
        ),
    ] = None,
) -> None:
    """Serve the offline models over OpenAI's protocol on this machine, until Ctrl-C."""
    try:
        from langchain_tiered.offline.server import OfflineServer, serve  # noqa: PLC0415  (the extra may be missing)

        plan = None if faults is None else Faults.read(faults)

        def tell(server: OfflineServer) -> None:
            typer.echo(f"Serving {', '.join(server.models)} at {server.url}: {OFFLINE}")
            typer.echo(f"export OPENAI_BASE_URL={server.url} OPENAI_API_KEY=offline    # Ctrl-C ends it")

        serve(port=port, faults=plan, started=tell)
    except TieredError as error:
        raise typer.BadParameter(str(error)) from None
