"""Old rows of series are put together by the hour and by the day, and nothing that is decided depends on it."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import WordScorer
from pydantic import ValidationError
from rows import promised_rows
from sqlalchemy import Engine, StaticPool, Table, create_engine, delete, func, insert, select, update
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.monitor.days import Days
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.rebuild import rebuild
from foreshock.monitor.settings import LEAST_KEPT, Keeps, StoreSettings
from foreshock.monitor.store import checks, curves, evidence_age, fills, open_store, rolling, schema, series
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.evidence_age import Eraser
from foreshock.monitor.store.rolling import Roller, grain
from foreshock.monitor.store.series import Wanted
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import ALL, DAY, HOUR, MINUTE
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.replay import replay
from foreshock.processes.tidying import Tidying
from foreshock.settings.models import Settings

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAYS, PARTS = 240, 3
BAD = "fraud loss plunge"


def _settings(url: str) -> Settings:
    return Settings.model_validate({"store": StoreSettings(url=url), "watchlist": {"defaults": False}})


def _files(folder: Path) -> list[Path]:
    """Write a feed of 240 days in three parts: some hours every seventh day, from two sources, with a few bad days."""
    rng, parts = random.Random(7), list[list[str]]([] for _ in range(PARTS))
    for day in range(0, DAYS, 7):
        for number in range(16):
            at = BEGIN + timedelta(days=day, hours=8, minutes=12 * number + rng.randrange(12))
            words = " ".join("".join(rng.choices("bdfglmnprst", k=6)) for _ in range(8))
            story = {
                "id": f"{day}-{number}",
                "title": f"{words} {BAD}" if day % 49 == 42 else words,
                "source": rng.choice(["Wire", "Desk"]),
                "topics": rng.sample(["A", "B", "C"], 2),
                "published_at": at.isoformat(),
            }
            parts[day * PARTS // DAYS].append(json.dumps(story) + "\n")
    files = [folder / f"part-{n}.jsonl" for n in range(PARTS)]
    for file, lines in zip(files, parts, strict=True):
        file.write_text("".join(lines))
    return files


def _roll(engine: Engine, span: int, keep: int = LEAST_KEPT) -> int:
    roller, taken = Roller(engine, span, keep=keep), 0
    while True:
        taken += roller.step()
        if roller.is_through:
            return taken


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 240 days. Nobody changes it."""
    folder = tmp_path_factory.mktemp("rolling")
    for file in _files(folder):
        replay(_settings(f"sqlite:///{folder / 'news.db'}"), [file], scorer=WordScorer)
    return folder / "news.db"


@pytest.fixture
def engine(built: Path, tmp_path: Path) -> Engine:
    """A copy that a test may change."""
    return connect(f"sqlite:///{shutil.copy(built, tmp_path / 'news.db')}", create=False)


Sums = dict[tuple[str, int], tuple[Counter[str], Counter[str]]]


def _sums(engine: Engine, span: int) -> Sums:
    """Return the sums of each hour or day of each topic, and the events of each source in it."""
    found: Sums = {}
    with reading(engine) as connection:
        for row in connection.execute(select(schema.buckets)):
            sums, sources = found.setdefault((row.topic, row.start - row.start % span), (Counter(), Counter()))
            for name in ("stories", "events", "negative", "neutral", "positive", "day_events", "day_negative"):
                sums[name] += getattr(row, name)
            names = json.loads(row.sources)
            parts = json.loads(row.by_source) if row.by_source else [[name, row.events] for name in names]
            for name, events, *_ in parts:
                sources[name] += events
    return found


def _rows(engine: Engine) -> list[Any]:
    b = schema.buckets.c
    with reading(engine) as connection:
        return list(connection.execute(select(b.topic, b.start, b.baseline).order_by(b.topic, b.start)))


@pytest.mark.slow
def test_sums_stay_and_old_rows_are_of_hours_and_then_of_days(engine: Engine) -> None:
    before, days = _sums(engine, HOUR), _sums(engine, DAY)
    fine = _rows(engine)
    assert _roll(engine, HOUR) > 100
    assert _sums(engine, HOUR) == before
    with reading(engine) as connection:
        hours = grain(connection).hours_until
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
    assert until - LEAST_KEPT - 18 * DAY < hours <= until - LEAST_KEPT - 4 * DAY
    rows = _rows(engine)
    assert all(row.start % HOUR == 0 for row in rows if row.start < hours)
    assert [row for row in rows if row.start >= hours] == [row for row in fine if row.start >= hours]
    for row in rows:  # the baseline is that of the last bucket of the hour
        if row.start < hours:
            last = [f for f in fine if f.topic == row.topic and row.start <= f.start < row.start + HOUR][-1]
            assert row.baseline == last.baseline
    assert _roll(engine, HOUR) == 0, "there is nothing left to do"
    assert _roll(engine, DAY, keep=LEAST_KEPT + 50 * DAY) > 0
    assert _sums(engine, DAY) == days
    with reading(engine) as connection:
        assert 0 < grain(connection).days_until <= hours - 39 * DAY
        assert all(found.ok for found in checks.findings(connection))


@pytest.mark.slow
def test_what_is_decided_later_does_not_depend_on_it(built: Path, tmp_path: Path) -> None:
    whole, rolled, taken = f"sqlite:///{built}", f"sqlite:///{tmp_path / 'rolled'}.db", 0
    for file in _files(tmp_path):
        replay(_settings(rolled), [file], scorer=WordScorer)
        engine = connect(rolled, create=False)
        taken += _roll(engine, HOUR) + _roll(engine, DAY, keep=LEAST_KEPT + 20 * DAY)
        engine.dispose()
    assert taken > 100
    every, some = promised_rows(whole), promised_rows(rolled)
    for table in ("stories", "decisions", "topics", "alerts", "incidents", "outbox", "feed_stalls", "event_keys"):
        assert some[table] == every[table], table
    assert every["alerts"], "or else nothing was shown"
    assert every["daily_state"][-1] == some["daily_state"][-1]
    assert len(some["daily_state"]) < len(every["daily_state"])


@pytest.mark.slow
def test_a_state_is_made_anew_from_hours_if_every_stored_one_is_lost(engine: Engine) -> None:
    _roll(engine, HOUR)
    with writing(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        stored = rebuild(connection, TimeRules(), until)
        connection.execute(delete(schema.daily_state))
        anew = rebuild(connection, TimeRules(), until)
    assert sorted(anew.history.names) == sorted(stored.history.names)
    assert anew.last_end == stored.last_end
    assert _roll(engine, HOUR) == 0, "without a stored state, nothing is put together"


@pytest.mark.slow
def test_readers_say_how_long_a_row_is_and_sums_of_long_steps_are_the_same(engine: Engine, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'news.db'}")
    days = list(store.series_rows(["A", ALL], every=DAY))
    panel = store.panel(["A", ALL], every="1d", fields=["events", "polarity"])
    fine = list(store.series_rows(["A"]))
    with reading(engine) as connection:
        first = fine[0]["start"]
        start = int(datetime.fromisoformat(first).timestamp()) * 1_000_000
        curve = curves.curve(connection, "A", start - start % DAY, start + 90 * DAY, step=DAY, window=DAY)
    _roll(engine, HOUR)
    without = [{k: v for k, v in row.items() if k != "baseline"} for row in store.series_rows(["A", ALL], every=DAY)]
    assert without == [{k: v for k, v in row.items() if k != "baseline"} for row in days]
    assert store.panel(["A", ALL], every="1d", fields=["events", "polarity"]).equals(panel)
    with reading(engine) as connection:
        again = curves.curve(connection, "A", start - start % DAY, start + 90 * DAY, step=DAY, window=DAY)
        hours = grain(connection).hours_until
    assert (again.events == curve.events).all()
    assert (again.bad == curve.bad).all()
    rows = list(store.series_rows(["A"]))
    length = {row["start"]: datetime.fromisoformat(row["end"]) - datetime.fromisoformat(row["start"]) for row in rows}
    assert {length[s] for s in length if s < iso(hours)} == {timedelta(hours=1)}
    assert {length[s] for s in length if s >= iso(hours)} == {timedelta(minutes=5)}
    assert sum(row["events"] for row in rows) == sum(row["events"] for row in fine)
    cut = datetime.fromisoformat(first) + timedelta(minutes=40)
    assert next(store.series_rows(["A"], start=cut))["start"] == first[:14] + "00:00Z", (
        "a row that --start cuts is whole"
    )
    store.close()
    said = CliRunner().invoke(app, ["series", "A", "--store", f"sqlite:///{tmp_path / 'news.db'}"])
    assert f"Rows are of hours before {iso(hours)}" in said.output


@pytest.mark.slow
def test_no_step_holds_news_from_after_its_end_or_from_after_what_was_known(engine: Engine, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'news.db'}")
    fine = [(_time(row["end"]), row["events"]) for row in store.series_rows([ALL])]
    _roll(engine, HOUR)
    with reading(engine) as connection:
        hours, last = grain(connection).hours_until, fine[-1][0]
        session = Days(exchange="XBKK", ends="close")  # at 09:30 UTC
        for wanted in (Wanted(90 * MINUTE), Wanted(), Wanted(DAY), Wanted(days=session)):
            rows = list(series.rows(connection, [ALL], wanted))
            assert sum(row["events"] for row in rows) == sum(n for end, n in fine if end <= _time(rows[-1]["end"]))
            for row in rows:
                known = sum(one["events"] for one in rows if one["end"] <= row["end"])
                assert known <= sum(n for end, n in fine if end <= _time(row["end"])), (wanted, row)
            assert len({row["end"] for row in rows}) == len(rows)
            for row in rows[: 3 * len(rows) // 4 : 9]:  # what comes does not depend on where one begins
                some = series.rows(connection, [ALL], replace(wanted, start=_time(row["start"])))
                assert next(some) == row
            first = fine[0][0] - fine[0][0] % HOUR
            for at in (first + 25 * MINUTE, first + 2 * HOUR + 10 * MINUTE, hours - 16 * DAY, last):
                found = sum(row["events"] for row in series.rows(connection, [ALL], replace(wanted, as_of=at)))
                assert found <= sum(n for end, n in fine if end <= at), (wanted, iso(at))
        cut = fine[0][0] - fine[0][0] % HOUR + 20 * MINUTE
        (whole,) = series.rows(connection, [ALL], Wanted(end=cut))
        assert _time(whole["end"]) == cut + 40 * MINUTE, "a row that `end` cuts is whole"
    store.close()


def _time(said: str) -> int:
    return int(datetime.fromisoformat(said).timestamp()) * 1_000_000


@pytest.mark.slow
def test_steps_are_small_and_one_that_fails_is_done_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _sums(engine, HOUR)
    monkeypatch.setattr(rolling, "ROWS_A_STEP", 10)
    real, fail = rolling._replace, [True, True]

    def broken(*given: Any) -> None:
        real(*given)
        if fail:
            fail.pop()
            raise Overtaken("made up")

    monkeypatch.setattr(rolling, "_replace", broken)
    roller, failed, taken = Roller(engine, HOUR, keep=LEAST_KEPT), 0, 0
    for number in range(10_000):
        if number % 7 == 5:  # as after a restart in the middle of an hour
            roller = Roller(engine, HOUR, keep=LEAST_KEPT)
        try:
            taken += (some := roller.step())
            assert some <= 30
        except Overtaken:
            failed += 1
            continue
        if roller.is_through:
            break
    assert roller.is_through
    assert failed == 2
    assert _sums(engine, HOUR) == before
    assert taken > 100
    assert _roll(engine, HOUR) == 0


@pytest.mark.slow
def test_rows_that_a_fill_replaced_meanwhile_are_left(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real, rows = rolling._replace, _rows(engine)

    def meanwhile(connection: Any, begin: int, groups: Any) -> None:
        connection.execute(update(schema.buckets).where(schema.buckets.c.topic == "A").values(filled=1))
        real(connection, begin, groups)

    monkeypatch.setattr(rolling, "_replace", meanwhile)
    with pytest.raises(Overtaken):
        Roller(engine, HOUR, keep=LEAST_KEPT).step()
    assert _rows(engine) == rows


@pytest.mark.slow
def test_while_a_fill_is_under_way_nothing_is_put_together(engine: Engine) -> None:
    fill = {"number": 1, "settings": 1, "topics": "[]", "state": "reading", "read_until": "{}", "read": 0, "found": 0}
    with writing(engine) as connection:
        connection.execute(insert(schema.fills).values(fill))
    assert _roll(engine, HOUR) == 0
    with writing(engine) as connection:
        connection.execute(update(schema.fills).values(state="done"))
    assert _roll(engine, HOUR) > 0
    with reading(engine) as connection:
        since, hours = fills.whole_since(connection, TimeRules()), grain(connection).hours_until
    assert since is not None
    assert since >= hours, "a later fill does not count again what was put together"


@pytest.mark.slow
def test_what_a_fill_or_switch_looks_back_at_stays_fine_and_so_does_the_state_it_begins_with(engine: Engine) -> None:
    s = schema.daily_state.c
    with reading(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        before = select(func.max(s.bucket)).where(s.bucket <= until - LEAST_KEPT - 4 * DAY)
        begin = connection.execute(before).scalar_one()
    assert _roll(engine, HOUR) > 0
    with writing(engine) as connection:
        assert grain(connection).hours_until <= begin
        # A version before this one put later rows together.
        connection.execute(update(schema.series_grain).values(until=until - LEAST_KEPT + DAY))
    _roll(engine, HOUR)
    with reading(engine) as connection:
        assert connection.execute(select(func.min(s.bucket))).scalar() == begin


@pytest.mark.slow
def test_rows_of_several_fills_in_an_hour_stay_apart(engine: Engine) -> None:
    b = schema.buckets.c
    with writing(engine) as connection:
        oldest = connection.execute(select(func.min(b.start)).where(b.topic == "A")).scalar_one()
        begin = oldest - oldest % HOUR
        later = (b.topic == "A") & (b.start >= begin + HOUR) & (b.start < begin + 90 * MINUTE)
        connection.execute(update(schema.buckets).where(later).values(filled=3))
    _roll(engine, HOUR)
    with reading(engine) as connection:
        rows = connection.execute(
            select(b.start, b.filled).where(b.topic == "A", b.start >= begin + HOUR, b.start < begin + 2 * HOUR)
        ).all()
    assert rows[0] == (begin + HOUR, 3)
    assert {row.filled for row in rows[1:]} == {None}


@pytest.mark.slow
def test_sources_of_rows_from_before_the_column_stay_and_their_parts_are_not_invented(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(schema.buckets).values(by_source=None))
    _roll(engine, HOUR)
    with reading(engine) as connection:
        hours = grain(connection).hours_until
        b = schema.buckets.c
        rows = connection.execute(select(b.sources, b.by_source).where(b.topic == ALL, b.start < hours)).all()
    assert {row.sources for row in rows} >= {'["Desk", "Wire"]'}


@pytest.mark.slow
def test_evidence_of_old_alerts_is_deleted_and_the_alerts_stay(engine: Engine) -> None:
    o = schema.outbox.c
    with reading(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        before = {row.id: row for row in connection.execute(select(schema.alerts))}
    old = {i for i, row in before.items() if row.resolved_at and row.resolved_at < until - LEAST_KEPT}
    assert any(before[i].evidence != "[]" for i in old)
    assert old != before.keys()
    Eraser(engine, keep=LEAST_KEPT).step()
    with reading(engine) as connection:
        after = {row.id: row for row in connection.execute(select(schema.alerts))}
        said = {
            row.alert_id: json.loads(row.alert) for row in connection.execute(select(o.alert_id, o.alert)) if row.alert
        }
    for i, row in before.items():
        assert after[i]._asdict() == row._asdict() | ({"evidence": "[]"} if i in old else {})
    shown = {i: body["evidence"] or body.get("incident", {}).get("stories") for i, body in said.items()}
    assert not any(stories for i, stories in shown.items() if i in old)
    assert any(stories for i, stories in shown.items() if i not in old)
    again = Eraser(engine, keep=LEAST_KEPT)
    assert again.step() == 0
    assert again.is_through


def _row(table: Table, **given: Any) -> dict[str, Any]:
    """Return a row with these values, and an empty one in each other column that needs one."""
    kinds: dict[type, Any] = {str: "", int: 0, float: 0.0}
    needed = (c for c in table.columns if not c.nullable)
    return {c.name: kinds.get(c.type.python_type) for c in needed} | given


OLD, NEW = 200 * DAY, 390 * DAY
"""Before and after what is kept of a feed that is decided until day 400."""


def test_the_stories_of_an_incident_go_from_alerts_and_messages_once_it_is_over_and_said() -> None:
    """And nothing else changes. The alert that began it may have no stories, as one of volume."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    tables = schema.feed, schema.incidents, schema.alerts, schema.outbox, schema.deliveries
    schema.metadata.create_all(engine, tables=tables)
    goes, stays = set[str](), set[str]()
    with engine.begin() as connection:
        connection.execute(insert(schema.feed).values(_row(schema.feed, decided_until=400 * DAY)))
        ends, states, stories = (OLD, NEW, None), ("queued", "waiting", "muted", "delivered"), (True, False)
        for n, (ended, state, *alerts) in enumerate(product(ends, states, stories, stories)):
            connection.execute(insert(schema.incidents).values(_row(schema.incidents, id=f"i{n}", ended_at=ended)))
            for k, has_stories in enumerate(alerts):
                evidence = json.dumps([f"story {n} {k}"] if has_stories else [])
                over = min(OLD + k * DAY, ended or NEW)
                row = _row(schema.alerts, id=f"a{n}-{k}", group_id=f"i{n}", resolved_at=over, evidence=evidence)
                connection.execute(insert(schema.alerts).values(row))
            shown = [f"story {n} {k}" for k, has_stories in enumerate(alerts) if has_stories]
            body = json.dumps({"evidence": shown[:1], "incident": {"stories": shown, "title": f"title {n}"}})
            about = {"alert_id": f"a{n}-0", "event": "incident.firing"}
            sent = "queued" if state == "queued" else "dispatched"
            connection.execute(insert(schema.outbox).values(_row(schema.outbox, **about, state=sent, alert=body)))
            if state != "queued":
                connection.execute(insert(schema.deliveries).values(_row(schema.deliveries, **about, state=state)))
            (goes if ended == OLD and state == "delivered" else stays).update(shown)
    eraser = Eraser(engine, keep=LEAST_KEPT)
    eraser.step()
    with reading(engine) as connection:
        found = [*connection.execute(select(schema.alerts.c.evidence)).scalars()]
        said = [*connection.execute(select(schema.outbox.c.alert)).scalars()]
    assert all(f'"{story}"' in "".join(found) and f'"{story}"' in "".join(said) for story in stays)
    assert not any(f'"{story}"' in "".join([*found, *said]) for story in goes)
    assert all(f"title {n}" in text for n, text in enumerate(said))
    assert eraser.step() == 0
    engine.dispose()


def test_the_stories_of_a_message_go_also_where_its_alerts_have_none_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions deleted the evidence of alerts only. Each alert is looked at once, however many there are."""
    monkeypatch.setattr(evidence_age, "ALERTS_A_STEP", 2)
    engine = create_engine("sqlite://", poolclass=StaticPool)
    tables = schema.feed, schema.incidents, schema.alerts, schema.outbox, schema.deliveries
    schema.metadata.create_all(engine, tables=tables)
    with engine.begin() as connection:
        connection.execute(insert(schema.feed).values(_row(schema.feed, decided_until=400 * DAY)))
        for n, ended in enumerate((OLD, OLD, OLD, OLD + DAY, OLD - DAY, NEW)):
            connection.execute(insert(schema.incidents).values(_row(schema.incidents, id=f"i{n}", ended_at=ended)))
            row = _row(schema.alerts, id=f"a{n}", group_id=f"i{n}", resolved_at=OLD - n * DAY, evidence="[]")
            connection.execute(insert(schema.alerts).values(row))
            body = json.dumps({"evidence": [], "incident": {"stories": ["story"]}})
            message = _row(schema.outbox, alert_id=f"a{n}", event="incident.firing", state="dispatched", alert=body)
            connection.execute(insert(schema.outbox).values(message))
    eraser = Eraser(engine, keep=LEAST_KEPT)
    assert [(eraser.step(), eraser.is_through) for _ in range(4)] == [(2, False), (2, False), (1, True), (0, True)]
    with reading(engine) as connection:
        said = connection.execute(select(schema.outbox.c.alert_id, schema.outbox.c.alert)).all()
    assert [row.alert_id for row in said if '"story"' in row.alert] == ["a5"]
    engine.dispose()


@pytest.mark.slow
def test_one_task_after_the_other_takes_a_step_and_only_with_the_lease(engine: Engine) -> None:
    rows = _rows(engine)
    keeps = Keeps(None, LEAST_KEPT, None, LEAST_KEPT)
    Tidying(engine, TimeRules(), lambda: keeps, lambda: False).step()
    assert _rows(engine) == rows
    tidying = Tidying(engine, TimeRules(), lambda: keeps, lambda: True)
    for _ in range(400):
        tidying.step()
    assert len(_rows(engine)) < len(rows)
    assert _roll(engine, HOUR) == 0


@pytest.mark.postgres
@pytest.mark.slow
def test_rows_are_put_together_in_postgresql_too(postgres: str, built: Path, tmp_path: Path) -> None:
    for file in _files(tmp_path):
        replay(_settings(postgres), [file], scorer=WordScorer)
    one = connect(postgres, create=False)
    other = connect(f"sqlite:///{shutil.copy(built, tmp_path / 'news.db')}", create=False)
    assert _roll(one, HOUR) == _roll(other, HOUR) > 0
    assert _roll(one, DAY, LEAST_KEPT + 20 * DAY) == _roll(other, DAY, LEAST_KEPT + 20 * DAY)
    assert promised_rows(postgres)["buckets"] == promised_rows(f"sqlite:///{tmp_path / 'news.db'}")["buckets"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, Keeps(366 * DAY, 732 * DAY, None, None)),
        ({"keep_stories": "forever"}, Keeps(None, None, None, None)),
        ({"keep_buckets": "120d"}, Keeps(366 * DAY, 366 * DAY, None, None)),
        ({"keep_buckets": "400d", "keep_hours": "130d"}, Keeps(366 * DAY, 400 * DAY, 400 * DAY, None)),
        ({"keep_evidence": "200d"}, Keeps(366 * DAY, 732 * DAY, None, 200 * DAY)),
    ],
)
def test_nothing_is_put_together_while_what_it_is_made_of_is_there(given: dict[str, str], kept: Keeps) -> None:
    assert StoreSettings.model_validate(given).keeps == kept


@pytest.mark.parametrize("name", ["keep_buckets", "keep_hours", "keep_evidence"])
def test_a_time_that_is_too_short_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="at least 120d"):
        StoreSettings.model_validate({name: "119d"})
