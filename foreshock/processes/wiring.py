"""What every process puts together: time rules, the scorer, the sender."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from foreshock.monitor.store import outbox, settings_versions
from foreshock.monitor.store.database import writing
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.processes.batches import StoryScorer
from foreshock.settings.models import Settings

if TYPE_CHECKING:
    from foreshock.monitor.delivery.sender import Sender


MakeScorer = Callable[[], StoryScorer]


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let Python look for cycles more rarely: rows are many, live shortly and hold none, and looking took a tenth."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def sending(
    settings: Settings, engine: Engine, *, waited_for: bool, may_send: Callable[[], bool] = lambda: True
) -> Sender:
    """The sender to the settings' receivers; where its end is waited for, it gives up sooner. `may_send`: whether it
    is still this process's task."""
    from foreshock.monitor.delivery import receivers
    from foreshock.monitor.delivery.sender import LIVE, WAITED_FOR, Sender

    found = receivers(settings.webhooks, settings.messages)
    retries = WAITED_FOR if waited_for else LIVE
    return Sender(
        engine,
        found,
        external_url=settings.dashboard.external_url,
        retries=retries,
        may_send=may_send,
        on_attempt=metrics.delivery,
    )


def undelivered(connection: Any) -> list[str]:
    parked: dict[str, list[str]] = {}
    for row in outbox.deliveries(connection, state="parked"):
        parked.setdefault(row["receiver"], []).append(row["last_error"])
    return [f"Parked deliveries to {name}: {len(errors)}, {errors[0]}." for name, errors in sorted(parked.items())]


def time_rules(settings: Settings) -> TimeRules:
    t = settings.time
    return TimeRules(bucket=t.bucket, lateness=t.lateness, max_staleness=t.max_staleness, stall_after=t.stall_after)


def bound_scorer(settings: Settings, engine: Engine, make: MakeScorer | None) -> StoryScorer:
    """The settings' scorer (or `make`'s), once the store is bound to its model."""
    if make is None:
        from foreshock.model.scorer import load_scorer

        scorer: StoryScorer = load_scorer(settings.model.weights, settings.model.device)
    else:
        scorer = make()
    with writing(engine) as connection:
        settings_versions.adopt_model(connection, scorer.identity)
    return scorer
