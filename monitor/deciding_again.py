"""Decide stored buckets again: each by the settings that applied to it, from a stored state on."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection, func, literal, select

from foreshock.monitor import snapshots
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.deciding import Decision, DetectionRules, State, decide, pass_time
from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.store.times import iso
from foreshock.monitor.watermark import TimeRules

log = logging.getLogger(__name__)

TRIED = 10
"""Snapshots that are tried, newest first. If so many cannot be read, none can."""

_DAY, _SWITCH, _FILL = 0, 1, 2
"""What a stored state was made for. Where several are of one bucket, the first of these is the latest."""

BEGINNING = -1
"""A time before all buckets."""


class Version(NamedTuple):
    """What the detectors need of a settings version."""

    since: int
    """The time from which it applies (microseconds)."""
    rules: DetectionRules
    topics: frozenset[str]
    """Names of the topics in the settings."""


class Snapshot(NamedTuple):
    """A stored state: that before a day's first bucket, or that of a bucket from which on filled topics are known."""

    bucket: int
    version: int
    """The place, among all versions, of the last one that the state has adopted."""


class Deciding:
    """Decide buckets again, from a stored state on. Each is decided by the settings that applied to it.

    `own`: topics that are taken to be in all versions, with the weights that they have in `own_rules`.
    """

    def __init__(
        self,
        connection: Connection,
        time: TimeRules,
        before: int | None,
        *,
        own: frozenset[str] = frozenset(),
        own_rules: DetectionRules | None = None,
        or_oldest: bool = False,
    ) -> None:
        """Start with the newest stored state whose bucket starts by `before` (None: of all), or a fresh one.

        `or_oldest`: rather than with a fresh one, with the oldest stored state. Where old buckets were deleted, a fresh
        state would count its hours from another time.
        """
        versions = [_with_own(version, own, own_rules) for version in versions_of(connection, time)]
        snapshot, self.state = _newest_snapshot(connection, versions, before)
        if snapshot is None and or_oldest:
            snapshot, self.state = _newest_snapshot(connection, versions, None, oldest=True)
        self.begin = None if snapshot is None else snapshot.bucket
        at = 0 if snapshot is None else snapshot.version
        # Versions in force before the first bucket apply to it.
        if snapshot is None:
            at = max(i for i, version in enumerate(versions) if version.since <= BEGINNING)
        self._version, self._coming = versions[at], deque(versions[at + 1 :])

    def decide(self, bucket: Bucket) -> Decision:
        """Decide the next bucket again."""
        self._adopt(bucket.start)
        return decide(self.state, bucket)

    def pass_time(self, until: int) -> None:
        """Let time pass up to `until`, in which nothing came."""
        self._adopt(until)
        pass_time(self.state, until)

    def _adopt(self, until: int) -> None:
        """Apply each of the coming versions that starts by `until`, in its turn."""
        while self._coming and self._coming[0].since <= until:
            before, self._version = self._version, self._coming.popleft()
            version = self._version
            pass_time(self.state, version.since)
            gone, back = before.topics - version.topics, version.topics - before.topics
            self.state.adopt(version.rules, gone=gone, back=back)


def _with_own(version: Version, own: frozenset[str], own_rules: DetectionRules | None) -> Version:
    if own_rules is None:
        return version
    weights = (
        *((t, w) for t, w in version.rules.weights if t not in own),
        *((t, w) for t, w in own_rules.weights if t in own),
    )
    rules = replace(version.rules, own=version.rules.own | own, weights=weights)
    return Version(version.since, rules, version.topics | own)


def versions_of(connection: Connection, time: TimeRules) -> list[Version]:
    """Return the store's settings versions in order, after the defaults, which apply before the first version."""
    versions = [Version(BEGINNING, detection_rules(None, time), frozenset())]
    for since, body in settings_versions.in_order(connection):
        topics = frozenset(str(rule["name"]) for rule in body.get("topics", ()))
        versions.append(Version(BEGINNING if since is None else since, detection_rules(body, time), topics))
    return versions


def _newest_snapshot(
    connection: Connection, versions: list[Version], before: int | None = None, *, oldest: bool = False
) -> tuple[Snapshot | None, State]:
    """Return the newest stored state, or the oldest one. `before`: no later bucket than this one.

    One that cannot be read is skipped. Without a usable one, return None and a fresh state.
    """
    tried = 0
    d, f, m = schema.daily_state.c, schema.fills.c, schema.model_switches.c
    # The size first: an oversized body is not even read.
    days = select(d.bucket, literal(_DAY).label("of"), d.day.label("key"), func.length(d.body).label("size"))
    made = select(f.in_force_from, literal(_FILL), f.number, func.length(f.body)).where(f.in_force_from.is_not(None))
    switched = select(m.in_force_from, literal(_SWITCH), m.number, func.length(m.body)).where(m.body.is_not(None))
    found = days.union_all(made, switched).subquery()
    # A day's state of the same bucket was made after the others, and knows them.
    bucket_order = found.c.bucket if oldest else found.c.bucket.desc()
    sizes = select(found).order_by(bucket_order, found.c.of)
    if before is not None:
        sizes = sizes.where(found.c.bucket <= before)
    adopted_at = {version.since for version in versions}
    for bucket, of, key, size in connection.execute(sizes).all():
        if not 0 < (size or 0) <= snapshots.LARGEST:
            continue
        if of == _SWITCH and bucket in adopted_at:
            continue  # nothing says whether it knows these settings; made again from the rows, it does
        bodies = {_DAY: select(d.body).where(d.day == key), _FILL: select(f.body).where(f.number == key)}
        body = connection.execute(bodies.get(of, select(m.body).where(m.number == key))).scalar_one()
        version = _last(versions, bucket)
        if of == _FILL:
            version = connection.execute(select(f.settings).where(f.number == key)).scalar_one()
        try:
            state = State.restore(body, versions[version].rules)
            return Snapshot(bucket, version), state
        except ValueError as error:  # the decided buckets give the same state
            if not isinstance(error, snapshots.OtherVersion):
                log.warning(
                    "The monitor's snapshot of %s is skipped, and its state is rebuilt: %s.", iso(bucket), error
                )
            if (tried := tried + 1) >= TRIED:
                break
    return None, State.fresh(versions[_last(versions, BEGINNING)].rules)


def _last(versions: list[Version], time: int) -> int:
    """Return the place of the last version that applies at `time`."""
    return max(place for place, version in enumerate(versions) if version.since <= time)
