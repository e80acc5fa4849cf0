"""What several processes put together: time rules, the worker, the scorer, the sender."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine

from foreshock.model.settings import ModelSettings
from foreshock.monitor.store import deliveries, settings_versions, topic_labels
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.topics.critical import CriticalWords
from foreshock.monitor.topics.matching import matcher_of
from foreshock.monitor.topics.names import Names
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.processes.batches import BatchSize, Worker
from foreshock.processes.models import Models, StoryScorer
from foreshock.settings.models import Settings
from foreshock.settings.versions import OF_MODEL, routing, shaping, topic_rules
from foreshock.settings.versions import topic_labels as labels_of

if TYPE_CHECKING:
    from foreshock.model.score_cache import ScoreCache
    from foreshock.monitor.delivery.sender import Sender, Sent
    from foreshock.monitor.errors import Undelivered
    from foreshock.monitor.store.deliveries import Due
    from foreshock.processes.story_traces import StoryTraces


MakeScorer = Callable[[], StoryScorer]
MakeCache = Callable[[], "ScoreCache"]
KAFKA_TICK_SECONDS = 0.25
"""A loop over Kafka turns all the time; it looks this often at which sources are idle."""


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let Python look for reference cycles more rarely, and only among what is made from now on.

    Rows are many, short-lived and free of cycles, and the search took a tenth of a replay's time. One closing makes up
    to half a million objects, and frees them by itself.
    """
    before = gc.get_threshold()
    gc.set_threshold(500_000, 50, 100)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def adopt(connection: Connection, settings: Settings, *, resuming: str | None = None) -> int:
    """Put settings into force in the store, with the labels of their topics. Return their number.

    `resuming`: the name of an unfinished source. Raises `SettingsDiffer` and `WatchlistError`.
    """
    number = settings_versions.adopt(connection, shaping(settings), resuming=resuming)
    _say_other_model(connection, settings)
    topic_labels.keep(connection, labels_of(settings))
    return number


def _say_other_model(connection: Connection, settings: Settings) -> None:
    """Log it if the settings name an earlier model of the store: the store says which one scores."""
    now = settings_versions.model_now(connection)
    if now is not None and with_weights(settings.model, now).loading() != settings.model.loading():
        log().warning(
            "the store has switched to another model, which scores: name it in the settings, too",
            weights=now["weights"],
            settings=settings.model.weights,
        )


def sending(
    settings: Settings,
    engine: Engine,
    *,
    waited_for: bool,
    may_send: Callable[[], bool] = lambda: True,
    digests: bool = True,
    traces: StoryTraces | None = None,
) -> Sender:
    """Return the sender to the settings' receivers.

    `waited_for`: somebody waits until all is delivered, so it gives up sooner. `may_send`: whether sending is still
    this process's task. `digests`: whether it sends those of stated times. `traces`: of stories that messages show.
    Raises `WatchlistError`.
    """
    from foreshock.monitor.delivery import receivers
    from foreshock.monitor.delivery.sender import LIVE, WAITED_FOR, Sender

    def attempted(item: Due, sent: Sent, seconds: float, error: Undelivered | None) -> None:
        metrics.delivery(item.receiver, sent, seconds)
        if traces is not None:
            traces.delivered(item, seconds, error)

    found = receivers(settings.webhooks, settings.messages, settings.receivers)
    metrics.receivers({receiver.name for receiver in found})
    retries = WAITED_FOR if waited_for else LIVE
    return Sender(
        engine,
        found,
        external_url=settings.dashboard.external_url,
        retries=retries,
        may_send=may_send,
        on_attempt=attempted,
        on_state=metrics.receiver,
        on_trouble=lambda why: metrics.health.trouble("delivering", why and f"alerts are not delivered: {why}"),
        routing=routing(settings),
        digests=settings.digests if digests else (),
    )


def undelivered(connection: Any) -> list[str]:
    """Return a sentence for each receiver with parked deliveries."""
    parked: dict[str, list[str]] = {}
    for row in deliveries.listed(connection, state="parked"):
        parked.setdefault(row["receiver"], []).append(row["last_error"])
    return [f"Parked deliveries to {name}: {len(errors)}, {errors[0]}." for name, errors in sorted(parked.items())]


def waiting(connection: Any) -> list[str]:
    """Return a sentence for each receiver with messages that wait for it."""
    receivers = Counter(receiver for _, _, receiver in deliveries.attempts(connection, "waiting"))
    return [
        f"Messages that still wait for {name}: {count}. `run` or `monitor` goes on to send them."
        for name, count in sorted(receivers.items())
    ]


def kept_back(connection: Any) -> list[str]:
    """Return a sentence for each receiver with messages that are muted."""
    muted: dict[str, list[str]] = {}
    for row in deliveries.listed(connection, state="muted"):
        muted.setdefault(row["receiver"], []).append(row["next_attempt_at"] or "")
    return [
        f"Messages that are muted for {name}: {len(times)}, until {max(times)}. `run` or `monitor` delivers them then."
        for name, times in sorted(muted.items())
    ]


def time_rules(settings: Settings) -> TimeRules:
    """Return the rules of time that the settings state."""
    t = settings.time
    return TimeRules(
        bucket=t.bucket,
        lateness=t.lateness,
        max_staleness=t.max_staleness,
        stall_after=t.stall_after,
        max_ahead=t.max_ahead,
        silent_after=t.silent_after,
    )


def worker(
    settings: Settings,
    engine: Engine,
    number: int,
    make_scorer: MakeScorer | None,
    *,
    size: BatchSize | None = None,
    kept: MakeCache | None = None,
) -> Worker:
    """Return a worker for the settings. `number`: of their version in the store. `size`: when a batch is full.

    `kept`: makes a cache of scores for each model that is loaded.
    """
    rules = topic_rules(settings)
    matcher = matcher_of(rules, per_story=settings.limits.topics_per_story)
    return Worker(
        matcher,
        models(settings, engine, make_scorer, kept),
        time_rules(settings),
        settings=number,
        size=size,
        tickers=settings.limits.tickers_per_story,
        per_company=settings.model.per_company,
        critical=CriticalWords(settings.critical, rules, matcher) if settings.critical else None,
        names=Names(rules) if settings.alerts.new_names > 0 else None,
    )


def loop_timing(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments of a live `Loop` that [kafka] decides."""
    kafka = settings.kafka
    if kafka is None:
        return {}
    return {"idle_after": kafka.idle_after, "linger": kafka.max_wait, "tick_seconds": KAFKA_TICK_SECONDS}


def models(settings: Settings, engine: Engine, make: MakeScorer | None, kept: MakeCache | None = None) -> Models:
    """Return the models that score the stories of a store: what it was begun with, and those of its switches.

    `make`: makes the first one, in place of the settings' weights. `kept`: makes a cache of scores for each.
    """
    how: dict[str, Any] = {} if kept is None else {"kept": kept}
    found = Models(
        lambda: _bound(engine, None, make or (lambda: scorer_of(_begun(settings.model, engine), **how))),
        lambda switch: _bound(engine, switch, lambda: scorer_of(with_weights(settings.model, switch.settings), **how)),
    )
    with reading(engine) as connection:
        found.follow(connection)
    return found


def scorer_of(model: ModelSettings, kept: MakeCache | None = None) -> StoryScorer:
    """Load the scorer that [model] describes. `kept`: makes its cache of scores. Raises ModelError."""
    from foreshock.model.scorer import load_scorer

    found: StoryScorer = load_scorer(**model.loading(), kept=None if kept is None else kept())
    return found


def with_weights(model: ModelSettings, stored: Mapping[str, Any]) -> ModelSettings:
    """Return [model] with the weights that a store has recorded. Where and how fast it computes stays."""
    given = ModelSettings(**{key: value for key, value in stored.items() if key in OF_MODEL})
    return model.model_copy(update=given.model_dump(include=OF_MODEL - {"per_company"}))


def _begun(model: ModelSettings, engine: Engine) -> ModelSettings:
    with reading(engine) as connection:
        begun = settings_versions.model_begun(connection)
    return model if begun is None else with_weights(model, begun)


def _bound(engine: Engine, switch: Switch | None, make: MakeScorer) -> StoryScorer:
    """Return what `make` makes, and bind the store to its model.

    Raises:
        SettingsDiffer: the store's stories were scored by another model.
        ModelError: the weights cannot be used.
    """
    scorer = make()
    with writing(engine) as connection:
        card = getattr(scorer, "reference", None)  # those of other houses, and of tests, have none
        figures = None if card is None else card.without_tokens()
        settings_versions.adopt_model(connection, scorer.identity, switch, figures)
    return scorer
