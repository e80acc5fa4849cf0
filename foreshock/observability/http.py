"""Serve `/metrics` for Prometheus, and `/healthz`, `/livez` and `/readyz` for health checks, beside the loop.

    with serving(settings.metrics, "worker"): ...

Nothing here can stop or slow a process: a port that is taken causes a warning, and what is served is in memory.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from foreshock.observability.log import log

SECONDS = 10.0
"""How long a connection may last, from its begin to the end of the answer, however many bytes come meanwhile."""
MOST_CONNECTIONS = 32
"""The most connections at a time. One more ends the oldest: who scrapes is quick, who attacks is slow."""
REQUEST_BYTES = 16 << 10
"""The most bytes of a request that are read."""


class MetricsSettings(BaseModel):
    """Where `run`, `worker`, `monitor` and `serve` show /metrics, /healthz, /livez and /readyz."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    listen: str = "127.0.0.1:9464"
    """Host and port, one for each process of a machine; ":9464" is all addresses, port 0 any that is free, "" none.
    Whoever reaches it may read it: it names partitions and receivers, and no story."""

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and _address(value) is None:
            raise ValueError('expected host:port, such as "127.0.0.1:9464", or "" for none')
        return value

    @property
    def address(self) -> tuple[str, int] | None:
        """Host ("" is all) and port; None: nothing is served."""
        return _address(self.listen)


def _address(text: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/]*)):(\d{1,5})", text)
    return None if found is None or int(found[3]) > 65_535 else (found[1] or found[2] or "", int(found[3]))


@contextmanager
def serving(settings: MetricsSettings, process: str) -> Iterator[tuple[str, int] | None]:
    """Serve while the context lasts; yields the host and port that it listens on, None if it does not.

    `process`: `run`, `worker`, `monitor` or `serve`, as `/healthz` calls it.
    """
    from foreshock.observability import metrics

    metrics.health.restart()
    address = settings.address
    server = None if address is None else _listen(address, process)
    if server is None:
        yield None
        return
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    host, port = server.server_address[:2]
    log().info("metrics", process=process, url=f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
    try:
        yield host, port
    finally:
        metrics.health.state("stopping")
        server.shutdown()
        server.server_close()
        thread.join()


def _listen(address: tuple[str, int], process: str) -> Any:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from prometheus_client.exposition import ThreadingWSGIServer

    host, port = address

    class Server(ThreadingWSGIServer):
        """A thread for each of a bounded number of connections, each for a bounded time."""

        request_queue_size = 128

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._begun: dict[socket.socket, float] = {}
            self._lock = threading.Lock()
            super().__init__(*args, **kwargs)

        def process_request(self, request: Any, client_address: Any) -> None:
            with self._lock:
                if len(self._begun) >= MOST_CONNECTIONS:
                    _hang_up(next(iter(self._begun)))
                    self._begun.pop(next(iter(self._begun)))
                self._begun[request] = time.monotonic()
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            with self._lock:
                self._begun.pop(request, None)
            super().shutdown_request(request)

        def service_actions(self) -> None:
            """End connections that have lasted too long. `serve_forever` calls this several times a second."""
            until = time.monotonic() - SECONDS
            with self._lock:
                for request in [r for r, begun in self._begun.items() if begun < until]:
                    del self._begun[request]
                    _hang_up(request)

        def handle_error(self, *_: Any) -> None:
            """Ignore clients that hang up."""

    class Quiet(WSGIRequestHandler):
        """Reads a bounded request, and does not log it."""

        timeout = SECONDS

        def setup(self) -> None:
            super().setup()
            self.rfile = _Bounded(self.rfile)  # type: ignore[assignment]

        def log_message(self, *_: Any) -> None:
            pass

    try:
        family, *_, where = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        Server.address_family = family
        return make_server(str(where[0]), port, application(process), Server, handler_class=Quiet)
    except OSError as error:
        log().warning(
            "no metrics: the address cannot be used; give each process of a machine its own "
            '([metrics] listen, or FORESHOCK_METRICS__LISTEN), or "" for none',
            listen=f"{host}:{port}",
            error=error.strerror or str(error),
        )
        return None


class _Bounded:
    """The first bytes of a request; then it is at its end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = REQUEST_BYTES

    def readline(self, size: int = -1) -> bytes:
        line: bytes = self._stream.readline(self._left if size < 0 else min(size, self._left))
        self._left -= len(line)
        return line

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()


def _hang_up(connection: socket.socket) -> None:
    """End a connection that another thread reads: its wait ends at once, and that thread closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def application(process: str) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Return the WSGI application behind these paths."""
    from prometheus_client import make_wsgi_app

    from foreshock.observability import metrics

    exposition = make_wsgi_app()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return exposition(environ, start_response)  # type: ignore[no-any-return]
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, kind, text = "405 Method Not Allowed", "text/plain", "GET only\n"
        elif path == "/healthz":
            report = {"process": process, **metrics.health.report()}
            status = "200 OK" if report["status"] == "ok" else "503 Service Unavailable"
            kind, text = "application/json", json.dumps(report) + "\n"
        elif path == "/readyz":
            unready = metrics.health.unready()
            status = "503 Service Unavailable" if unready else "200 OK"
            ready = {"process": process, "ready": not unready, "reasons": unready}
            kind, text = "application/json", json.dumps(ready) + "\n"
        elif path == "/livez":
            stuck = metrics.health.stuck()
            status = "503 Service Unavailable" if stuck else "200 OK"
            kind, text = (
                "application/json",
                json.dumps({"process": process, "alive": not stuck, "reason": stuck}) + "\n",
            )
        else:
            status, kind, text = "404 Not Found", "text/plain", "/metrics, /healthz, /livez or /readyz\n"
        body = text.encode()
        start_response(
            status, [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        )
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return answer
