"""Send feed files to a Kafka topic, at a pace: `foreshock replay FILE --to-kafka --speed 60`, for drills and load.

A record goes to the topic as it stands in the file (a row of CSV or Parquet as the object of its cells). Whoever reads
the topic therefore parses what a replay of the file would parse, bad records included. The event time is inside the
record. Its Kafka timestamp is the moment of sending, because the topic's retention follows the timestamp.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foreshock.ingest.between import Between
from foreshock.ingest.errors import BrokerUnavailable, IngestError, TopicMissing
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.files import FileFeed
from foreshock.ingest.formats import RawRecord
from foreshock.ingest.parsing import AHEAD, ParseRules, renamed
from foreshock.ingest.story import DeadLetter, Story
from foreshock.processes.pace import Pace
from foreshock.settings.load import SettingsError
from foreshock.settings.models import KafkaSettings, Settings

REQUEST_BYTES = LIMIT + (64 << 10)
"""The largest record, with room for its envelope."""
ANSWER_SECONDS = 30.0
"""How long brokers may take to answer, and to acknowledge the last records."""
UNACKNOWLEDGED_BYTES = 32 << 20
"""The most that kafka-python may hold unacknowledged; it has no bound of its own."""
PROGRESS_RECORDS = 500
SLEEP_SECONDS = 0.5
"""The longest sleep at a time, so that progress is shown during a wait."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What was sent and acknowledged.

    `bad`: records that cannot become stories, sent as they are. `left_out`: records larger than 1 MiB, or than the
    broker accepts.
    """

    stories: int
    bad: int
    left_out: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Sending:
    """How far sending has come: records sent, the share of the files' bytes (0 to 1), and the last event time."""

    records: int
    share: float
    event_time: int | None


def feed(
    settings: Settings,
    files: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    between: Between | None = None,
    speed: float | None = None,
    on_progress: Callable[[Sending], None] = lambda _: None,
    producer: Any = None,
) -> Fed:
    """Send the files' records to the settings' topic, as fast as brokers accept them or at `speed` times real time.

    Records are keyed by id, so that a story's copies and revisions keep their order. The file that lags most in event
    time is read first. `mapping` is field -> column: records are then sent under the fields' own names. Returns once
    all in-sync replicas have acknowledged all records. `producer`: replaces the `KafkaProducer` in tests.

    An interruption waits for what was sent, and is raised again. What was sent stays; if it is sent again, its stories
    are duplicates by their ids.

    Raises:
        SettingsError: there is no `[kafka]`, or `mapping` says other names than its `map`.
        IngestError: a file cannot be read; no broker answers; the topic does not exist, or refuses records.
    """
    if settings.kafka is None:
        raise SettingsError('--to-kafka: the settings name no broker: [kafka] bootstrap_servers = "localhost:9092".')
    if mapping and settings.kafka.map:
        raise SettingsError(
            "--map would send records under Foreshock's own names, and [kafka] map reads others: leave one of them out."
        )
    rules = settings.parsing(mapping or settings.kafka.map).rules()
    latest = time.time_ns() // 1_000 + AHEAD
    feeds = [FileFeed(path, rules=rules, latest=latest, sort=sort, between=between) for path in files]
    started = time.monotonic()
    with _producing(settings.kafka, producer) as sender:
        run = _Run(sender, settings.kafka.topic, rules if mapping else None)
        pace = None if speed is None else Pace(speed)
        for record, item, due in _in_turns(feeds):
            if pace is not None and due is not None:
                while (wait := pace.wait(due)) > 0:
                    on_progress(run.progress(feeds))
                    time.sleep(min(wait, SLEEP_SECONDS))
            run.send(record, item)
            if run.sent % PROGRESS_RECORDS == 0:
                on_progress(run.progress(feeds))
        run.finish()
    return Fed(run.stories, run.bad, run.left_out, time.monotonic() - started)


class _Run:
    """Sends records, and counts what came of them."""

    def __init__(self, producer: Any, topic: str, rename: ParseRules | None) -> None:
        self.sent = self.stories = self.bad = 0
        self._too_large = self._refused_as_too_large = 0  # by this thread, and by the producer's
        self._bytes_sent = self._bytes_settled = 0  # likewise
        self._producer = producer
        self._topic = topic
        self._rename = rename
        self._event_time: int | None = None
        self._refused: Exception | None = None

    @property
    def left_out(self) -> int:
        return self._too_large + self._refused_as_too_large

    def send(self, record: RawRecord, item: Story | DeadLetter) -> None:
        from kafka.errors import KafkaError, MessageSizeTooLargeError

        if record.size > LIMIT:
            self._too_large += 1
            return
        while self._bytes_sent - self._bytes_settled > UNACKNOWLEDGED_BYTES and self._refused is None:
            time.sleep(0.005)
        self._raise_what_failed()
        story = isinstance(item, Story)
        key = item.id.encode() if isinstance(item, Story) else None
        at = None
        if isinstance(item, Story):
            self._event_time = item.published_at
        elif item.reason == "no_date" and self._event_time is not None:
            # Its reader takes the record's timestamp as event time; in a feed of old news the clock would be far ahead.
            at = self._event_time // 1_000
        data = record.data if self._rename is None else renamed(record.data, self._rename)
        try:
            sent = self._producer.send(self._topic, value=data, key=key, timestamp_ms=at)
        except MessageSizeTooLargeError:
            self._too_large += 1
            return
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka takes no records: {error}.") from error
        self.sent += 1
        self._bytes_sent += len(data)
        sent.add_callback(self._acknowledged, story, len(data))
        sent.add_errback(self._failed, len(data))

    def finish(self) -> None:
        """Wait until all records are acknowledged."""
        from kafka.errors import KafkaError

        try:
            self._producer.flush()
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka acknowledges no records: {error}.") from error
        self._raise_what_failed()

    def progress(self, feeds: Sequence[FileFeed]) -> Sending:
        share = sum(feed.progress() for feed in feeds) / max(1, len(feeds))
        return Sending(self.sent, share, self._event_time)

    # In the producer's thread.

    def _acknowledged(self, story: bool, size: int, _where: Any) -> None:
        self._bytes_settled += size
        if story:
            self.stories += 1
        else:
            self.bad += 1

    def _failed(self, size: int, error: Exception) -> None:
        from kafka.errors import MessageSizeTooLargeError

        self._bytes_settled += size
        if isinstance(error, MessageSizeTooLargeError):
            self._refused_as_too_large += 1
        else:
            self._refused = error

    def _raise_what_failed(self) -> None:
        if self._refused is not None:
            raise IngestError(f"Kafka did not take a record: {self._refused}.") from self._refused


def _in_turns(feeds: Sequence[FileFeed]) -> Iterator[tuple[RawRecord, Story | DeadLetter, int | None]]:
    """Yield the records of all files, each with the event time at which it is due (None: at once)."""
    queues = [_ahead(feed.raw()) for feed in feeds]
    heads = [next(queue, None) for queue in queues]
    reached = [-1] * len(queues)
    while any(head is not None for head in heads):
        open_ones = [place for place, head in enumerate(heads) if head is not None]
        place = min(open_ones, key=reached.__getitem__) if len(open_ones) > 1 else open_ones[0]
        head = heads[place]
        assert head is not None
        yield head
        reached[place] = reached[place] if head[2] is None else head[2]
        heads[place] = next(queues[place], None)


def _ahead(
    records: Iterator[tuple[RawRecord, Story | DeadLetter]],
) -> Iterator[tuple[RawRecord, Story | DeadLetter, int | None]]:
    """Yield each record with the event time at which it is due.

    That is its own, or the next record's if that is earlier, so that one misdated story does not hold up the feed.
    """
    before: tuple[RawRecord, Story | DeadLetter] | None = None
    for record, item in records:
        if before is not None:
            yield *before, _due(before[1], item)
        before = record, item
    if before is not None:
        yield *before, _due(before[1], None)


def _due(item: Story | DeadLetter, following: Story | DeadLetter | None) -> int | None:
    if not isinstance(item, Story):
        return None
    return min(item.published_at, following.published_at) if isinstance(following, Story) else item.published_at


@contextmanager
def _producing(settings: KafkaSettings, given: Any) -> Iterator[Any]:
    if given is not None:
        yield given
        return
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    servers = ",".join(settings.bootstrap_servers)
    try:
        options = {**settings.client_options(), "bootstrap_timeout_ms": int(ANSWER_SECONDS * 1000)}
        _look_for(settings.topic, servers, options)
        producer = KafkaProducer(
            **options,
            acks="all",
            enable_idempotence=True,
            linger_ms=20,
            batch_size=256 << 10,
            max_request_size=REQUEST_BYTES,
            allow_auto_create_topics=False,
        )
    except (KafkaError, OSError) as error:
        raise BrokerUnavailable(f"No Kafka at {servers}: {error}.") from error
    except ValueError as error:
        raise IngestError(f"Kafka at {servers}: {error}. See [kafka] in the settings.") from error
    try:
        yield producer
    finally:
        producer.close(timeout=ANSWER_SECONDS)  # what was sent is acknowledged first


def _look_for(topic: str, servers: str, options: Mapping[str, Any]) -> None:
    """Raise `TopicMissing` if there is no such topic. It is not created: its owner chooses the number of partitions."""
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(**options)
    try:
        if topic not in admin.list_topics():
            raise TopicMissing(
                f"Kafka at {servers} has no topic {topic}. Make it: "
                f"kafka-topics.sh --bootstrap-server {servers} --create --topic {topic} --partitions 8"
            )
    finally:
        admin.close()
