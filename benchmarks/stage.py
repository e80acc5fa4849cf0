"""Start what benchmarks of the scaled-out shape need: a broker, a PostgreSQL and `foreshock` processes.

    with Stage() as stage:
        topic = stage.topic(8)
        with stage.workers(2, topic, stage.database()) as crew: ...

Brokers and databases are those of the tests (`tests/servers.py`). KAFKA_BOOTSTRAP_SERVERS can name a broker instead.
Processes are measured by what they serve at `/metrics`, and by the processor time that the kernel counts for them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, text

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from servers import Broker, OwnBroker, OwnPostgres, free_port  # noqa: E402

EVERY_SECONDS = 0.25
"""Time between two looks at the processes."""
READY_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Look:
    """The state of all processes at one moment. `rss`: resident bytes of the largest one.

    `processor`: the processor seconds that workers, database and broker have taken. Those of a broker that was only
    named are not known.
    """

    at: float
    stories: int
    rss: int
    processor: dict[str, float]


@dataclass(slots=True)
class Crew:
    """Worker processes of one consumer group. `ports` serve their `/metrics`; `looks` are all readings so far."""

    stage: Stage
    topic: str
    group: str
    processes: list[subprocess.Popen[bytes]]
    ports: list[int]
    looks: list[Look] = field(default_factory=list)

    def look(self) -> Look:
        """Read the metrics of all processes. Raises AssertionError where a process has ended."""
        stories, largest = 0, 0
        for process, port in zip(self.processes, self.ports, strict=True):
            assert process.poll() is None, f"a worker ended: {self.stage.log.read_text()[-2000:]}"
            served = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
            stories += round(_sample(served, "foreshock_stories_total"))
            largest = max(largest, round(_sample(served, "process_resident_memory_bytes")))
        found = Look(time.monotonic(), stories, largest, self._processor())
        self.looks.append(found)
        return found

    def microseconds_a_story(self, begin: Look) -> dict[str, float]:
        """Return the processor time a story since the look `begin`, by kind of process."""
        end = self.looks[-1]
        stories = end.stories - begin.stories
        each = {kind: 1e6 * (end.processor[kind] - begin.processor[kind]) / stories for kind in end.processor}
        return {kind: round(microseconds, 1) for kind, microseconds in each.items()}

    def _processor(self) -> dict[str, float]:
        parents, sessions = _processor_seconds()
        found = {
            "workers": sum(sum(parents.get(process.pid, {}).values()) for process in self.processes),
            "database": sum(parents.get(self.stage.postmaster, {}).values()),
        }
        if self.stage.broker_session is not None:
            found["broker"] = sessions.get(self.stage.broker_session, 0.0)
        return found

    def until(self, stories: int, seconds: float) -> Look:
        """Wait until `stories` stories are committed in all. Fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while (found := self.look()).stories < stories:
            assert time.monotonic() < deadline, f"{found.stories} of {stories} stories after {seconds:.0f} s"
            time.sleep(EVERY_SECONDS)
        return found

    def rate(self, begin: Look, stories: float) -> float:
        """Return the stories a second from the look `begin` to the moment at which `stories` were committed."""
        return (stories - begin.stories) / (_when(self.looks, stories) - begin.at)


class Stage:
    """The servers. They stop when the context ends."""

    def __enter__(self) -> Stage:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="foreshock-bench-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.log = self.folder / "processes.log"
        self.broker_session: int | None = None
        named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        if named:
            self.broker = Broker(named)
        else:
            home = Path(os.environ.get("KAFKA_HOME", ROOT.parent / "shared" / "kafka"))
            own = OwnBroker(home, self.folder / "kafka")
            self._stack.callback(own.kill)
            own.start()
            self.broker = own
            assert own._process is not None
            self.broker_session = own._process.pid
        self.postgres = OwnPostgres(self.folder / "pg")
        self._stack.callback(self.postgres.close)
        with self.sql("postgres") as connection:
            # The server records the time of each commit, at which a latency ends.
            connection.execute(text("ALTER SYSTEM SET track_commit_timestamp = on"))
        self.postgres.restart()
        return self

    @property
    def postmaster(self) -> int:
        """The database's first process."""
        return int((self.folder / "pg" / "postmaster.pid").read_text().split()[0])

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def sql(self, database: str) -> Iterator[Any]:
        """Open a connection that commits each statement."""
        engine = create_engine(self.url(database).replace("postgresql://", "postgresql+psycopg://", 1))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                yield connection
        finally:
            engine.dispose()

    def database(self) -> str:
        """Create an empty database and return its name."""
        name = f"bench_{uuid4().hex[:8]}"
        with self.sql("postgres") as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return name

    def drop(self, database: str) -> None:
        """Drop a database, also while processes are connected to it."""
        with self.sql("postgres") as connection:
            connection.execute(text(f"DROP DATABASE {database} WITH (FORCE)"))

    def topic(self, partitions: int) -> str:
        """Create a topic and return its name."""
        name = f"bench-{uuid4().hex[:8]}"
        self.broker.create_topic(name, partitions)
        return name

    def produce(self, topic: str, values: Iterable[bytes], partitions: int) -> None:
        """Send the values to the partitions in turn, and return when all are acknowledged."""
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap, acks="all", linger_ms=20, batch_size=1 << 18)
        for number, value in enumerate(values):
            producer.send(topic, value, partition=number % partitions)
            if number % 20_000 == 19_999:
                producer.flush()
        producer.flush()
        producer.close()

    @contextmanager
    def workers(self, count: int, topic: str, database: str, *, accept_scores: bool) -> Iterator[Crew]:
        """Start `count` workers that share the topic. When the context begins, each has partitions assigned."""
        group = f"bench-{uuid4().hex[:8]}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "FORESHOCK_STORE__URL": self.url(database),
            "FORESHOCK_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "FORESHOCK_KAFKA__TOPIC": topic,
            "FORESHOCK_KAFKA__GROUP": group,
            "FORESHOCK_KAFKA__ACCEPT_SCORES": str(accept_scores).lower(),
        }
        crew = Crew(self, topic, group, [], [])
        try:
            for _ in range(count):
                port = free_port()
                with self.log.open("ab") as log:
                    process = subprocess.Popen(
                        [sys.executable, "-m", "foreshock", "worker"],
                        env=environment | {"FORESHOCK_METRICS__LISTEN": f"127.0.0.1:{port}"},
                        cwd=self.folder,
                        stdout=log,
                        stderr=log,
                    )
                crew.processes.append(process)
                crew.ports.append(port)
            self._wait_for(crew)
            yield crew
        finally:
            for process in crew.processes:
                process.send_signal(signal.SIGTERM)
            for process in crew.processes:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _wait_for(self, crew: Crew) -> None:
        """Wait until all workers are members of the group. Raises AssertionError after READY_SECONDS."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            found = self._group(crew.group)
            if found.get("group_state") == "Stable" and len(found["members"]) == len(crew.processes):
                return
            assert time.monotonic() < deadline, f"the workers did not form a group: {self.log.read_text()[-2000:]}"
            assert all(process.poll() is None for process in crew.processes), self.log.read_text()[-2000:]
            time.sleep(0.5)

    def _group(self, name: str) -> dict[str, Any]:
        """Describe a consumer group; empty where it does not exist yet."""
        from kafka.errors import KafkaError

        try:
            with self.broker._admin() as admin:
                return admin.describe_groups([name]).get(name, {})
        except KafkaError:  # no worker has joined yet
            return {}

    def url(self, database: str) -> str:
        """Return the URL of a database, as settings take it."""
        from sqlalchemy.engine import make_url

        return make_url(self.postgres.url).set(database=database).render_as_string(hide_password=False)


def _processor_seconds() -> tuple[dict[int, dict[int, float]], dict[int, float]]:
    """Return the processor seconds of each process with its children, by parent and child, and those by session.

    A process counts as a child of its own. Children that have ended count as their parent's.
    """
    parents: dict[int, dict[int, float]] = {}
    sessions: dict[int, float] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        own, parent, session = int(folder.name), int(fields[1]), int(fields[3])
        seconds = sum(map(int, fields[11:15])) / tick
        for of in (own, parent):
            parents.setdefault(of, {})[own] = seconds
        sessions[session] = sessions.get(session, 0.0) + seconds
    return parents, sessions


def _sample(served: str, name: str) -> float:
    """Return the value of a metric without labels; 0 where it is missing."""
    found = re.search(rf"^{name} (\S+)$", served, re.M)
    return float(found[1]) if found else 0.0


def _when(looks: Sequence[Look], stories: float) -> float:
    """Return the moment at which `stories` stories were committed, interpolated between two looks."""
    after = next(place for place, look in enumerate(looks) if look.stories >= stories)
    if after == 0 or looks[after].stories == looks[after - 1].stories:
        return looks[after].at
    a, b = looks[after - 1], looks[after]
    return a.at + (b.at - a.at) * (stories - a.stories) / (b.stories - a.stories)
