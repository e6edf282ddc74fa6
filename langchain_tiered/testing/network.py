"""Keep tests off the network: what goes anywhere but to this machine fails at once, and names where it went."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from langchain_tiered.errors import TieredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_TOLD = (
    "The network is blocked, and something tried to reach {!r}. "
    "A call went out beside its cassette, or a test needs one."
)


class NetworkBlockedError(TieredError, RuntimeError):
    """Something tried to reach another machine while the network was blocked."""


@contextmanager
def block_network() -> Iterator[None]:
    """Let sockets of this process reach this machine only, in all threads and event loops.

    Raises:
        NetworkBlockedError: In whatever looks up or connects to another host, and once more at the end: a client takes
            it for an outage, and a fallback may swallow it.
    """
    tried: list[NetworkBlockedError] = []

    def expect_local(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        if not _is_local(name):
            tried.append(NetworkBlockedError(_TOLD.format(name)))
            raise tried[-1]

    with (
        patch.object(socket.socket, "connect", _guarded(socket.socket.connect, expect_local)),
        patch.object(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex, expect_local)),
        patch.object(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo, expect_local)),
    ):
        try:
            yield
        except BaseException as error:
            if tried:
                raise NetworkBlockedError(str(tried[0])) from error
            raise
    if tried:
        raise NetworkBlockedError(str(tried[0])) from tried[0]


def _guarded(connect: Callable[..., Any], expect_local: Callable[[object], None]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            expect_local(address[0])
        return connect(self, address)

    return guarded


def _guarded_lookup(lookup: Callable[..., Any], expect_local: Callable[[object], None]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        expect_local(host)
        return lookup(host, *args, **kwargs)

    return guarded


def _is_local(name: str) -> bool:
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return name == "localhost"
    return address.is_loopback or address.is_unspecified
