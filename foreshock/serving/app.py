"""Put the application together: the gate, the routes, and the tasks that run beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import Depends, FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from foreshock import __version__
from foreshock.observability import metrics
from foreshock.serving import answers, events, reading, scoring
from foreshock.serving.batching import Batcher
from foreshock.serving.errors import Refused
from foreshock.serving.gate import Gate
from foreshock.serving.keys import Keyring
from foreshock.serving.rates import Rates
from foreshock.serving.settings import ServeSettings
from foreshock.serving.store import ServedStore

QUERIES = 8
"""Queries that run at once, each in a thread with a connection of its own. More wait for their turn."""
TURN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server answers with: the encoder, None if it does not score, and the store, None if nobody may read it."""

    batcher: Batcher | None
    served: ServedStore | None
    watch: events.Watch | None

    def not_ready(self) -> list[str]:
        """Return why the server cannot answer everything yet, or any more."""
        found = metrics.health.reasons()
        if self.batcher is not None and not self.batcher.ready:
            found.append("the encoder is being loaded")
        if self.served is not None and not self.served.answers and metrics.health.is_up("store"):
            found.append("the store was not asked yet")
        return found


def application(
    settings: ServeSettings, keyring: Keyring, parts: Parts, *, failed: Callable[[BaseException], None]
) -> Gate:
    """Return the ASGI application. `failed` is called with what ends a task that has to run, such as a `ModelError`."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = QUERIES
        tasks = [_task(_turn(), failed)]
        tasks += [_task(part.run(), failed) for part in (parts.batcher, parts.watch) if part is not None]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if parts.served is not None:
                parts.served.close()

    app = FastAPI(
        title="Foreshock",
        version=__version__,
        summary="Scores of texts, and what the monitor stored: topics, series, alerts, incidents and stories.",
        # The pages for people would load scripts from other servers.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={
            RequestValidationError: answers.wrong_request,
            Refused: answers.refused,
            HTTPException: answers.unknown,
        },
    )
    # The gate checks keys. This only says in /openapi.json how they are sent.
    keyed = [Depends(HTTPBearer(auto_error=False))]
    if parts.batcher is not None:
        app.include_router(scoring.router(parts.batcher, most=settings.texts_per_request), dependencies=keyed)
    if parts.served is not None and parts.watch is not None:
        app.include_router(reading.router(parts.served), dependencies=keyed)
        app.include_router(events.router(parts.watch), dependencies=keyed)
    _add_health(app, parts)
    rates = Rates(settings.requests_per_minute)
    return Gate(app, keyring=keyring, rates=rates, body_bytes=settings.body_bytes)


def _add_health(app: FastAPI, parts: Parts) -> None:
    failing: dict[int | str, dict[str, Any]] = {503: {"description": "It is not; the reasons say why."}}

    @app.get("/healthz", responses=failing)
    async def healthz() -> Response:
        """Say whether the process is well."""
        return _health(metrics.health.report()["reasons"])

    @app.get("/readyz", responses=failing)
    async def readyz() -> Response:
        """Say whether the process can answer: the encoder is loaded, the store answers, and it is not stopping."""
        return _health(parts.not_ready())


def _health(reasons: list[str]) -> Response:
    # Anyone may ask this, so it names what fails, and not what the database said.
    shown = [reason.partition(":")[0] + " does not answer" if ":" in reason else reason for reason in reasons]
    return answers.json({"status": "failing" if shown else "ok", "reasons": shown}, 503 if shown else 200)


async def _turn() -> None:
    while True:
        metrics.health.turned()
        await asyncio.sleep(TURN_SECONDS)


def _task(work: Coroutine[Any, Any, None], failed: Callable[[BaseException], None]) -> asyncio.Task[None]:
    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(ended)
    return task
