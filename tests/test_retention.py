"""Old stories are deleted, and nothing that is decided depends on it."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from conftest import WordScorer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rows import promised_rows
from sqlalchemy import Connection, Engine, func, insert, select, text, update

from foreshock.monitor.settings import LEAST_KEPT, Keeps, StoreSettings
from foreshock.monitor.store import checks, labels, retention, schema, views
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.retention import Cleaner
from foreshock.monitor.store.search import Wanted, search
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import ALL, DAY
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.replay import replay
from foreshock.processes.run import run
from foreshock.processes.tidying import Tidying
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 240
PARTS = 4
BAD = "fraud loss plunge"


def _settings(url: str) -> Settings:
    return Settings.model_validate({"store": StoreSettings(url=url), "watchlist": {"defaults": False}})


def _stories(chance: random.Random) -> list[list[dict[str, Any]]]:
    """Return the parts of a feed of 240 days. It runs for some hours every fifth day: in between, time stands still.

    Ids come again after days and months, as copies, with other texts and with other topics, and texts come again under
    other ids. On a few days there are many bad stories.
    """
    words = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou", "lmnr")]
    told: list[dict[str, Any]] = []
    at = BEGIN
    while at < BEGIN + timedelta(days=DAYS):
        day = (at - BEGIN).days
        loud = day % 45 == 40
        at += timedelta(minutes=chance.uniform(4, 16) if loud else chance.uniform(25, 100))
        if at.hour >= 7:
            at = BEGIN + timedelta(days=day + 5)
        topics = chance.sample(["A", "B", "C"], chance.randrange(1, 3))
        title = " ".join(chance.choices(words, k=9)) + (f" {BAD}" if loud else "")
        story: dict[str, Any] = {
            "id": str(len(told)),
            "title": title,
            "topics": topics,
            "source": chance.choice(["Wire", "Desk"]),
        }
        if told and chance.random() < 0.25:
            before = chance.choice(told[-60:] if chance.random() < 0.8 else told)
            story = dict(before)
            kind = chance.randrange(4)
            if kind == 0:
                story["title"] += f" {chance.choice(words)}"  # a revision
            elif kind == 1:
                story["topics"] = topics  # a duplicate, which may add a topic
            elif kind == 2:
                story["id"] += "'"  # a copy of the text
            else:
                story["status"] = "withdrawn"
        told.append({**story, "published_at": at.isoformat()})
    told = sorted(told + _again_and_again(chance, words), key=lambda story: str(story["published_at"]))
    ends = [(BEGIN + timedelta(days=DAYS // PARTS * part)).isoformat() for part in range(PARTS + 1)]
    return [
        [story for story in told if start <= story["published_at"] < end] for start, end in itertools.pairwise(ends)
    ]


def _again_and_again(chance: random.Random, words: Sequence[str]) -> list[dict[str, Any]]:
    """Return stories that come again at the worst times: when what they refer to would be old enough to go.

    Each begins on day 45, which is old on day 180. The copy `b` of `a` comes again on days 120 and 195, with another
    topic: then its event is looked up, which is that of `a`. The id `c` is forgotten by day 145, is a new story then,
    and a duplicate of that one on day 190.
    """
    told = []
    for number in range(5):
        text, other = (" ".join(chance.choices(words, k=12)) for _ in range(2))
        for day, identity, title, topics in (
            *((45, "a", text, ["A"]), (45, "b", text, ["A"]), (120, "b", text, ["B"]), (195, "b", text, ["C"])),
            *((45, "c", other, ["A"]), (145, "c", other, ["A"]), (190, "c", other, ["B"])),
        ):
            at = BEGIN + timedelta(days=day, hours=1 + number, minutes=chance.randrange(30))
            story = {"id": f"{identity}{number}", "title": title, "topics": topics, "source": "Wire"}
            told.append({**story, "published_at": at.isoformat()})
    return told


def _write(folder: Path, parts: Sequence[Sequence[dict[str, Any]]]) -> list[Path]:
    files = []
    for number, part in enumerate(parts):
        files.append(folder / f"part-{number}.jsonl")
        files[-1].write_text("".join(json.dumps(story) + "\n" for story in part))
    return files


def _clean(engine: Engine, keep: int = LEAST_KEPT) -> int:
    """Delete all that is old, and return how many stories that were."""
    cleaner, deleted = Cleaner(engine, TimeRules(), keep=keep), 0
    while True:
        deleted += cleaner.step()
        if cleaner.is_through:
            return deleted


@hypothesis_settings(max_examples=2)
@given(st.integers(0, 2**32))
def test_a_store_that_deletes_old_stories_decides_as_one_that_keeps_them(seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _write(folder, _stories(chance))
        whole, kept = f"sqlite:///{folder / 'whole.db'}", f"sqlite:///{folder / 'kept.db'}"
        deleted = 0
        for file in files:
            for url in (whole, kept):
                replay(_settings(url), [file], scorer=WordScorer)
            engine = connect(kept, create=False)
            deleted += _clean(engine)
            with reading(engine) as connection:
                assert [found.rule for found in checks.findings(connection) if not found.ok] == []
            engine.dispose()
        assert deleted > 0
        every, some = promised_rows(whole), promised_rows(kept)
        assert every["alerts"], "or else nothing was shown"
        for table in ("buckets", "topics", "alerts", "incidents", "outbox", "daily_state", "event_keys", "feed_stalls"):
            assert some[table] == every[table], table
        for table in ("stories", "story_topics", "decisions", "story_ids"):
            assert set(some[table]) <= set(every[table]), table
        _only_what_was_old_is_gone(whole, kept, deleted)


def _only_what_was_old_is_gone(whole: str, kept: str, deleted: int) -> None:
    stored = {}
    for url in (whole, kept):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            stored[url] = set(connection.execute('SELECT "partition", "offset", counts_at FROM stories'))
            (until,) = connection.execute("SELECT decided_until FROM feed").fetchone()
            numbers = set(connection.execute('SELECT "partition", "offset" FROM story_numbers'))
            assert numbers == {row[:2] for row in stored[url]}
    gone = stored[whole] - stored[kept]
    assert len(gone) == deleted
    assert max(at for *_, at in gone) < until - LEAST_KEPT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 240 days. Nobody changes it."""
    folder = tmp_path_factory.mktemp("retention")
    _build(f"sqlite:///{folder / 'news.db'}", folder)
    return folder / "news.db"


def _build(url: str, folder: Path) -> None:
    replay(_settings(url), _write(folder, _stories(random.Random(4))), scorer=WordScorer)


@pytest.fixture
def engine(built: Path, tmp_path: Path) -> Engine:
    """A copy that a test may change."""
    return connect(f"sqlite:///{shutil.copy(built, tmp_path / 'news.db')}", create=False)


@pytest.mark.postgres
def test_old_stories_are_deleted_from_postgresql_too(postgres: str, built: Path, tmp_path: Path) -> None:
    _build(postgres, tmp_path)
    deleted = [_clean(connect(url, create=False)) for url in (postgres, f"sqlite:///{shutil.copy(built, tmp_path)}")]
    assert deleted[0] == deleted[1] > 0
    assert promised_rows(postgres) == promised_rows(f"sqlite:///{tmp_path / 'news.db'}")


def _count(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(schema.stories)).scalar_one())


def test_what_is_deleted_is_found_no_more_and_its_series_stays(engine: Engine) -> None:
    with reading(engine) as connection:
        before = search(connection, Wanted(words="bal"), limit=500)
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        total = connection.execute(text("SELECT sum(stories) FROM buckets")).scalar()
        read = views.source_counts(connection)
    assert _clean(engine) > 0
    assert _clean(engine) == 0, "the next pass finds nothing more"
    with reading(engine) as connection:
        after = search(connection, Wanted(words="bal"), limit=500)
        titles = [found.story.title for found in after]
        assert titles == [found.story.title for found in before][: len(titles)] or len(titles) < len(before)
        assert all(found in before for found in after)
        assert len(after) < len(before)
        assert connection.execute(text("SELECT sum(stories) FROM buckets")).scalar() == total
        assert views.source_counts(connection) == read
        shown, _ = views.events(connection, ALL, until - LEAST_KEPT, until, known=until, limit=500)
        assert shown
        assert all(found.ok for found in checks.findings(connection))


def test_what_an_open_alert_looks_at_is_kept(engine: Engine) -> None:
    with writing(engine) as connection:
        oldest = connection.execute(select(func.min(schema.stories.c.counts_at))).scalar_one()
        texts = {"topic": "A", "kind": "drift", "direction": "worse", "state": "firing", "origin": "live"}
        times = {"started_at": oldest + 90 * DAY, "pending_at": oldest + 90 * DAY, "window_start": oldest}
        numbers = dict.fromkeys(("observed", "baseline", "score", "sources", "events", "settings"), 0)
        alert = {"id": "open", **texts, **times, **numbers, "window_end": oldest, "evidence": "[]", "sentence": ""}
        connection.execute(insert(schema.alerts).values(alert))
    assert _clean(engine) == 0
    tidying = Tidying(engine, TimeRules(), lambda: _only_stories(LEAST_KEPT), lambda: True)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            tidying.step()
    assert [line["open_since"] for line in logs if "open_since" in line] == [iso(oldest)], "said once"


def test_what_an_rss_feed_may_still_show_is_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_ITEMS", 3)
    p, s = schema.partitions.c, schema.stories.c
    with writing(engine) as connection:
        # As if the first part were a feed that had grown silent.
        connection.execute(update(schema.partitions).where(p.partition == "part-0.jsonl").values(kind="rss"))
        last = connection.execute(select(p.next_offset).where(p.partition == "part-0.jsonl")).scalar_one()
    assert _clean(engine) > 0
    with reading(engine) as connection:
        kept = connection.execute(select(s.offset).where(s.partition == "part-0.jsonl")).scalars().all()
    assert set(range(last - 3, last)) <= set(kept)
    assert 0 not in kept


def test_what_a_fill_took_from_a_story_goes_with_it(engine: Engine) -> None:
    with writing(engine) as connection:
        fill = {"number": 1, "settings": 1, "topics": "[]", "state": "done", "read_until": "{}", "read": 0, "found": 0}
        connection.execute(insert(schema.fills).values(fill))
        for offset in (0, 10_000):
            place = {"partition": "part-0.jsonl", "offset": offset, "topic": "A", "counts_at": 0}
            connection.execute(insert(schema.removed_topics).values(fill=1, **place))
    assert _clean(engine) > 0
    with reading(engine) as connection:
        assert connection.execute(select(schema.removed_topics.c.offset)).scalars().all() == [10_000]


def test_a_story_whose_label_a_person_corrected_is_kept(engine: Engine) -> None:
    with writing(engine) as connection:
        labels.correct(connection, ("part-0.jsonl", 0), "negative", by="Ada", now=0)
    assert _clean(engine) > 0
    with reading(engine) as connection:
        assert [row["label"] for row in labels.labelled_rows(connection)] == ["negative"]


def test_an_id_that_comes_again_while_its_stories_are_deleted_is_remembered(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, i = retention._delete, schema.story_ids.c
    again: list[str] = []

    def meanwhile(connection: Connection, gone: Any, keys: Any, forgotten: int) -> None:
        if not again:
            again.append(keys[0])
            connection.execute(update(schema.story_ids).where(i.id == keys[0]).values(last_bucket=forgotten))
        real(connection, gone, keys, forgotten)

    monkeypatch.setattr(retention, "_delete", meanwhile)
    Cleaner(engine, TimeRules(), keep=LEAST_KEPT).step()
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).where(i.id == again[0])).scalar_one() > 0


def test_steps_are_small_and_a_step_that_fails_is_done_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STORIES_A_STEP", 10)
    cleaner = Cleaner(engine, TimeRules(), keep=LEAST_KEPT)
    real, fail = retention._delete, [True]

    def broken(*given: Any) -> None:
        real(*given)
        if fail:
            fail.clear()
            raise RuntimeError

    monkeypatch.setattr(retention, "_delete", broken)
    deleted, failed = 0, 0
    while True:
        try:
            deleted += (some := cleaner.step())
            assert some <= 60
        except RuntimeError:
            failed += 1
            continue
        if cleaner.is_through:
            break
    assert failed == 1
    assert deleted > 10
    assert _clean(engine) == 0


def _same(value: Any) -> Any:
    return value


def _only_stories(keep: int | None) -> Keeps:
    return Keeps(keep, None, None, None)


def test_only_the_process_with_the_lease_deletes_and_only_if_asked(engine: Engine) -> None:
    before = _count(engine)
    for keep, may in ((None, True), (LEAST_KEPT, False), (10_000 * DAY, True)):
        Tidying(engine, TimeRules(), partial(_same, _only_stories(keep)), partial(_same, may)).step()
        assert _count(engine) == before
    tidying = Tidying(engine, TimeRules(), lambda: _only_stories(LEAST_KEPT), lambda: True)
    for _ in range(10):
        tidying.step()
    assert _count(engine) < before


@pytest.mark.parametrize("given", ["366d", "forever"])
def test_run_says_at_its_start_what_it_will_delete_and_how_to_keep_it(
    tmp_path: Path, given: str, quick_scorer: Any
) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": "oil", "published_at": "2026-03-02T10:00:00Z"}\n')
    store = {"url": f"sqlite:///{tmp_path / 'a.db'}", "keep_stories": given}
    settings = Settings.model_validate({"store": store, "feeds": [{"file": tmp_path / "a.jsonl"}]})
    with structlog.testing.capture_logs() as logs:
        run(settings, until_end=True, scorer=quick_scorer)
    said = [line for line in logs if "to_keep_all" in line]
    assert [line["keep_stories"] for line in said] == ([] if given == "forever" else ["366d"])


def test_a_setting_that_changes_is_said_once_more(engine: Engine) -> None:
    keep = [400 * DAY]
    tidying = Tidying(engine, TimeRules(), lambda: _only_stories(keep[0]), lambda: True)
    with structlog.testing.capture_logs() as logs:
        tidying.say()
        tidying.step()
        keep[0] = LEAST_KEPT
        for _ in range(3):
            tidying.step()
    assert [line["keep_stories"] for line in logs if "to_keep_all" in line] == ["400d", "120d"]


@pytest.mark.parametrize(("given", "kept"), [("366d", 366 * DAY), ("120d", LEAST_KEPT), ("forever", None)])
def test_how_long_stories_are_kept_is_a_setting(given: str, kept: int | None) -> None:
    settings = StoreSettings.model_validate({"keep_stories": given})
    assert settings.keep_stories == kept
    assert settings.model_dump(mode="json")["keep_stories"] == given


@pytest.mark.parametrize("given", ["119d", "0s", "a year", -5])
def test_a_time_that_is_too_short_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match=r"at least 120d|is not a duration"):
        StoreSettings.model_validate({"keep_stories": given})
