"""Try each feed, broker and receiver of the settings once (`foreshock doctor --connect`). Nothing is stored or sent.

Each attempt runs in a daemon thread and has a limit of its own. Beyond `LIMIT`, an attempt counts as failed and is left
behind, so that the whole ends in any case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foreshock.analysis.feed_try import try_url
from foreshock.ingest.errors import FeedUnavailable, IngestError
from foreshock.ingest.growing import GrowingFile
from foreshock.ingest.kafka import TopicReader
from foreshock.ingest.redaction import without_secrets
from foreshock.monitor.delivery.probe import probe_message, probe_webhook
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings
from foreshock.monitor.errors import Undelivered
from foreshock.settings.models import FeedSettings, KafkaSettings, Settings

LIMIT = 90.0
"""Seconds for one attempt. A poll with its parsing takes 65 at most, and Kafka's client 39."""
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt."""

    kind: str
    """`feed`, `file`, `kafka` or `receiver`."""
    name: str
    ok: bool
    said: str
    """What was tried and what came of it, or what went wrong."""
    remedy: str
    """What to do. Empty if it worked, or if `said` says it."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Task:
    kind: str
    name: str
    call: Callable[[], str]
    remedy: str


def attempts(settings: Settings, *, limit: float = LIMIT) -> list[Attempt]:
    """Try everything that the settings name, several at once, and return the attempts in the order of the settings."""
    tasks = _tasks(settings)
    found: list[Attempt | None] = [None] * len(tasks)
    places = threading.Semaphore(AT_ONCE)

    def attempt(at: int) -> None:
        with places:
            found[at] = _attempt(tasks[at])

    threads = [threading.Thread(target=attempt, args=(at,), daemon=True) for at in range(len(tasks))]
    for thread in threads:
        thread.start()
    until = time.monotonic() + limit * -(-len(tasks) // AT_ONCE)
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [
        known or Attempt(task.kind, task.name, False, f"did not end within {limit:g} s", task.remedy, limit)
        for task, known in zip(tasks, found, strict=True)
    ]


def _tasks(settings: Settings) -> Sequence[_Task]:
    tasks = []
    for feed in settings.feeds:
        tasks.append(
            _Task("feed", feed.partition.removeprefix("rss:"), _polling(feed, settings), "")
            if feed.rss
            else _Task("file", feed.partition, _opening(feed), "Correct its path in [[feeds]], or let it be written.")
        )
    if settings.kafka is not None:
        at = "Check bootstrap_servers and the login in [kafka], and that this machine can reach every broker."
        tasks.append(_Task("kafka", settings.kafka.topic, _connecting(settings.kafka), at))
    for webhook in settings.webhooks:
        tasks.append(_Task("receiver", webhook.name, _probing(webhook), _RECEIVER.format("[[webhooks]]", webhook.name)))
    for message in settings.messages:
        tasks.append(_Task("receiver", message.name, _probing(message), _RECEIVER.format("[[messages]]", message.name)))
    for service in settings.receivers:
        tasks.append(
            _Task("receiver", service.name, _probing(service), _RECEIVER.format("[[receivers]]", service.name))
        )
    return tasks


_RECEIVER = "Check its address in {} and the network; then send a sample: foreshock alerts test --to {}"


def _attempt(task: _Task) -> Attempt:
    begun = time.monotonic()
    try:
        ok, said, advice = True, task.call(), ""
    except (IngestError, Undelivered) as error:
        ok, said = False, str(error)
        advice = "" if isinstance(error, FeedUnavailable) or "allow_private = true" in said else task.remedy
    except Exception as error:  # a library may raise anything, and no other attempt may suffer for it
        ok, said, advice = False, f"failed: {type(error).__name__}: {error}", task.remedy
    return Attempt(task.kind, task.name, ok, without_secrets(said), advice, round(time.monotonic() - begun, 2))


def _polling(feed: FeedSettings, settings: Settings) -> Callable[[], str]:
    def poll() -> str:
        return f"polled: {try_url(feed, settings).counts()}; nothing was stored"

    return poll


def _opening(feed: FeedSettings) -> Callable[[], str]:
    def opened() -> str:
        assert feed.file is not None
        GrowingFile(feed.file).close()
        return f"can be read, {feed.file.stat().st_size:,} bytes"

    return opened


def _connecting(kafka: KafkaSettings) -> Callable[[], str]:
    def connect() -> str:
        reader = TopicReader(kafka, shared=False)
        try:
            count = len(reader.connect().partitions)
        finally:
            reader.close()
        return f"connected to {reader.servers}: the topic has {count} partitions; no record was read"

    return connect


def _probing(receiver: WebhookSettings | MessageSettings | ReceiverSettings) -> Callable[[], str]:
    return lambda: probe_message(receiver) if isinstance(receiver, MessageSettings) else probe_webhook(receiver)
