"""Make the sources that the settings name, each at its place in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine

from foreshock.ingest import rss
from foreshock.ingest.files import FileFeed
from foreshock.ingest.kafka import TopicReader
from foreshock.ingest.parsing import ParseRules
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store import counts, progress, rss_feeds
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import MAX_AHEAD
from foreshock.settings.models import FeedSettings, KafkaSettings, Settings
from foreshock.sources.finite import refuse_a_file_of_the_past
from foreshock.sources.growing_file import FileSource
from foreshock.sources.kafka import KafkaFeed
from foreshock.sources.live import Clock
from foreshock.sources.rss import RssSource


def kafka_feed(
    kafka: KafkaSettings,
    rules: ParseRules,
    *,
    shared: bool,
    until_end: bool,
    clock: Clock,
    max_ahead: int = MAX_AHEAD,
) -> KafkaFeed:
    """Return the topic of [kafka]. `shared`: read only the partitions that the consumer group assigns."""
    reader = TopicReader(kafka, shared=shared, session_timeout=kafka.session_timeout / 1e6)
    return KafkaFeed(reader, kafka.topic, rules, until_end=until_end, clock=clock, max_ahead=max_ahead)


def rss_and_files(
    settings: Settings, engine: Engine, wake: Callable[[], None], clock: Clock, *, until_end: bool
) -> tuple[list[RssSource], list[FileSource]]:
    """Return the sources of [[feeds]].

    With `until_end`, a file that has been read to its end and has not grown is left out. `wake`: called when a poll has
    an answer.

    Raises:
        SourceMismatch: the store knows a feed's name as another kind of source.
        LateFile: all stories of a new file lie before what is decided.
    """
    rules = settings.parsing().rules()
    rss_sources, files = list[RssSource](), list[FileSource]()
    with reading(engine) as connection:
        known, decided_until = progress.load(connection), counts.decided_until(connection)
        for feed in settings.feeds:
            partition = _partition(feed, known.get(feed.partition))
            if feed.file is None:
                rss_sources.append(_rss_source(feed, partition, rules, connection, engine, wake, clock))
                continue
            source = _file_source(feed.file, partition, rules, decided_until, clock)
            if not (until_end and source.done):
                files.append(source)
    return rss_sources, files


def _partition(feed: FeedSettings, known: Partition | None) -> Partition:
    kind = "rss" if feed.rss else "file"
    partition = known or Partition(feed.partition, kind)
    if partition.kind != kind or partition.sorted:
        was = "sorted (--sort)" if partition.sorted else f"as {partition.kind}"
        raise SourceMismatch(f"The store has read {feed.partition} {was}: give the feed another name.")
    return partition


def _file_source(
    path: Path, partition: Partition, rules: ParseRules, decided_until: int | None, clock: Clock
) -> FileSource:
    source = FileSource(partition, path, rules, clock=clock)
    if not partition.version and decided_until is not None:
        refuse_a_file_of_the_past(FileFeed(path, rules=rules), path, decided_until)
    return source


def feed_rules(feed: FeedSettings, rules: ParseRules) -> rss.FeedRules:
    """Return how the items of an RSS feed are read."""
    name = feed.partition
    return rss.FeedRules(name.removeprefix("rss:"), feed.source, feed.language, feed.topics, replace(rules, feed=name))


def _rss_source(
    feed: FeedSettings,
    partition: Partition,
    rules: ParseRules,
    connection: Connection,
    engine: Engine,
    wake: Callable[[], None],
    clock: Clock,
) -> RssSource:
    def seen(name: str, ids: Sequence[str]) -> set[tuple[str, str]]:
        with reading(engine) as snapshot:
            return rss_feeds.taken(snapshot, name, ids)

    assert feed.rss is not None
    return RssSource(
        partition,
        feed.rss,
        feed_rules(feed, rules),
        connection,
        every=feed.every,
        clock=clock,
        allow_private=feed.allow_private,
        proxy="" if feed.proxy is None else feed.proxy.get_secret_value(),
        headers=feed.sent_headers,
        wake=wake,
        seen=seen,
    )
