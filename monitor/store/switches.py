"""Change the model of a store: what is planned, how far it is, and from which bucket on another model scores.

A switch is planned (`plan`). The decided buckets of the last weeks are counted again with scores of the new model, into
`rescored_buckets`. Then it is armed: a bucket to come is recorded, from which on the new model scores (`arm`). When all
buckets before it are decided, the detectors go over to a state that was rebuilt from the counted rows (`put_in_force`),
and closing goes on.

Invariant: a story that counts before `in_force_from` was scored by the model before, and one that counts later by the
model after. So which model scored a story follows from when it counts, whatever was read when.

Each step is one transaction that compares and sets the switch's row. A process that is killed loses the step in hand,
and the next one takes it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from foreshock.monitor.errors import Overtaken, SettingsDiffer
from foreshock.monitor.store import fills, schema
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import DAY
from foreshock.monitor.watermark import TimeRules

COUNTING, ARMED, DONE, REPLACED = "counting", "armed", "done", "replaced"
"""`armed`: its bucket is recorded, and not decided. `replaced`: another switch was asked for before it was armed, or it
was taken back."""

FIRST = "The settings must name the first model, and --switch the one after it."

RESCORED_DAYS = 28
"""Whole days before the last one whose stories are scored again: what the detectors call usual."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch as its row stands."""

    number: int
    settings: Mapping[str, Any]
    """The part of the section [model] that shapes scores, in force after it."""
    model: str
    """The identity of the model after it."""
    before: str
    """The identity of the model before it."""
    state: str
    counted_until: int | None
    rescored: int
    """Stories that were scored again."""
    in_force_from: int | None
    """The start of the first bucket that the new model scores. None until it is armed."""
    fills: int | None
    """The last fill of topics that was done before it (`store.fills`). None until it is done."""

    @property
    def day(self) -> int:
        """The start of the last whole day before it. Factors are taken from the days before this one."""
        assert self.in_force_from is not None
        return day_before(self.in_force_from)

    @property
    def since(self) -> int:
        """From when on its rows stand for those of the model before."""
        return self.day - RESCORED_DAYS * DAY


def day_before(time: int) -> int:
    """Return the start of the last whole UTC day before a time (microseconds)."""
    return time - time % DAY - DAY


def plan(connection: Connection, settings: Mapping[str, Any], identity: str, rules: TimeRules) -> Switch | None:
    """Plan a switch to a model, or return the one under way. None: it is the model in force.

    Whoever asks for another model than a switch under way does replaces that one, and for the model in force ends it.

    Raises:
        SettingsDiffer: a switch to another model is armed, or nothing was scored or decided yet.
    """
    feed = schema.feed
    here = connection.execute(select(feed.c.model, feed.c.decided_until)).one()
    for under_way in unfinished(connection):
        if under_way.model == identity:
            return under_way
        if under_way.state == ARMED:
            assert under_way.in_force_from is not None
            raise SettingsDiffer(
                f"A switch to {under_way.model} comes into force at {iso(under_way.in_force_from)}. Run this command "
                "again after that, or take that switch back while no story of that bucket is stored: foreshock model "
                "switch --cancel"
            )
        move(connection, under_way, state=REPLACED)
        forget(connection, under_way)
    if here.model == identity:
        return None
    if here.model is None:
        raise SettingsDiffer("No story of this store was scored by a model, so there is nothing to switch from.")
    if here.decided_until is None:
        raise SettingsDiffer("No bucket of this store is decided yet. Run this command again once the first ones are.")
    first = day_before(here.decided_until) - RESCORED_DAYS * DAY
    whole = fills.whole_since(connection, rules)
    since = max(first, whole if whole is not None else here.decided_until)
    return _insert(connection, settings, identity, here.model, counted_until=rules.start_of(since))


def cancel(connection: Connection) -> Switch:
    """Take back the switch under way, so that the model before it scores on. Return it as it stood.

    One whose bucket is recorded can be taken back until a story counts in it or later: that one has scores of the new
    model. Workers score stories of that bucket before they know of the cancelling. So every partition's version is
    raised, as at the recording: their batches fail, and they read those records again.

    Raises:
        SettingsDiffer: there is no switch under way, or stories have its scores.
        Overtaken: another process took a step of it, or stored stories, meanwhile.
    """
    found = unfinished(connection)
    if not found:
        raise SettingsDiffer("No switch of the model is under way, so there is nothing to take back.")
    last = found[-1]  # a replay may have recorded one after another
    if last.state == ARMED:
        assert last.in_force_from is not None
        s = schema.stories.c
        if connection.execute(select(s.counts_at).where(s.counts_at >= last.in_force_from).limit(1)).first():
            raise SettingsDiffer(
                f"Stories that count from {iso(last.in_force_from)} on have scores of {last.model} already, so the "
                f"switch cannot be taken back. Once it is in force, switch again, to the weights of {last.before}."
            )
        _tell_everyone(connection)
    move(connection, last, state=REPLACED, in_force_from=None)
    forget(connection, last)
    return last


def plan_at(connection: Connection, settings: Mapping[str, Any], identity: str, at: int, rules: TimeRules) -> Switch:
    """Record a switch that comes into force at the bucket that starts at `at`, before any story of it is stored.

    For a replay of a feed that was switched there. One that is recorded already is returned.

    Raises:
        SettingsDiffer: `at` is not the start of a bucket to come, the model scores before it already, or another switch
            is recorded.
    """
    feed = schema.feed
    for known in timeline(connection):
        if known.in_force_from == at:
            if known.model != identity:
                raise SettingsDiffer(f"The switch at {iso(at)} is one to {known.model}, not to {identity}.")
            return known
    here = connection.execute(select(feed.c.model, feed.c.decided_until)).one()
    if rules.start_of(at) != at:
        raise SettingsDiffer(f"{iso(at)} is not the start of a bucket.")
    newest = connection.execute(select(func.max(schema.stories.c.counts_at))).scalar()
    if at < max(here.decided_until or 0, 0 if newest is None else newest + 1):
        raise SettingsDiffer(f"Stories that count at {iso(at)} or later are in the store already.")
    for under_way in unfinished(connection):
        if under_way.in_force_from is None or under_way.in_force_from > at:
            raise SettingsDiffer(f"A switch to {under_way.model} is under way.")
    before = next((known.model for known in reversed(timeline(connection))), here.model)
    if before == identity:
        raise SettingsDiffer(f"{identity} scores before {iso(at)} already. {FIRST}")
    made = _insert(connection, settings, identity, here.model or "", counted_until=None, state=ARMED, in_force_from=at)
    _tell_everyone(connection)
    return made


def _insert(connection: Connection, settings: Mapping[str, Any], identity: str, before: str, **values: Any) -> Switch:
    m = schema.model_switches
    number = (connection.execute(select(func.max(m.c.number))).scalar() or 0) + 1
    body = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    row = {"number": number, "settings": body, "model": identity, "before": before, "state": COUNTING, "rescored": 0}
    connection.execute(insert(m).values(**{**row, **values}))
    return of_number(connection, number)


def unfinished(connection: Connection) -> list[Switch]:
    """Return the switches under way, in order: one at most, unless a replay recorded several."""
    return _load(connection, schema.model_switches.c.state.in_((COUNTING, ARMED)))


def done(connection: Connection) -> list[Switch]:
    """Return the switches that are in force, in order."""
    return _load(connection, schema.model_switches.c.state == DONE)


def of_number(connection: Connection, number: int) -> Switch:
    """Return a switch by its number."""
    return _load(connection, schema.model_switches.c.number == number)[0]


def timeline(connection: Connection) -> list[Switch]:
    """Return the switches whose bucket is recorded, in order."""
    return _load(connection, schema.model_switches.c.state.in_((ARMED, DONE)))


_m = schema.model_switches.c
# Each closing runs these statements. They are built once, because building one takes longer than running it.
_LAST_DONE = select(func.max(_m.number)).where(_m.state == DONE)
_LAST_RECORDED = select(func.max(_m.number)).where(_m.state.in_((ARMED, DONE)))
_WAITS_AT = select(func.min(_m.in_force_from)).where(_m.state == ARMED)


def last_done(connection: Connection) -> int:
    """Return the number of the last switch in force, or 0."""
    return connection.execute(_LAST_DONE).scalar() or 0


def last_recorded(connection: Connection) -> int:
    """Return the number of the last switch whose bucket is recorded, or 0."""
    return connection.execute(_LAST_RECORDED).scalar() or 0


def waits_at(connection: Connection) -> int | None:
    """Return the time up to which buckets may be decided: the one of the switch that is armed. None: without any."""
    return connection.execute(_WAITS_AT).scalar()


def holds_fills(connection: Connection) -> bool:
    """Return whether filling topics waits: a switch is armed, and its rows and its state are being worked out.

    They would not know the rows that a fill puts in force meanwhile. Arming waits for fills that were asked for before.
    A switch that a replay recorded far ahead lets topics be filled: nothing of it is worked out yet.
    """
    until = connection.execute(select(schema.feed.c.decided_until)).scalar()
    armed = [switch for switch in unfinished(connection) if switch.state == ARMED]
    return any(s.counted_until is not None or (until is not None and until >= s.day) for s in armed)


def _load(connection: Connection, where: ColumnElement[bool]) -> list[Switch]:
    m = schema.model_switches.c
    names = ("number", "settings", "model", "before", "state", "counted_until", "rescored", "in_force_from", "fills")
    rows = connection.execute(select(*(m[name] for name in names)).where(where).order_by(m.number))
    return [Switch(**{**row._mapping, "settings": json.loads(row.settings)}) for row in rows]


def move(connection: Connection, switch: Switch, **values: Any) -> None:
    """Compare and set a switch's row.

    Raises:
        Overtaken: another process took a step of it meanwhile.
    """
    m = schema.model_switches.c
    same = and_(
        *(m.number == switch.number, m.state == switch.state, m.rescored == switch.rescored),
        m.counted_until.is_not_distinct_from(switch.counted_until),
    )
    if connection.execute(update(schema.model_switches).where(same).values(**values)).rowcount != 1:
        raise Overtaken("Another process went on with the switch of the model.")


def arm(connection: Connection, switch: Switch, until: int, members: int, rules: TimeRules) -> int:
    """Record the bucket from which on the new model scores: the first one without any story. Return its start.

    `until`, `members`: "decided until" and the members version.

    Raises:
        Overtaken: buckets were decided, or a partition joined, meanwhile.
    """
    f = schema.feed.c
    newest = connection.execute(select(func.max(schema.stories.c.counts_at))).scalar()
    at = until if newest is None else max(until, rules.start_of(newest) + rules.bucket)
    for fill in fills.done(connection):  # what changes the state at one bucket must have an order
        at = max(at, (fill.in_force_from or 0) + rules.bucket)
    move(connection, switch, state=ARMED, in_force_from=at)
    mine = and_(f.decided_until == until, f.members_version == members)
    later = update(schema.feed).where(mine).values(members_version=f.members_version + 1)
    if connection.execute(later).rowcount != 1:
        raise Overtaken("Another process decided buckets, or a partition joined meanwhile.")
    _tell_everyone(connection)
    return at


def _tell_everyone(connection: Connection) -> None:
    """Let each batch fail that a worker took without knowing of the switch: it reads its records again."""
    p = schema.partitions
    connection.execute(update(p).values(version=p.c.version + 1))


def put_in_force(connection: Connection, switch: Switch, until: int, members: int, body: bytes) -> None:
    """Let the switch come into force at its bucket, which is "decided until". `body`: the detectors' state there.

    Rows before `Switch.since` go: which ones were made depends on when the switch was planned.

    Raises:
        Overtaken: another process took a step, decided buckets, or a partition joined meanwhile.
    """
    f, r = schema.feed.c, schema.rescored_buckets.c
    before = connection.execute(select(schema.feed.c.model)).scalar() or switch.before
    move(connection, switch, state=DONE, body=body, before=before, fills=fills.last_done(connection))
    mine = and_(f.decided_until == until, f.members_version == members)
    # A monitor that is deciding with the state before must not write.
    values = {"members_version": f.members_version + 1, "model": switch.model}
    if connection.execute(update(schema.feed).where(mine).values(**values)).rowcount != 1:
        raise Overtaken("Another process decided buckets, or a partition joined meanwhile.")
    connection.execute(delete(schema.rescored_buckets).where(r.switch == switch.number, r.start < switch.since))


def forget(connection: Connection, switch: Switch) -> None:
    """Delete what was counted for a switch."""
    r = schema.rescored_buckets
    connection.execute(delete(r).where(r.c.switch == switch.number))


def refuse_other_batch(connection: Connection, known: int) -> None:
    """Raise Overtaken if a switch was recorded that a batch's maker did not know. `known`: the last that it did."""
    if last_recorded(connection) != known:
        raise Overtaken("The model changes at a bucket that this process did not know: it reads its records again.")


def under_way(connection: Connection) -> list[dict[str, Any]]:
    """Return the switch that is not in force yet: `model`, `step` (`scoring`, `armed`), `done` (0 to 1) and `from`."""
    found: list[dict[str, Any]] = []
    last = connection.execute(select(schema.feed.c.decided_until)).scalar()
    for switch in unfinished(connection):
        part = 1.0
        if switch.state == COUNTING and last is not None and switch.counted_until is not None:
            first = day_before(last) - RESCORED_DAYS * DAY
            part = min(max((switch.counted_until - first) / max(last - first, 1), 0.0), 1.0)
        step = "scoring" if switch.state == COUNTING else "armed"
        at = None if switch.in_force_from is None else iso(switch.in_force_from)
        found.append({"switch": switch.number, "model": switch.model, "step": step, "done": round(part, 3), "from": at})
    return found


def sentence(said: Mapping[str, Any]) -> str:
    """Return how far the switch of `under_way` is, in plain words."""
    if said["step"] == "armed":
        return f"{said['model']} scores stories that count from {said['from']} on"
    return f"{said['model']}: {round(100 * said['done'])} % of the last stories scored again"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the model, as readers of a series see it."""

    at: int
    before: str
    after: str


def changes(connection: Connection) -> list[Change]:
    """Return when the model changed, in order."""
    return [Change(s.in_force_from or 0, s.before, s.model) for s in done(connection)]


def model_at(found: Sequence[Change], now: str | None, time: int) -> str | None:
    """Return the model that scores stories that count at `time`. `found`: all changes; `now`: the model in force."""
    if not found:
        return now
    return next((change.after for change in reversed(found) if change.at <= time), found[0].before)
