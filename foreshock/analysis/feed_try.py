"""Read one feed or file once and report what would be taken of it (`foreshock feeds try`). Nothing is stored.

A URL is asked as `run` asks it: the same addresses are refused, the same limits hold, and the same parser's process
reads the answer. A file goes through the readers of `check` and `replay`, or, if it is XML, through the feeds' parser.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from foreshock.analysis.encoding_guess import guess_encoding
from foreshock.analysis.reading_guess import guess, reading_options
from foreshock.ingest import feed_parser, rss, rss_poll
from foreshock.ingest.errors import FeedUnavailable, UnreadableFile
from foreshock.ingest.feed_remedies import with_remedy
from foreshock.ingest.formats import open_format
from foreshock.ingest.parsing import AHEAD, ParseRules, parse
from foreshock.ingest.story import DeadLetter, Story
from foreshock.ingest.streams import ByteStream
from foreshock.monitor.store.times import iso
from foreshock.monitor.topics.matching import matcher_of
from foreshock.settings.models import FeedSettings, Settings
from foreshock.settings.redact import redacted
from foreshock.settings.versions import topic_rules
from foreshock.sources.from_settings import feed_rules

KEPT = 10_000
"""The most stories, and the most dead letters, that a trial keeps. It counts all."""
_START = 120
_PEEKED = 4_096
_XML = (b"<?xml", b"<rss", b"<feed", b"<rdf", b"<!doctype", b"<!--", b"<html")


@dataclass(frozen=True, slots=True)
class Taken:
    """A story that would be taken."""

    published_at: str
    """ISO 8601, UTC."""
    dated: str
    """Where the time comes from: `date`, `day` (a bare day, which counts at its end), `fetch` (it has no date), or
    `unreadable` (it has one that cannot be read, and counts at the fetch)."""
    title: str
    source: str
    topics: tuple[str, ...]
    language: str


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that would become a dead letter."""

    record: int
    """Its place, from 0. In an RSS feed the oldest item is 0."""
    reason: str
    detail: str
    start: str
    """The first characters of the record."""


@dataclass(slots=True)
class Trial:
    """What would be taken of a feed, and what would not."""

    feed: str
    kind: str
    """`rss`, or the format of a file."""
    stories: int = 0
    dead_letters: int = 0
    taken: list[Taken] = field(default_factory=list)
    """An RSS feed's with the newest first, a file's in its order; `KEPT` at most."""
    dead: list[Dead] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    """What the limits took away, a sentence each."""
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def counts(self) -> str:
        """Return the numbers of stories and dead letters in words."""
        dead = "1 dead letter" if self.dead_letters == 1 else f"{self.dead_letters:,} dead letters"
        return f"{_stories(self.stories)}, {dead}"


def try_url(feed: FeedSettings, settings: Settings) -> Trial:
    """Ask an RSS feed once.

    Raises:
        FeedUnavailable: it cannot be fetched, is not a feed or breaks a limit. The text says what to do.
    """
    rules = feed_rules(feed, settings.parsing().rules())
    shown = redacted(feed.rss)
    try:
        answer = rss_poll.fetch(
            feed.rss,
            rss_poll.Validators(),
            rules,
            allow_private=feed.allow_private,
            proxy="" if feed.proxy is None else feed.proxy.get_secret_value(),
            headers=feed.sent_headers,
        )
    except FeedUnavailable as error:
        raise FeedUnavailable(f"{shown}: {with_remedy(str(error))}") from None
    if answer is None:  # a server that answers 304 to a request without conditions
        raise FeedUnavailable(f"{shown}: the server answered 304 Not Modified, although nothing was asked before.")
    trial = _of_items(shown, answer.items, answer.left_out, settings, rules, answer.fetched_at)
    if answer.moved_to:
        trial.notes.append(f"The feed has moved for good to {redacted(answer.moved_to[:500])}: set this URL.")
    return trial


def try_file(path: Path, rules: ParseRules, settings: Settings, *, preset: str | None = None) -> Trial:
    """Read a file once: an RSS or Atom feed that was saved, or a feed file of any kind that `check` reads.

    Raises:
        MissingFile, UnreadableFile: the file cannot be read.
        FeedUnavailable: it is XML, but not a feed.
    """
    data = _xml(path)
    now = time.time_ns() // 1_000
    if data is not None:
        found = rss.FeedRules(path.name.partition(".")[0], parsing=replace(rules, feed=f"rss:{path.name}"))
        request = rss.request_of("", path.absolute().as_uri(), found)
        try:
            records = feed_parser.parse(data, request, deadline=time.monotonic() + rss_poll.PARSE_SECONDS)
        except FeedUnavailable as error:
            raise FeedUnavailable(f"{path}: {error}.") from None
        taken = rss.in_order(records, found, now)
        return _of_items(str(path), taken, len(records) - len(taken), settings, found, now)
    encoding = guess_encoding(path) if rules.encoding is None else None
    if encoding is not None:
        rules = replace(rules, encoding=encoding.encoding)
    file = open_format(path, rules.encoding)
    reading = guess(file, rules, preset)
    trial = Trial(str(path), file.name)
    trial.notes += [*([encoding.reason] if encoding is not None else []), *reading.notes]
    if words := reading_options(reading):
        trial.notes.append(f"It was read with {' '.join(words)}.")

    def items() -> Iterator[Story | DeadLetter]:
        for number, record in enumerate(file.records()):
            if record.flaw is not None:
                yield DeadLetter("", number, *record.flaw, record.data, record.size)
            else:
                yield parse(record.data, "", number, reading.rules, now + AHEAD)

    try:
        _count(trial, items(), settings)
    except UnreadableFile as error:
        trial.notes.append(f"BROKEN: {error}")
    return trial


def _of_items(
    feed: str, items: tuple[rss.Item, ...], left_out: int, settings: Settings, rules: rss.FeedRules, fetched_at: int
) -> Trial:
    trial = Trial(feed, "rss")
    parsed = [
        parse(item.record, "", number, rules.parsing, fetched_at + AHEAD, fetched_at)
        for number, item in enumerate(items)
    ]
    _count(trial, reversed(parsed), settings, fetched_at)
    if left_out:
        trial.cut.append(
            f"The feed has {left_out + len(items):,} items; the newest {len(items):,} by date are taken, {left_out:,} "
            "older ones are not."
        )
    for name, limit in (("title", rss.TITLE_LIMIT), ("body", rss.BODY_LIMIT)):
        if long := sum(isinstance(item, Story) and len(getattr(item, name)) >= limit for item in parsed):
            trial.cut.append(f"The {name} of {_stories(long)} is cut at {limit:,} characters.")
    if not items:
        trial.notes.append("The feed has no items.")
    return trial


def _count(
    trial: Trial, items: Iterator[Story | DeadLetter], settings: Settings, fetched_at: int | None = None
) -> None:
    limits = settings.limits
    matcher = matcher_of(topic_rules(settings), per_story=limits.topics_per_story)
    beyond: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for item in items:
        if isinstance(item, DeadLetter):
            trial.dead_letters += 1
            if len(trial.dead) < KEPT:
                start = item.raw[: 4 * _START].decode("utf-8", "replace")[:_START]
                trial.dead.append(Dead(item.offset, item.reason, item.detail, start))
            continue
        trial.stories += 1
        if len({*item.topics}) > limits.topics_per_story:
            beyond[f"more than {limits.topics_per_story} topics of its own; further ones count in _other"] += 1
        if len(item.tickers) > limits.tickers_per_story:
            beyond[f"more than {limits.tickers_per_story} tickers; further ones are matched, but not stored"] += 1
        languages[item.language] += 1
        if len(trial.taken) < KEPT:
            topics = matcher.match(item.title, item.body, item.tickers, item.topics, item.language)
            time, dated = iso(item.published_at), _dated(item, fetched_at)
            trial.taken.append(Taken(time, dated, item.title, item.source, topics, item.language))
    trial.cut += [f"{_stories(count)} has {what}." for what, count in beyond.items()]
    if set(languages) - {"en"}:
        named = ", ".join(f"{language} {count:,}" for language, count in languages.most_common(5))
        trial.notes.append(
            f"Languages: {named}. Stories in a language that the weights cannot score are stored unscored."
        )


def _dated(story: Story, fetched_at: int | None) -> str:
    if "published_unread" in story.extra:
        return "unreadable"
    return "day" if story.date_only else "fetch" if story.published_at == fetched_at else "date"


def _stories(count: int) -> str:
    return "1 story" if count == 1 else f"{count:,} stories"


def _xml(path: Path) -> bytes | None:
    """Return the bytes of a file that begins like XML or HTML, unpacked; None for another.

    Raises:
        MissingFile, UnreadableFile: it cannot be read.
        FeedUnavailable: it is larger than an answer may be.
    """
    if path.suffix.lower() in {".parquet", ".xlsx", ".xlsm"}:
        return None
    with ByteStream(path) as stream:
        start = stream.peek(_PEEKED).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
        if not start.lower().startswith(_XML):
            return None
        data = bytearray()
        while len(data) <= rss_poll.LARGEST and (chunk := stream.read(1 << 20)):
            data += chunk
    if len(data) > rss_poll.LARGEST:
        raise FeedUnavailable(f"{path}: is larger than {rss_poll.LARGEST >> 20} MiB.")
    return bytes(data)
