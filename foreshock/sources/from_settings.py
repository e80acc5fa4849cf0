"""Make the sources that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from foreshock.ingest.kafka import TopicReader
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store import progress
from foreshock.monitor.store.progress import Partition
from foreshock.sources.live import Clock

if TYPE_CHECKING:
    pass
from collections.abc import Sequence

from sqlalchemy import Engine

from foreshock.ingest import rss
from foreshock.ingest.files import FileFeed
from foreshock.monitor.store import counts as store_counts
from foreshock.monitor.store import rss_feeds
from foreshock.monitor.store.database import reading
from foreshock.settings.models import FeedSettings, Settings
from foreshock.sources import finite
from foreshock.sources.growing_file import FileSource
from foreshock.sources.kafka import KafkaFeed
from foreshock.sources.rss import RssSource


def make_feed(
    settings: Any, *, shared: bool, until_end: bool, clock: Clock, reader: Callable[..., TopicReader] = TopicReader
) -> KafkaFeed:
    """The feed of the settings' [kafka]."""
    kafka = settings.kafka
    return KafkaFeed(
        reader(kafka, shared=shared, session_timeout=kafka.session_timeout / 1e6),
        kafka.topic,
        settings.parsing_kafka().rules(),
        until_end=until_end,
        clock=clock,
    )


def make_sources(
    settings: Settings, engine: Engine, wake: Callable[[], None], clock: Clock
) -> list[RssSource | FileSource]:
    """A source for each feed of the settings, each at its place in the store."""
    rules = settings.parsing().rules()
    with reading(engine) as connection:
        known, decided_until = progress.load(connection), store_counts.decided_until(connection)
        found = list[RssSource | FileSource]()
        for feed in settings.feeds:
            kind = "rss" if feed.rss else "file"
            partition = known.get(feed.partition) or Partition(feed.partition, kind)
            if partition.kind != kind or partition.sorted:
                was = "sorted (--sort)" if partition.sorted else f"as {partition.kind}"
                raise SourceMismatch(f"The store has read {feed.partition} {was}: give the feed another name.")
            if feed.file is None:
                found.append(_rss_source(partition, feed, settings, connection, engine, wake, clock))
                continue
            source = FileSource(partition, feed.file, rules, clock=clock)
            if not partition.version and decided_until is not None:
                finite.refuse_a_file_of_the_past(FileFeed(feed.file, rules=rules), feed.file, decided_until)
            found.append(source)
    return found


def _rss_source(
    partition: Partition,
    feed: FeedSettings,
    settings: Settings,
    connection: Any,
    engine: Engine,
    wake: Callable[[], None],
    clock: Clock,
) -> RssSource:
    def seen(name: str, ids: Sequence[str]) -> set[str]:
        with reading(engine) as snapshot:
            return rss_feeds.taken(snapshot, name, ids)

    rules = rss.FeedRules(
        partition.name.removeprefix("rss:"), feed.source, feed.language, feed.topics, settings.parsing().rules()
    )
    return RssSource(partition, feed.rss, rules, connection, every=feed.every, clock=clock, wake=wake, seen=seen)
