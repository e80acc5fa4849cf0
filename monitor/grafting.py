"""Put what another state remembers of some topics into a state: a topic's past was filled.

All that deciding remembers of a topic stands in arrays over topics (`TopicArrays`), and in the rows of the last 24
hours. So a topic moves from one state to another by its columns.

Invariant: both states have seen the same buckets, so their running hours and days are the same. What the state
remembers of other topics stays as it is, and no alert begins: one that the other state has open was about the past.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from foreshock.monitor.deciding import State, calibrate
from foreshock.monitor.recent import Recent, Row


def graft(state: State, filled: State, topics: Iterable[str]) -> None:
    """Let `state` remember of `topics` what `filled` does. Both have decided up to one time.

    An open alert of such a topic stays open where `filled` fires, too. Otherwise the state no longer knows it, and the
    monitor ends it (`rebuild.reconcile`). Where `filled` alone fires, the alert is open but never said: while it lasts,
    its news are known.

    Both must have seen the same hours (`same_hours`).
    """
    names = sorted(topics)
    mine, theirs = state.history, filled.history
    forget(state, names)
    known = [name for name in names if name in theirs.index]
    for name in known:
        state.few.forget(name)
        mine.topic(name)
    state.grow()
    to = np.array([mine.index[name] for name in known], np.int64)
    of = np.array([theirs.index[name] for name in known], np.int64)
    parts = filled.parts()
    for room, part in state.parts().items():
        for name, (lead, *_) in part.ARRAYS.items():
            axes = (slice(None),) * len(lead)
            getattr(part, name)[(*axes, to)] = getattr(parts[room], name)[(*axes, of)]
    for name in known:
        mine.last_source[mine.index[name]] = theirs.last_source[theirs.index[name]]
    _graft_rows(state, filled, dict(zip(of.tolist(), to.tolist(), strict=True)))
    _graft_alerts(state, filled, names)
    state.seen_anew()
    calibrate(state)


def take_over(state: State, other: State) -> State:
    """Return `other` as the state to go on with in place of `state`: the model has changed. Both are at one time.

    As for topics that are filled (`graft`), no alert begins or is said by it. An open alert stays as it is where
    `other` fires, too; else the monitor ends it. Where `other` alone fires, the alert is open and unsaid.
    """
    names, life = state.history.names, other.life
    mine = {
        (kind, names[place], direction): (alert, (kind, place, direction) in state.life.unsaid)
        for (kind, place, direction), alert in state.life.open.items()
        if alert.fired_at is not None
    }
    theirs, life.open, life.unsaid = life.open, {}, set()
    for key, alert in theirs.items():
        if alert.fired_at is None:
            continue
        kept, unsaid = mine.get((key[0], alert.topic, key[2]), (alert, True))
        life.open[key] = kept
        if unsaid:
            life.unsaid.add(key)
    return other


def same_hours(state: State, filled: State) -> bool:
    """Return whether both states count their running hours and days alike."""
    mine, theirs = state.history, filled.history
    return (mine.hour, mine.hours, mine.day, mine.days) == (theirs.hour, theirs.hours, theirs.day, theirs.days)


def _graft_alerts(state: State, filled: State, names: list[str]) -> None:
    life, index = state.life, state.history.index
    firing = {
        (kind, index[alert.topic], direction): alert
        for (kind, _, direction), alert in filled.life.open.items()
        if alert.topic in names and alert.fired_at is not None
    }
    for key, alert in list(life.open.items()):
        if alert.topic in names and (alert.fired_at is None or key not in firing):
            del life.open[key]
    for key, alert in firing.items():
        if key not in life.open:
            life.open[key] = alert
            life.unsaid.add(key)


def forget(state: State, topics: Iterable[str]) -> None:
    """Let a state remember nothing of these topics, as if no story of them had come. Open alerts stay."""
    h = state.history
    places = np.array([h.index[name] for name in topics if name in h.index], np.int64)
    for part in state.parts().values():
        for name, (lead, _, _, fill) in part.ARRAYS.items():
            getattr(part, name)[((slice(None),) * len(lead) + (places,))] = fill
    h.first_hour[places] = h.hours
    for place in places.tolist():
        h.last_source[place] = None
    gone, kept = set(places.tolist()), Recent()
    for row in state.recent.rows:
        kept.add(_without(row, gone))
    state.recent = kept


def _without(row: Row, gone: set[int]) -> Row:
    stay = [place for place, topic in enumerate(row.topics.tolist()) if topic not in gone]
    return Row(row.start, row.topics[stay], row.values[stay], tuple(row.sources[place] for place in stay))


def _with(row: Row, other: Row, to: dict[int, int]) -> Row:
    """Return a row with some topics of another one: those in `to`, at the places that it gives them."""
    at = [place for place, topic in enumerate(other.topics.tolist()) if topic in to]
    added = np.array([to[int(other.topics[place])] for place in at], np.int64)
    return Row(
        row.start,
        np.concatenate([row.topics, added]),
        np.concatenate([row.values, other.values[at]]),
        (*row.sources, *(other.sources[place] for place in at)),
    )


def _graft_rows(state: State, filled: State, to: dict[int, int]) -> None:
    """Add the rows of the last 24 hours of the topics that have a place in both states."""
    kept, theirs = Recent(), {row.start: row for row in filled.recent.rows}
    for row in state.recent.rows:
        other = theirs.get(row.start)
        kept.add(row if other is None else _with(row, other, to))
    state.recent = kept
