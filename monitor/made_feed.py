"""A small made feed for the examples of detectors: topics `t0`, `t1`, ..., all alike, with one bucket an hour."""

from __future__ import annotations

from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.deciding import DetectionRules, State, decide, pass_time
from foreshock.monitor.units import DAY, HOUR, UNIT

START = 20_003 * DAY
"""Monday, 7 October 2024."""


def steady(*, topics: int, events: int, negative: float, days: int) -> State:
    """Return the state after some days in which each topic has so many events an hour, a share of them negative."""
    state = State.fresh(DetectionRules())
    # The share differs a little from hour to hour, or no noise could be measured.
    for number in range(days * 24):
        each = {f"t{topic}": (events, negative + 0.01 * (number % 5)) for topic in range(topics)}
        decide(state, _bucket(START + number * HOUR, each))
    return state


def hour(state: State, **news: tuple[int, float]) -> Bucket:
    """Return the next hour's bucket, in which some topics have so many events, a share of them negative."""
    return _bucket((state.last_end or START) // HOUR * HOUR + HOUR, news)


def quiet(state: State, topic: str, *, hours: int, events: int = 12, negative: float = 0.2) -> list[Bucket]:
    """Return buckets of the next hours, in which all topics but one have news."""
    first = hour(state).start
    each = {name: (events, negative) for name in state.history.names if name != topic}
    return [_bucket(first + number * HOUR, each) for number in range(hours)]


def fired(state: State, *buckets: Bucket) -> list[tuple[str, str, str]]:
    """Decide the buckets; return topic, kind and direction of each alert that fires, by the end of the last hour."""
    changes = [change for bucket in buckets for change in decide(state, bucket).changes]
    changes += pass_time(state, buckets[-1].start + HOUR).changes
    return [(c.alert.topic, c.alert.kind, c.alert.direction) for c in changes if c.event == "firing"]


def _bucket(start: int, news: dict[str, tuple[int, float]]) -> Bucket:
    return Bucket(start, tuple(_row(topic, *said) for topic, said in sorted(news.items())))


def _row(topic: str, events: int, negative: float) -> TopicBucket:
    bad = round(events * negative * UNIT)
    good = (events * UNIT - bad) // 3
    return TopicBucket(topic, events, events, bad, events * UNIT - bad - good, good, ("a", "b"))
