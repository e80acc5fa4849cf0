"""Check the stories of a pack, and count them again with the code that counts live.

Both run on a store that holds the pack's rows, and return what differs, in sentences.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from foreshock.ingest.parsing import content_of
from foreshock.monitor import novelty
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.counting import CountedStory, Ruling, SeenIds, count_bucket
from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.store.decided import stories_to_decide
from foreshock.monitor.topics.critical import CriticalWords, Mark, Read
from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.monitor.topics.matching import Matcher, matcher_of
from foreshock.monitor.topics.rules import TopicRule
from foreshock.monitor.units import UNIT
from foreshock.monitor.watermark import TimeRules

SUMS = ("stories", "events", "negative", "neutral", "positive", "day_events", "day_negative")
"""What is compared of a bucket's row. Which source an event belongs to follows from other topics' stories, too."""


def check_stories(connection: Connection, topic: str, *, critical: bool) -> list[str]:
    """Return what is wrong with the stories themselves."""
    wrong: list[str] = []
    rows = list(connection.execute(select(schema.stories).order_by(*schema.stories.primary_key.columns)))
    signed = [row for row in rows if row.signature is not None]
    made = dict(
        zip(
            ((row.partition, row.offset) for row in signed),
            novelty.signatures([(row.title, row.body) for row in signed]),
            strict=True,
        )
    )
    for row in rows:
        where = f"story {row.id!r} ({row.partition}, {row.offset})"
        if content_of(row.title, row.body, row.status) != row.content:
            wrong.append(f"{where}: its text is not the one of its hash")
        elif made.get((row.partition, row.offset), row.signature) != row.signature:
            wrong.append(f"{where}: its text is not the one of its signature")
        if row.negative is not None and row.negative + row.neutral + row.positive != UNIT:
            wrong.append(f"{where}: its scores do not sum to 1")
    wrong += _check_topics(connection, rows)
    return wrong + (_check_words(connection, topic, rows) if critical else [])


def _check_topics(connection: Connection, rows: list[Any]) -> list[str]:
    """Return which stories lack a topic that the rules find in their text and tickers."""
    t = schema.story_topics.c
    own: dict[tuple[str, int], set[str]] = {}
    for row in connection.execute(select(t.partition, t.offset, t.topic)):
        own.setdefault((row.partition, row.offset), set()).add(row.topic)
    matchers: dict[int, Matcher] = {}
    wrong: list[str] = []
    numbers = connection.execute(select(schema.settings_versions.c.number)).scalars().all()
    by_version = {number: {rule.name: rule for rule in _rules(connection, number)[0]} for number in numbers}
    for row in rows:
        if row.settings not in matchers:
            # By a rule that changed later, stories were read again.
            later = [rules for number, rules in by_version.items() if number > row.settings]
            first = by_version[row.settings]
            same = [rule for name, rule in first.items() if all(rules.get(name, rule) == rule for rules in later)]
            matchers[row.settings] = Matcher(same)
        found = matchers[row.settings].match(row.title, row.body, json.loads(row.tickers), (), row.language)
        lacking = sorted(set(found) - own.get((row.partition, row.offset), set()))
        wrong += [f"story {row.id!r}: by the rules it has the topic {topic!r}, not by its rows" for topic in lacking]
    return wrong


def _check_words(connection: Connection, topic: str, rows: list[Any]) -> list[str]:
    """Return which stories are critical by their rows and not by their text, scores and settings."""
    t = schema.story_topics.c
    topics: dict[tuple[str, int], list[Any]] = {}
    for row in connection.execute(select(schema.story_topics).order_by(t.topic)):
        topics.setdefault((row.partition, row.offset), []).append(row)
    by_settings: dict[int, CriticalWords] = {}
    wrong: list[str] = []
    for row in rows:
        own = topics.get((row.partition, row.offset), [])
        said = next((one for one in own if one.topic == topic and one.critical is not None), None)
        if said is None:
            continue
        if row.settings not in by_settings:
            by_settings[row.settings] = _words(connection, row.settings)
        names = [one.topic for one in own]
        read = Read(row.title, row.body, row.language, names, json.loads(row.tickers), names, row.severity)
        mood = row.negative if said.negative is None else said.negative
        mark = by_settings[row.settings].marks(read, lambda name, mood=mood: mood).get(topic)  # type: ignore[misc]
        if mark != Mark(said.critical, said.critical_from):
            wrong.append(f"story {row.id!r}: it is not critical by its text and scores")
    return wrong


def _words(connection: Connection, number: int) -> CriticalWords:
    rules, tables = _rules(connection, number)
    return CriticalWords(tables, rules, matcher_of(rules))


def _rules(connection: Connection, number: int) -> tuple[list[TopicRule], list[CriticalRule]]:
    v = schema.settings_versions.c
    body = json.loads(connection.execute(select(v.body).where(v.number == number)).scalar_one())
    rules = [TopicRule.model_validate(rule) for rule in body["topics"]]
    return rules, [CriticalRule.model_validate(rule) for rule in body.get("critical", ())]


def counted_again(connection: Connection, topic: str, start: int, end: int) -> list[str]:
    """Return what differs when the stories are counted again: rulings, and the topic's buckets in [start, end)."""
    time = settings_versions.time_rules(connection)
    wrong: list[str] = []
    stored = {(row.partition, row.offset): row for row in connection.execute(select(schema.decisions))}
    critical: set[tuple[str, str, int]] = set()
    rows: dict[int, Any] = {}
    for rulings, bucket in _counted(connection, time, end):
        for ruling in rulings:
            if (said := _said_of(ruling)) != (was := _was(stored.get(ruling.member.position))):
                wrong.append(
                    f"story {ruling.member.id!r} was {_words_of(was)}, and counted again it is {_words_of(said)}"
                )
        critical.update((one.topic, one.partition, one.offset) for one in bucket.critical)
        rows[bucket.start] = next((row for row in bucket.topics if row.topic == topic), None)
    b, c = schema.buckets.c, schema.critical_stories.c
    query = select(schema.buckets).where(b.topic == topic, b.start >= start, b.start + time.bucket <= end)
    for row in connection.execute(query.order_by(b.start)):
        again = rows.get(row.start)
        for name in SUMS:
            if (value := getattr(again, name, 0)) != getattr(row, name):
                wrong.append(f"{name} of the bucket at {row.start} is {getattr(row, name)}, and counted again {value}")
    for row in connection.execute(select(c.topic, c.partition, c.offset)):
        if tuple(row) not in critical:
            wrong.append(f"the critical story ({row.partition}, {row.offset}) does not count as one")
    return wrong


def _counted(connection: Connection, time: TimeRules, end: int) -> Iterator[tuple[list[Ruling], Bucket]]:
    versions = settings_versions.in_order(connection)
    since, memory = 0, SeenIds()
    while since < end:
        members, cut = stories_to_decide(connection, since, end, time)
        by_bucket: dict[int, list[CountedStory]] = {}
        for member in members:
            by_bucket.setdefault(member.bucket, []).append(member)
        for begin in sorted(by_bucket):
            body = next((b for at, b in reversed(versions) if at is None or at <= begin), None)
            muted = detection_rules(body, time).muted
            yield count_bucket(memory, begin, by_bucket[begin], time, muted=muted)
        since = end if cut is None else cut


Said = tuple[str, bool, Any, Any]


def _said_of(ruling: Ruling) -> Said:
    return ruling.ending, ruling.weighs, ruling.story, ruling.event


def _was(row: Any) -> Said | None:
    if row is None:
        return None
    story = None if row.story_partition is None else (row.story_partition, row.story_offset)
    event = None if row.event_partition is None else (row.event_partition, row.event_offset)
    return row.ending, bool(row.weighs), story, event


def _words_of(said: Said | None) -> str:
    if said is None:
        return "not ruled on"
    ending, weighs, story, event = said
    return f"{ending}{'' if weighs else ' without weight'}" + (f" of {story or event}" if story or event else "")
