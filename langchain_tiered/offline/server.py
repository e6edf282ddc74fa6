"""A local server that speaks OpenAI's protocol, in front of the offline models or of a script, and breaks on demand.

```python
with OfflineServer(faults=Faults.script([{"call": 1, "model": "mini", "fault": "rate_limit"}])) as server:
    model = ChatOpenAI(model="gpt-5.4-mini", base_url=server.url, api_key="offline")
```

It listens on the loopback interface only, takes any key, and tells its calls and tokens at `/_stats`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from contextlib import suppress
from ipaddress import ip_address
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

from langchain_tiered.errors import ConfigurationError, MissingExtraError
from langchain_tiered.offline.provider import ENDPOINTS, Provider
from langchain_tiered.offline.replies import refused
from langchain_tiered.offline.wire import WireError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtraError("server", "The offline server") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from langchain_core.language_models import BaseChatModel
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from langchain_tiered.offline.faults import Faults
    from langchain_tiered.offline.provider import Entries
    from langchain_tiered.offline.replies import Reply
    from langchain_tiered.offline.wire import Api

    Close = Callable[[Scope], None]

_BACKLOG = 1024
_LAUNCHED = 1_773_705_600  # 17 March 2026


def create_app(
    *,
    models: Mapping[str, BaseChatModel] | None = None,
    script: Entries | None = None,
    faults: Faults | None = None,
) -> Starlette:
    """Return the server as an ASGI app, for an ASGI server of your own.

    There, a dropped connection is an exception of the app, which the server turns into what it likes; `OfflineServer`
    really closes it.

    Args:
        models: The models that answer, by the names they are served under. By default the offline models, or, with a
            script, none.
        script: Answers that come first, in the order given; see `Script`.
        faults: When to break, and how.
    """
    return _app(Provider(models=models, script=script, faults=faults), _abort)


class OfflineServer:
    """The server in a thread of this process, between `__enter__` and `__exit__`.

    ```python
    with OfflineServer(script=[{"text": "Yes."}]) as server:
        model = ChatOpenAI(model="gpt-5.4-nano", base_url=server.url, api_key="offline")
    ```

    Args:
        models: The models that answer; see `create_app`.
        script: Answers that come first; see `create_app`.
        faults: When to break, and how.
        host: A name or address of the loopback interface.
        port: The port, or `0` for a free one.
        keep_alive: Whether a connection outlives its reply. `ChatOpenAI` shares connections between event loops; where
            each test has a loop of its own, one that was kept fails with "Event loop is closed".

    Raises:
        ConfigurationError: If the host is not of the loopback interface. On entering, if the port is in use.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, BaseChatModel] | None = None,
        script: Entries | None = None,
        faults: Faults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        keep_alive: bool = False,
    ) -> None:
        _check_loopback(host)
        self._provider = Provider(models=models, script=script, faults=faults)
        self._host, self._port, self._keep_alive = host, port, keep_alive
        self._server: _Server | None = None
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, for `OPENAI_BASE_URL`: `http://127.0.0.1:<port>/v1`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/v1"

    @property
    def models(self) -> list[str]:
        """The names of the models that are served."""
        return self._provider.models

    @property
    def stats(self) -> dict[str, Any]:
        """What `/_stats` tells; see `Provider.stats`."""
        return self._provider.stats()

    def reset(self) -> None:
        """Count from nothing again, and begin the script and the plan of faults anew; `POST /_reset` does the same."""
        self._provider.reset()

    def __enter__(self) -> Self:
        bound = _bound(self._host, self._port)
        self._port = bound.getsockname()[1]
        self._server = server = _Server(self._provider, keep_alive=self._keep_alive)
        self._thread = Thread(target=server.run, args=([bound],), name=f"offline-server-{self._port}", daemon=True)
        self._thread.start()
        server.ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()


def serve(*, port: int, faults: Faults | None = None, started: Callable[[OfflineServer], None]) -> None:
    """Serve the offline models until Ctrl-C.

    Args:
        port: The port, or `0` for a free one.
        faults: When to break, and how.
        started: Called with the server when it listens.

    Raises:
        ConfigurationError: If the port is in use.
    """
    with suppress(KeyboardInterrupt), OfflineServer(port=port, faults=faults, keep_alive=True) as server:
        started(server)
        Event().wait()


class _Server(uvicorn.Server):
    """Says when it listens, closes single connections, and stops without waiting for the clients."""

    def __init__(self, provider: Provider, *, keep_alive: bool) -> None:
        # Not `log_config`, which is the whole process's: only what goes wrong is logged.
        super().__init__(
            uvicorn.Config(
                _app(provider, self.close),
                loop="asyncio",  # uvloop answers no more, and its slowest replies are slower
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                headers=[] if keep_alive else [("connection", "close")],
                backlog=_BACKLOG,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )
        self.ready = Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    def stop(self) -> None:
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self.close)

    def close(self, scope: Scope | None = None) -> None:
        """Close the connection of a request, after what has been written to it; or all connections."""
        for connection in list(self.server_state.connections):
            if scope is None or getattr(connection, "client", None) == scope["client"]:
                connection.transport.close()


class _Endpoint:
    """One protocol as an ASGI app, without the costs of a request object."""

    def __init__(self, provider: Provider, api: Api, close: Close) -> None:
        self._provider, self._api, self._close = provider, api, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await self._carry_out(await self._provider.reply(self._api, body), scope, receive, send)

    async def _carry_out(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive)) if reply.pause_s or reply.ending == "drop" else None
        if reply.parts:
            await send({"type": "http.response.start", "status": reply.status, "headers": _headers(reply)})
        last = len(reply.parts) - 1 if reply.ending == "whole" else None
        for at, part in enumerate(reply.parts or (None,)):
            if gone is not None and reply.pause_s and (await asyncio.wait([gone], timeout=reply.pause_s))[0]:
                return  # nobody is listening any more
            if part is not None:
                await send({"type": "http.response.body", "body": part, "more_body": at != last})
        if gone is not None:
            await self._end(reply, scope, gone)

    async def _end(self, reply: Reply, scope: Scope, gone: asyncio.Future[None]) -> None:
        try:
            if reply.ending == "drop":
                self._close(scope)
                await gone
        finally:
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    """Wait until the client is gone, or the reply complete."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    length = [] if reply.length is None else [(b"content-length", b"%d" % reply.length)]
    return [*reply.headers, *length]


def _app(provider: Provider, close: Close) -> Starlette:
    async def models(_: Request) -> Response:
        listed = [
            {"id": name, "object": "model", "created": _LAUNCHED, "owned_by": "offline"} for name in provider.models
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def stats(_: Request) -> Response:
        return JSONResponse(provider.stats())

    async def reset(_: Request) -> Response:
        provider.reset()
        return JSONResponse(provider.stats())

    spoken = [Route(path, _Endpoint(provider, api, close), methods=["POST"]) for api, path in ENDPOINTS.items()]
    rest = [Route("/v1/models", models), Route("/_stats", stats), Route("/_reset", reset, methods=["POST"])]
    return Starlette(routes=[*spoken, *rest], exception_handlers={404: _unknown_url, 405: _unknown_url})


async def _unknown_url(request: Request, _: Exception) -> Response:
    reply = refused(WireError(404, f"Invalid URL ({request.method} {request.url.path})"))
    return Response(reply.parts[0], reply.status, dict(_told(reply.headers)))


def _told(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    return ((name.decode(), value.decode()) for name, value in headers)


def _abort(scope: Scope) -> None:
    raise ConnectionAbortedError(f"A fault dropped the connection of {scope.get('client')!r}.")


def _check_loopback(host: str) -> None:
    with suppress(ValueError):
        if host == "localhost" or ip_address(host).is_loopback:
            return
    raise ConfigurationError(
        f"The offline server listens on the loopback interface only, not on {host!r}. Use '127.0.0.1'."
    )


def _bound(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ConfigurationError: If the port cannot be had.
    """
    # With the protocol named, asyncio turns Nagle's algorithm off: with it each reply waits 40 ms.
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # where it would share the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        told = getattr(error, "strerror", None) or error
        why = "is in use" if getattr(error, "errno", None) == errno.EADDRINUSE else f"cannot be had: {told}"
        raise ConfigurationError(f"Port {port} {why}. Choose another one, or 0 for a free one.") from error
    return bound
