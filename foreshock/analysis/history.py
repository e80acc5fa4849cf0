"""Read a past that can be decided again: the decided buckets of a store or of a feed file, as arrays.

    with opened(settings, "sqlite:///news.db") as there:
        state = State.fresh(there.rules)
        for place in range(len(there.past.counts)):
            decision = there.past.decide(state, place)

Decided buckets hold everything that deciding reads, as it was known then, and they never change. So a past is read
once and can be decided many times, in memory. Nothing in it depends on later stories, and nothing is scored again. A
feed file is first replayed into a temporary store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine

from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.deciding import BucketCounts, Decision, DetectionRules, State, decide, decide_counts
from foreshock.monitor.store import settings_versions, switches
from foreshock.monitor.store.by_model import ByModel
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.decided import decided_buckets
from foreshock.monitor.units import UNIT
from foreshock.monitor.watermark import TimeRules
from foreshock.processes import wiring
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings
from foreshock.settings.redact import redacted
from foreshock.settings.versions import shaping

STEPS_A_REPORT = 500


class NothingDecided(Exception):
    """The source holds no decided story."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Past:
    """Decided buckets as arrays."""

    names: list[str]
    """Topics in the order of their first stories. A topic's place is its index in a state."""
    counts: list[BucketCounts]
    firsts: frozenset[int]
    """Places in `counts` of the buckets with a topic's first story. A state learns the topic's name there."""
    until: int
    """Everything before this time is decided (microseconds)."""

    def decide(self, state: State, place: int, counts: BucketCounts | None = None) -> Decision:
        """Decide the bucket at `place`, or `counts` in its place, with the code that decides live."""
        counts = self.counts[place] if counts is None else counts
        return decide(state, self._bucket(counts)) if place in self.firsts else decide_counts(state, counts)

    def _bucket(self, counts: BucketCounts) -> Bucket:
        parts = counts.by_source or ((),) * len(counts.topics)
        columns = counts.topics.tolist(), counts.values.tolist(), counts.dated.tolist(), counts.sources, parts
        return Bucket(
            counts.start,
            tuple(
                TopicBucket(
                    topic=self.names[topic],
                    stories=events // UNIT,
                    events=events // UNIT,
                    negative=negative,
                    neutral=events - negative - positive,
                    positive=positive,
                    sources=sources,
                    day_events=day_events // UNIT,
                    day_negative=day_negative,
                    by_source=by_source,
                )
                for topic, (events, negative, positive), (day_events, day_negative), sources, by_source in zip(
                    *columns, strict=True
                )
            ),
        )


class Opened(NamedTuple):
    """A past, the store that holds it, and the rules of the current settings to decide it by."""

    past: Past
    engine: Engine
    rules: DetectionRules
    """The time settings in them are the store's, which never change."""
    notes: list[str]
    """Sentences from the replay of a feed file."""
    on_progress: Callable[[float], None] | None
    """Called with the share of the caller's work that is done (0 to 1)."""


class Steps:
    """Count steps whose total is known, and report the share that is done after every `STEPS_A_REPORT` steps."""

    def __init__(self, report: Callable[[float], None] | None, steps: int) -> None:
        self._report, self._steps, self._done = report, steps, 0

    def take(self, steps: int = 1) -> None:
        before, self._done = self._done, self._done + steps
        if self._report is not None and self._done // STEPS_A_REPORT != before // STEPS_A_REPORT:
            self._report(self._done / self._steps)


@contextmanager
def opened(
    settings: Settings,
    source: str,
    *,
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    on_progress: Callable[[float], None] | None = None,
    scorer: wiring.MakeScorer | None = None,
) -> Iterator[Opened]:
    """Yield the past of a store (URL or SQLite file) or of a feed file. `mapping` and `sort` are for feed files.

    Raises:
        NothingDecided: the source holds no decided story.
        IngestError, MonitorError, ModelError: as `processes.replay.replay` does.
    """
    if is_store(source):
        with _read(settings, source if "://" in source else f"sqlite:///{source}", source, [], on_progress) as there:
            yield there
        return
    with tempfile.TemporaryDirectory(prefix="foreshock-past-") as folder:
        url = f"sqlite:///{folder}/feed.db"
        own = settings.model_copy(update={"store": settings.store.model_copy(update={"url": url})})
        half = None if on_progress is None else (lambda progress: on_progress(progress.share / 2))
        replayed = replay(own, [Path(source)], mapping=mapping, sort=sort, on_progress=half, scorer=scorer)
        rest = None if on_progress is None else (lambda share: on_progress(0.5 + share / 2))
        with _read(own, url, source, replayed.notes, rest) as there:
            yield there


def is_store(source: str) -> bool:
    """Whether `source` names a store: a URL or a SQLite file."""
    if "://" in source:
        return True
    path = Path(source)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(15) == b"SQLite format 3"


@contextmanager
def _read(
    settings: Settings, url: str, source: str, notes: list[str], on_progress: Callable[[float], None] | None
) -> Iterator[Opened]:
    engine = connect(url, create=False)
    try:
        # Close the transaction before deciding, which takes long: others may be writing this store.
        with reading(engine) as connection:
            rules = detection_rules(shaping(settings), _time_rules(connection))
            past = _buckets(connection, rules)
        # `_buckets` leaves out what is not watched, so each topic that is left is watched from its first bucket.
        rules = replace(rules, first_events=1)
        if past is None:
            raise NothingDecided(
                f"{redacted(source)} holds no decided story, so there is no past to decide again. "
                + ("Replay a feed into it first." if is_store(source) else f"Examine it: foreshock check {source}")
            )
        yield Opened(past, engine, rules, notes, on_progress)
    finally:
        engine.dispose()


def _buckets(connection: Connection, rules: DetectionRules) -> Past | None:
    """Return the decided buckets, with the topics that are watched in each (`State.place`)."""
    until = decided_until(connection)
    watching = State.fresh(rules)
    counts, firsts = list[BucketCounts](), set[int]()
    index: dict[str, int] = {}
    # Rows from before the model was switched are brought to the scale of the newest one: a backtest is about rules.
    switched = switches.done(connection)
    every = ByModel(connection, switched).buckets(connection, None, until or 0) if switched else None
    for bucket in every or decided_buckets(connection, None):
        topics = [t for t in bucket.topics if watching.place(t.topic, t.events) is not None]
        if any(t.topic not in index for t in topics):
            firsts.add(len(counts))
            for t in topics:
                index.setdefault(t.topic, len(index))
        counts.append(
            BucketCounts(
                bucket.start,
                np.array([index[t.topic] for t in topics], np.int64),
                np.array([(t.events * UNIT, t.negative, t.positive) for t in topics], np.int64).reshape(-1, 3),
                np.array([(t.day_events * UNIT, t.day_negative) for t in topics], np.int64).reshape(-1, 2),
                tuple(t.sources for t in topics),
                by_source=tuple(t.by_source for t in topics),
            )
        )
    return None if until is None or not counts else Past(list(index), counts, frozenset(firsts), until)


def _time_rules(connection: Connection) -> TimeRules:
    """Return the rules of time that the store was begun with."""
    time = settings_versions.time_settings(connection)
    return TimeRules(time.bucket, time.lateness, time.max_staleness, time.stall_after)
