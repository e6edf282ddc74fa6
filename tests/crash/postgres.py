"""A Postgres server of one's own, from the system's package: on a free port of this machine, gone after the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's packages put the programs, a folder for each version."""
OWNER = "postgres"
"""Who runs it where the test is root's: Postgres refuses root, and Debian's package makes this user."""
START_S = 30.0


def programs() -> Path | None:
    """Return the folder of the server's programs, the newest version first; `None` where there is none."""
    versions = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: path.parts[-3].zfill(3), reverse=True)
    found = next(iter(versions), None) or shutil.which("postgres")
    return None if found is None else Path(found).parent


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """Run a server, and give its address."""
    folder, port = Path(tempfile.mkdtemp(prefix="crash-postgres-")), _free_port()
    try:
        user: dict[str, Any] = {"user": OWNER, "group": OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
        if user:
            shutil.chown(folder, OWNER, OWNER)
        data = str(folder / "data")
        made = [
            str(programs / "initdb"),
            "--no-sync",
            "--auth=trust",
            "--username=crash",
            "--encoding=UTF8",
            "-D",
            data,
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **user)
        started = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(started, stdout=log, stderr=log, cwd=folder, **user)
        try:
            _wait(server, port, folder / "log")
            yield f"postgresql://crash@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(timeout=START_S)
    finally:
        shutil.rmtree(folder)


def _wait(server: subprocess.Popen[Any], port: int, log: Path) -> None:
    until = time.monotonic() + START_S
    while "ready to accept connections" not in log.read_text():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < until, f"Postgres does not listen on port {port}.\n{log.read_text()}"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
