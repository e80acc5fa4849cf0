"""Every metric of a process, for Prometheus, and the functions by which the loops update them.

Names are `foreshock_...` in base units (seconds, records); counters end in `_total`. docs/metrics.md explains each, and
a test compares the two. A metric that does not concern a process stays at 0 or NaN.
"""

from __future__ import annotations

import time
from collections import Counter as Count
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram

from foreshock.monitor.units import SECOND
from foreshock.observability.health import Health

if TYPE_CHECKING:
    from foreshock.monitor.delivery.sender import Sent
    from foreshock.monitor.store.receivers import ReceiverState

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
BRIEF = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG = (*BRIEF, 60.0, 300.0, 1800.0, 7200.0)

STORIES = Counter("foreshock_stories", "Stories committed to the store.")
LATE = Counter("foreshock_late_stories", "Stories that came after their time had passed: they count when they came.")
STALE = Counter("foreshock_stale_stories", "Stories that came so late that they weigh nothing.")
UNSCORED = Counter("foreshock_unscored_stories", "Stories in a language that the encoder cannot read.")
DEAD_LETTERS = Counter("foreshock_dead_letters", "Records that could not become stories.", ["reason"])
BATCH_RECORDS = Histogram("foreshock_batch_records", "Records a committed batch.", buckets=SIZES)
COMMIT_SECONDS = Histogram("foreshock_commit_seconds", "A batch's transaction, from begin to commit.", buckets=BRIEF)
ENCODED_TEXTS = Counter("foreshock_encoded_texts", "Texts given to the scorer.")
ENCODE_SECONDS = Histogram("foreshock_encode_seconds", "Scoring a batch's texts.", buckets=BRIEF)
INGEST_LATENCY_SECONDS = Histogram(
    "foreshock_ingest_latency_seconds", "From a record's timestamp at the broker to its commit.", buckets=LONG
)
LAG_RECORDS = Gauge("foreshock_lag_records", "Records at the broker that are not in the store yet.", ["partition"])
GAPS = Counter("foreshock_gaps", "Stretches of records that were gone before they were read.", ["partition"])
GAP_RECORDS = Counter("foreshock_gap_records", "Offsets in these stretches.", ["partition"])
FEED_FAILURES = Gauge("foreshock_feed_failures", "Polls of an RSS feed that failed in a row.", ["feed"])

BUCKETS = Counter("foreshock_buckets_decided", "Buckets with stories that this process decided.")
DECIDED_STORIES = Counter("foreshock_stories_decided", "Stories in these buckets.")
BEYOND_LIMITS = Counter(
    "foreshock_stories_beyond_limits", "Stories that named more topics than [limits] allows; these count in _other."
)
CLOSE_SECONDS = Histogram("foreshock_close_seconds", "A closing: reading, deciding and writing.", buckets=BRIEF)
DECIDED_UNTIL_AGE = Gauge(
    "foreshock_decided_until_age_seconds", "The clock less the event time up to which all is decided, at least 0."
)
DECIDED_UNTIL_AHEAD = Gauge(
    "foreshock_decided_until_ahead_seconds", "That event time less the clock, at least 0: time ran ahead."
)
NAMES = Gauge("foreshock_new_names", "Names that no topic has and that are watched for bad news, at most 2,000.")
STANDING_STILL = Gauge("foreshock_standing_still", "1 while nothing can be decided because of this source.", ["source"])
SET_ASIDE = Gauge("foreshock_source_set_aside", "1 while deciding goes on without this silent source.", ["source"])
SCORER_CHANGED = Gauge(
    "foreshock_scorer_changed", "1 while the scorer is worth less for this source than it was.", ["source", "kind"]
)
FEED_STALLED = Gauge("foreshock_feed_stalled", "1 if no source has given a story for stall_after, though all are read.")
ALERTS = Counter("foreshock_alert_changes", "Changes of alerts that this process decided.", ["kind", "event"])
ACTIVE = Gauge("foreshock_active", "1 if this process decides and delivers, 0 if another does.")

DELIVERIES = Counter("foreshock_deliveries", "Attempts to deliver an alert.", ["receiver", "result"])
PARKED = Counter("foreshock_deliveries_parked", "Alerts given up: tried too often, or refused for good.", ["receiver"])
RECEIVER_FAILURES = Gauge(
    "foreshock_receiver_failures", "Failures in a row that concern the whole receiver; 0: it works.", ["receiver"]
)
RECEIVER_HELD = Gauge("foreshock_receiver_held", "1 while nothing is sent to this receiver.", ["receiver"])
DELIVERY_SECONDS = Histogram("foreshock_delivery_seconds", "An attempt to deliver.", ["receiver"], buckets=BRIEF)
HEARTBEATS = Counter("foreshock_heartbeats", "Attempts to post a heartbeat.", ["result"])
SPANS = Counter("foreshock_spans", "Spans of traces.", ["result"])

HTTP_REQUESTS = Counter("foreshock_http_requests", "Requests that `serve` answered.", ["path", "status"])
HTTP_SECONDS = Histogram("foreshock_http_seconds", "A request, from its head to its answer.", ["path"], buckets=BRIEF)
SHARED_PASSES = Histogram("foreshock_requests_a_pass", "Requests that shared a pass of the encoder.", buckets=SIZES)
WAITING_TEXTS = Gauge("foreshock_waiting_texts", "Texts of requests that wait for the encoder.")
EVENT_READERS = Gauge("foreshock_event_readers", "Readers that follow /events.")

OVERTAKEN = Counter("foreshock_overtaken", "Transactions given up because another process had gone on.")
CONNECTIONS_LOST = Counter("foreshock_connections_lost", "Times that something outside stopped answering.", ["what"])
REACHED = Gauge("foreshock_reached", "1 if it answered when last asked, else 0.", ["what"])

health = Health()
"""Health of this process."""
_decided_until: int | None = None


def _age(sign: float = 1.0) -> float:
    return float("nan") if _decided_until is None else max(0.0, sign * (time.time() - _decided_until / SECOND))


DECIDED_UNTIL_AGE.set_function(_age)
DECIDED_UNTIL_AHEAD.set_function(lambda: _age(-1.0))


def committed(
    stories: Sequence[Mapping[str, Any]], dead_letters: Sequence[Mapping[str, Any]], *, seconds: float
) -> None:
    """Count a committed batch. Rows as `progress.Batch` holds them; `seconds` that its transaction took."""
    STORIES.inc(len(stories))
    LATE.inc(sum(row["late"] for row in stories))
    STALE.inc(sum(row["stale"] for row in stories))
    UNSCORED.inc(sum(row["negative"] is None for row in stories))
    for reason, count in Count(row["reason"] for row in dead_letters).items():
        DEAD_LETTERS.labels(reason).inc(count)
    BATCH_RECORDS.observe(len(stories) + len(dead_letters))
    COMMIT_SECONDS.observe(seconds)


def encoded(texts: int, *, seconds: float) -> None:
    """Count texts that the scorer has scored."""
    ENCODED_TEXTS.inc(texts)
    ENCODE_SECONDS.observe(seconds)


def latencies(seconds: Iterable[float]) -> None:
    """Observe the latency of each record: seconds from its timestamp at the broker to its commit."""
    for each in seconds:
        INGEST_LATENCY_SECONDS.observe(each)


def lag(records: Mapping[str, int]) -> None:
    """Set how many records each partition of this process is behind, and drop all other partitions."""
    for (partition,) in [labels for labels in _labels(LAG_RECORDS) if labels[0] not in records]:
        LAG_RECORDS.remove(partition)
    for partition, behind in records.items():
        LAG_RECORDS.labels(partition).set(behind)


def gap(partition: str, records: int) -> None:
    """Count records that were gone before they were read."""
    GAPS.labels(partition).inc()
    GAP_RECORDS.labels(partition).inc(records)


def polled(feed: str, failures: int) -> None:
    """Set how many polls of an RSS feed have failed in a row."""
    FEED_FAILURES.labels(feed).set(failures)


def closed(buckets: int, stories: int, *, beyond: int = 0, names: int = 0, seconds: float) -> None:
    """Count a closing that is in the store. `beyond`: stories that named topics beyond the limits. `names`: that no
    topic has, and that are watched."""
    BEYOND_LIMITS.inc(beyond)
    NAMES.set(names)
    BUCKETS.inc(buckets)
    DECIDED_STORIES.inc(stories)
    CLOSE_SECONDS.observe(seconds)


def decided(until: int | None) -> None:
    """Set "decided until" as the store has it (microseconds), whichever process decided."""
    global _decided_until  # noqa: PLW0603 - one process, one store
    _decided_until = until


def decided_until() -> int | None:
    """Return "decided until" as this process knows it (microseconds)."""
    return _decided_until


def heartbeat(result: str) -> None:
    """Count a heartbeat that was `delivered`, or `failed`."""
    HEARTBEATS.labels(result).inc()


def spans(result: str, count: int) -> None:
    """Count spans that were `made`, `sent`, or `failed` to be sent."""
    SPANS.labels(result).inc(count)


def stalled(is_stalled: bool) -> None:
    """Set whether the whole feed stands still."""
    FEED_STALLED.set(is_stalled)


def standing_still(why: str, source: str) -> None:
    """Set why nothing can be decided ("": it can), and because of which source ("": of none)."""
    health.trouble("deciding", why)
    _only(STANDING_STILL, {source} if source else set())


def set_aside(sources: Set[str]) -> None:
    """Set without which silent sources deciding goes on."""
    health.set_aside(sorted(sources))
    _only(SET_ASIDE, sources)


def scorer(changed: Mapping[tuple[str, str], str]) -> None:
    """Set for which sources the scorer is worth less, by (source, kind), and what was found."""
    health.scorer({source: said for (source, _), said in sorted(changed.items())})
    for source, kind in [found for found in _labels(SCORER_CHANGED) if found not in changed]:
        SCORER_CHANGED.remove(source, kind)
    for source, kind in changed:
        SCORER_CHANGED.labels(source, kind).set(1)


def alert(kind: str, event: str) -> None:
    """Count an alert that became `pending`, `firing` or `resolved`."""
    ALERTS.labels(kind, event).inc()


def active(is_active: bool) -> None:
    """Set whether this process decides and delivers. What keeps one that stands by from it is the other's affair."""
    ACTIVE.set(is_active)
    health.state("running" if is_active else "standby")
    if not is_active:
        standing_still("", "")
        set_aside(set())
        receivers(set())
        health.trouble("delivering", "")


def delivery(receiver: str, sent: Sent, seconds: float) -> None:
    """Count an attempt to deliver, and its outcome."""
    DELIVERIES.labels(receiver, "delivered" if sent.delivered else "failed").inc()
    PARKED.labels(receiver).inc(sent.parked)
    DELIVERY_SECONDS.labels(receiver).observe(seconds)


def receivers(names: Set[str]) -> None:
    """Forget the states of all other receivers: they are no longer in the settings."""
    _drop_others(RECEIVER_FAILURES, names)
    _drop_others(RECEIVER_HELD, names)


def receiver(name: str, state: ReceiverState, now: int) -> None:
    """Set whether a receiver fails, and whether it is held at `now` (microseconds)."""
    RECEIVER_FAILURES.labels(name).set(state.failures)
    RECEIVER_HELD.labels(name).set(state.word(now) == "held")


def answered(path: str, status: int, *, seconds: float) -> None:
    """Count a request to `serve`, by its path ("other" for unknown ones) and the status of its answer."""
    HTTP_REQUESTS.labels(path, str(status)).inc()
    if path != "/events":  # a stream lasts as long as its reader
        HTTP_SECONDS.labels(path).observe(seconds)


def shared_pass(requests: int) -> None:
    """Observe how many requests shared a pass of the encoder."""
    SHARED_PASSES.observe(requests)


def waiting_texts(texts: int) -> None:
    """Set how many texts of requests wait for the encoder."""
    WAITING_TEXTS.set(texts)


def event_readers(readers: int) -> None:
    """Set how many readers follow the events of incidents."""
    EVENT_READERS.set(readers)


def overtaken() -> None:
    """Count a transaction that was given up."""
    OVERTAKEN.inc()


def reached(what: str) -> None:
    """Note that `store` or `kafka` answered."""
    health.reached(what)
    REACHED.labels(what).set(1)


def lost(what: str, why: str) -> None:
    """Note that `store` or `kafka` does not answer. Called for each failed try; counted once until it answers again."""
    if health.is_up(what):
        CONNECTIONS_LOST.labels(what).inc()
    health.lost(what, why)
    REACHED.labels(what).set(0)


def _only(metric: Gauge, labels: Set[str]) -> None:
    """Set the metric to 1 for these labels, and drop all others."""
    _drop_others(metric, labels)
    for label in labels:
        metric.labels(label).set(1)


def _drop_others(metric: Gauge, labels: Set[str]) -> None:
    for (label,) in [found for found in _labels(metric) if found[0] not in labels]:
        metric.remove(label)


def _labels(metric: Gauge) -> list[tuple[str, ...]]:
    return [tuple(sample.labels.values()) for family in metric.collect() for sample in family.samples]
