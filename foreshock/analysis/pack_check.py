"""Verify an alert pack: decide the alert again from what the pack holds, and say whether it is the same.

    found = verify(Path("alert.zip"))
    found.same, found.checks

The rows go into a store in a temporary folder, and the code that decides live runs on them, without network and without
the store that the pack came from. Each check compares one step:

* `stories`: texts have the stored hash and signature, scores sum to 1, and critical stories have their words.
* `state`: what detectors calibrate daily follows from the rest of the state and the budget in the settings.
* `counting`: the stories counted again give the same rulings, and the topic's rows of buckets in the alert's window;
  of a critical alert the rulings alone.
* `decision`: the state and the buckets, or the critical stories, give the same alert.
* `publication`: the alert as it was sent, with its evidence, severity and sentence, is the same text.

What the pack cannot show is said, too. An alert's place in an incident follows from the stories of other topics.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, and_, insert, select

from foreshock.analysis import pack_file
from foreshock.analysis.pack_file import PackRefused
from foreshock.analysis.pack_manifest import GIVEN, alert_of, microseconds_of, refuse_other_alert, refuse_other_versions
from foreshock.analysis.pack_stories import check_stories, counted_again
from foreshock.monitor import snapshots
from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.buckets import CriticalStory
from foreshock.monitor.critical import CriticalAlerts
from foreshock.monitor.deciding import READABLE, SNAPSHOT_VERSION, calibrate
from foreshock.monitor.grouping import Side
from foreshock.monitor.incidents import severity_of
from foreshock.monitor.kinds import CRITICAL
from foreshock.monitor.rebuild import rebuild, state_before
from foreshock.monitor.store import alerts as store_alerts
from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.store.incidents import StoredStories
from foreshock.monitor.units import DAY, HOUR

LONGEST = 62 * DAY
"""How long before the alert the state may be. A store has a snapshot for each day with news."""
SHOWN = 300


@dataclass(frozen=True, slots=True)
class Check:
    """One step: whether it gives the same (None: it cannot be done), and a sentence."""

    name: str
    same: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What verifying a pack gave."""

    digest: str
    """SHA-256 of the manifest."""
    about: dict[str, Any]
    """The manifest: which alert, which model, which version of Foreshock."""
    checks: list[Check]

    @property
    def same(self) -> bool:
        """Whether no check found a difference, and the alert was decided again."""
        return not self.differs and any(check.name == "decision" and check.same for check in self.checks)

    @property
    def differs(self) -> bool:
        """Whether a check found a difference. If not, and not `same`, the alert could not be decided again."""
        return any(check.same is False for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        about = {name: self.about.get(name) for name in ("alert", "model", "foreshock", "stories")}
        return {"same": self.same, "sha256": self.digest, **about, "checks": [asdict(check) for check in self.checks]}


def verify(path: Path) -> Verified:
    """Decide the alert of a pack again. Raises PackRefused if the file is no pack that this version can use."""
    manifest, members, digest = pack_file.read(path)
    with _usable(path):
        refuse_other_versions(manifest)
        tables = {table.name: pack_file.rows(table, members[pack_file.name_of(table)]) for table in pack_file.TABLES}
        said = alert_of(members[pack_file.ALERT])
        refuse_other_alert(manifest, said)
        with _store(tables) as connection:
            checks = _checks(connection, said, tables, whole=manifest.get("stories") == "whole")
    return Verified(digest, manifest, checks)


def _checks(connection: Connection, said: dict[str, Any], tables: Mapping[str, Any], *, whole: bool) -> list[Check]:
    time = settings_versions.time_rules(connection)
    fired_at = microseconds_of(said["fired_at"])
    end = time.start_of(fired_at - 1) + time.bucket
    checks: list[Check] = []
    if whole:
        wrong = check_stories(connection, said["topic"], critical=said["kind"] == CRITICAL)
        count = len(tables["stories"])
        which = "1 story has" if count == 1 else f"{count:,} stories have"
        checks.append(_check("stories", wrong, f"{which} the text and the scores that were stored."))
    else:
        count_said = "Its stories are not in the pack, so they were not counted again"
        checks.append(Check("stories", None, f"{count_said}: they are more than a pack holds."))
    if said["kind"] == CRITICAL:
        if not whole:
            cannot = "Without its stories, a critical alert cannot be decided again"
            return [*checks, Check("decision", None, f"{cannot}: it follows from them alone.")]
        again = _critical_again(connection, said, end=end)
    else:
        checks += _state_checked(connection, fired_at, tables["daily_state"])
        again = _alert_again(connection, said, fired_at)
    if again is None:
        checks.append(Check("decision", False, "Decided again, this alert does not fire."))
        return checks
    if whole:
        wrong = counted_again(connection, said["topic"], again.window_start, end)
        what = "rulings" if said["kind"] == CRITICAL else "rulings and buckets"
        checks.append(_check("counting", wrong, f"Counted again, the stories give the same {what}."))
    rows = _stored_numbers(again)
    wrong = _differences({name: said[name] for name in rows}, rows)
    checks.append(_check("decision", wrong, "Decided again, the same alert fires with the same numbers."))
    if not whole:
        checks.append(Check("publication", None, "Without its stories, evidence and sentence cannot be made again."))
        return checks
    made = _published_again(connection, again, said)
    wrong = [] if _text(said) == _text(made) else _differences(said, made) or ["its fields stand in another order"]
    checks.append(_check("publication", wrong, "The alert as it was sent is the same text, byte for byte."))
    return checks


def _text(said: Mapping[str, Any]) -> str:
    """Return an alert as the outbox holds it."""
    return json.dumps(said, ensure_ascii=False)


def _check(name: str, wrong: list[str], fine: str) -> Check:
    return Check(name, not wrong, fine if not wrong else _cut("; ".join(wrong[:5])) + ".")


def _cut(text: str) -> str:
    return text if len(text) <= 3 * SHOWN else text[: 3 * SHOWN - 1] + "…"


def _state_checked(connection: Connection, fired_at: int, rows: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Check that thresholds follow from the state and the budget: a day's state was saved when they had just been set.

    Raises PackRefused if the state cannot be used.
    """
    for row in rows:
        pack_file.refuse_large_state(row["body"])
        hour = snapshots.read(row["body"], *READABLE)[1]["clock"][0]
        lag = row["bucket"] // HOUR - hour if isinstance(hour, int) else -1
        if not (0 <= fired_at - row["bucket"] <= LONGEST and 0 <= lag <= LONGEST // HOUR):
            raise PackRefused("Its state is not from the days before the alert.")
    if not rows:
        return []
    state = state_before(connection, settings_versions.time_rules(connection), rows[0]["bucket"])
    before = snapshots.read(state.snapshot(), SNAPSHOT_VERSION)
    calibrate(state)
    after = snapshots.read(state.snapshot(), SNAPSHOT_VERSION)
    wrong = [name for name in before[0] if not np.array_equal(before[0][name], after[0][name], equal_nan=True)]
    wrong = [f"{name} is other numbers when calibrated again by the budget of the settings" for name in wrong]
    return [_check("state", wrong, "The thresholds follow from the state and the budget of the settings.")]


def _alert_again(connection: Connection, said: Mapping[str, Any], fired_at: int) -> Alert | None:
    """Return the alert as it stands when all is decided up to the moment at which it fired; None if it does not."""
    state = rebuild(connection, settings_versions.time_rules(connection), fired_at)
    found = (alert for alert in state.life.open.values() if alert.id == said["id"] and alert.fired_at == fired_at)
    return next(found, None)


def _critical_again(connection: Connection, said: Mapping[str, Any], *, end: int) -> Alert | None:
    """Return the critical alert of the topic's day by the critical stories of the pack."""
    c, s = schema.critical_stories.c, schema.stories.c
    query = select(c.counts_at, c.topic, c.partition, c.offset, c.word, c.negative, c.needed)
    here = and_(c.partition == s.partition, c.offset == s.offset)
    query = query.join_from(schema.critical_stories, schema.stories, here, isouter=True)
    query = query.where(c.topic == said["topic"], c.counts_at < end)
    query = query.order_by(c.counts_at, s.published_at, s.id, s.content, c.partition, c.offset)
    stories = [CriticalStory(*row) for row in connection.execute(query)]
    fired = [change.alert for change in CriticalAlerts().take(stories, None) if change.event == "firing"]
    return next((alert for alert in fired if alert.id == said["id"]), None)


def _stored_numbers(alert: Alert) -> dict[str, Any]:
    """Return what the decision alone says of an alert, as it is published."""
    row = {**asdict(alert), "origin": "", "evidence": "[]", "severity": None, "sentence": "", "sources": 0, "events": 0}
    row |= dict.fromkeys(GIVEN)
    made = store_alerts.alert_json(row)
    names = {field.name for field in fields(Alert)}
    return {name: value for name, value in made.items() if name in names}


def _published_again(connection: Connection, alert: Alert, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the alert as it is sent when it fires, with what follows from other topics as the pack says."""
    assert alert.fired_at is not None
    severity = severity_of(Side.of(alert, StoredStories(connection), alert.fired_at))
    joined = {**{name: said[name] for name in GIVEN}, "severity": severity, "evidence_events": None}
    row = store_alerts.row_of(connection, AlertChange("firing", alert), origin="", settings=0, joined=joined)
    return {name: value for name, value in store_alerts.alert_json(row).items() if name != "origin"}


def _differences(said: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {_short(said.get(name))} in the pack, and {_short(again.get(name))} decided again"
        for name in sorted(said.keys() | again.keys())
        if json.dumps(said.get(name)) != json.dumps(again.get(name))
    ]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Name the file in what is refused, and turn what goes wrong with rows that nobody checked into a sentence."""
    try:
        yield
    except PackRefused as error:
        raise PackRefused(f"{path}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        raise PackRefused(f"{path}: its rows cannot be used ({type(error).__name__}: {said[:SHOWN]}).") from None


@contextmanager
def _store(tables: Mapping[str, Any]) -> Iterator[Connection]:
    """Open a store of the pack's rows, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="foreshock-pack-") as folder:
        engine = connect(f"sqlite:///{folder}/pack.db", create=True)
        try:
            with writing(engine) as connection:
                for table in pack_file.TABLES:
                    _insert(connection, table, tables[table.name])
                yield connection
        finally:
            engine.dispose()


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    kept = {column.name for column in pack_file.columns(table)}
    rest = {column.name: 0 for column in table.columns if column.name not in kept and not column.nullable}
    if rows:
        connection.execute(insert(table), [{**row, **rest} for row in rows])
