"""`foreshock serve`: score texts and read the store over HTTP, until stopped.

A stop drains: no new connection is taken, requests that have begun are answered, and streams of events end. The server
loads the encoder only if it scores and one of its keys may, and opens the store only if one of its keys may read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from foreshock.observability import metrics
from foreshock.observability.http import serving
from foreshock.observability.log import log
from foreshock.processes.stop import Stop
from foreshock.serving.errors import ServingError
from foreshock.serving.keys import Keyring
from foreshock.serving.settings import KeySettings, ServeSettings
from foreshock.settings.models import Settings

if TYPE_CHECKING:
    from foreshock.serving.app import Parts

DRAIN_SECONDS = 10
"""How long a stop waits for requests that have begun."""
CONNECTIONS = 1000
"""The most connections at a time. One more is answered with 503."""
LOOK_SECONDS = 0.1
"""How often the server looks whether a stop is wanted."""


def serve(
    settings: Settings, *, stop: Stop | None = None, on_listening: Callable[[str], None] = lambda url: None
) -> None:
    """Answer requests until `stop` is set. `on_listening` is called with the server's URL.

    Raises:
        ServingError: other machines could reach the server and it has no keys, the address cannot be used, or FastAPI
            is missing.
        ModelError: the weights cannot be used. What can be seen without loading them is seen before it listens.
    """
    wanted = settings.serve
    refuse_unsafe(wanted, settings.api_keys)
    uvicorn = _uvicorn()
    keyring = Keyring(settings.api_keys)
    if wanted.score and keyring.may("score"):
        # It imports tokenizers, which a server that scores nothing does not need.
        from foreshock.model.storage import check_also, check_weights

        # Before a client can connect: loading takes seconds, and misspelt weights will not be there later either.
        check_weights(settings.model.weights, settings.model.labels)
        check_also(settings.model.weights, settings.model.also)
    from foreshock.serving.app import application

    parts = _parts(settings, keyring)
    stop = stop or Stop()
    failures = list[BaseException]()

    def failed(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    with serving(settings.metrics, "serve"), _listening(wanted) as listener:
        config = uvicorn.Config(
            application(wanted, keyring, parts, failed=failed),
            access_log=False,
            date_header=False,
            lifespan="on",
            limit_concurrency=CONNECTIONS,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ws="none",
        )
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        log().info("serving", url=url, scores=parts.batcher is not None, reads=parts.served is not None)
        on_listening(url)
        asyncio.run(_until_stopped(uvicorn.Server(config), listener, stop, parts))
    log().info("stopped")
    if failures:
        raise failures[0]


def refuse_unsafe(settings: ServeSettings, keys: Sequence[KeySettings]) -> None:
    """Raise `ServingError` if other machines could ask without a key, or two keys have one name."""
    names = [key.name for key in keys]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ServingError(f"Two API keys are called {twice!r}. Rename one.")
    if not keys and not settings.is_local:
        raise ServingError(
            f"Other machines can reach {settings.host}, and there are no API keys: anyone could read all stories. Make "
            "a key with `foreshock serve --new-key NAME`, or listen on 127.0.0.1."
        )


def _parts(settings: Settings, keyring: Keyring) -> Parts:
    from foreshock.serving.app import Parts
    from foreshock.serving.batching import Batcher
    from foreshock.serving.events import Watch
    from foreshock.serving.store import ServedStore

    def load() -> Any:
        from foreshock.model.scorer import load_scorer

        return load_scorer(**settings.model.loading())

    scores = settings.serve.score and keyring.may("score")
    served = ServedStore(settings.store.url) if keyring.may("read") else None
    return Parts(
        Batcher(load, most_waiting=settings.serve.waiting_texts) if scores else None,
        served,
        None if served is None else Watch(served, most=settings.serve.event_clients),
    )


async def _until_stopped(server: Any, listener: socket.socket, stop: Stop, parts: Parts) -> None:
    server.capture_signals = _no_signals  # `stop` is set by them
    running = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    while not stop.wanted and not running.done():
        await asyncio.sleep(LOOK_SECONDS)
    metrics.health.state("stopping")
    if parts.watch is not None:
        parts.watch.close()
    server.should_exit = True
    await running


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


@contextmanager
def _listening(settings: ServeSettings) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(found[4][:2], family=found[0], backlog=1024)
    except OSError as error:
        raise ServingError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}. Choose another address "
            "with --host and --port, or with host and port under [serve] in the settings."
        ) from None
    with listener:
        # asyncio sets this only on sockets that name TCP as their protocol, which `create_server` does not. Without it
        # an answer's second packet waits 40 ms for the client to acknowledge the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _uvicorn() -> Any:
    try:
        import fastapi  # noqa: F401 - whether it is there
        import uvicorn
    except ImportError as error:
        raise ServingError(f"`foreshock serve` needs {error.name}: pip install 'foreshock[serve]'") from None
    return uvicorn
