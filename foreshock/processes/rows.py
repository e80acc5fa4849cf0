"""Make the rows of records that were taken and encoded. Pure, but for the clock of `ingested_at`.

A row is a function of the record, the settings, the model, and its partition's watermark when the record was taken.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor import novelty
from foreshock.monitor.moods import Scores
from foreshock.monitor.store import similar
from foreshock.monitor.store.progress import Batch, Partition
from foreshock.monitor.store.schema import CARRIED
from foreshock.monitor.topics.critical import CriticalWords, Mark, Read
from foreshock.monitor.topics.matching import Topics
from foreshock.monitor.topics.names import key_of
from foreshock.monitor.watermark import Judgement


@dataclass(slots=True)
class Stamps:
    """When a batch was taken and encoded, in nanoseconds since 1970. Traces show it; no row holds it."""

    read_from: int = 0
    read_until: int = 0
    scored_from: int = 0
    scored_until: int = 0


@dataclass(slots=True)
class Taken:
    """Records that were taken and are not committed, and where each of their partitions stands after them."""

    stories: list[tuple[Story, Judgement]] = field(default_factory=list)
    found: list[Topics] = field(default_factory=list)
    """The topics of each story. They are matched when it is taken, while the encoder has another batch."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    partitions: dict[str, Partition] = field(default_factory=dict)
    to_encode: int = 0
    stamps: Stamps = field(default_factory=Stamps)

    def __len__(self) -> int:
        return len(self.stories) + len(self.dead_letters)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder found in the stories of a batch, one item a story.

    `models`: by place, the identity of the scorer; none where none was needed. `signs`: of those that were encoded, by
    place. `moods`: towards companies, by place.
    """

    scores: list[Scores | None]
    severities: list[int | None]
    moods: dict[int, dict[str, Scores]] = field(default_factory=dict)
    models: dict[int, str] = field(default_factory=dict)
    signs: dict[int, bytes] = field(default_factory=dict)
    novelties: dict[int, int | None] = field(default_factory=dict)
    switch: int = 0
    """The last switch of the model that was known."""


def batch(
    taken: Taken,
    encoded: Encoded,
    *,
    settings: int,
    tickers: int,
    critical: CriticalWords | None,
    names: Sequence[Sequence[str]] = (),
) -> Batch:
    """Return what is committed of a batch.

    `settings`: the number of their version. `tickers`: how many of a story are stored. `critical`: says for which
    topics a story is critical. `names`: those that no topic has, one item a story; empty if nobody watches for them.
    """
    now = time.time_ns() // 1_000
    stories = [story for story, _ in taken.stories]
    signed = [place for place, score in enumerate(encoded.scores) if score is not None]
    signatures = novelty.signatures([(stories[place].title, stories[place].body) for place in signed])
    signature_of = dict(zip(signed, signatures, strict=True))
    rows, topics = [], []
    for place, (story, judged) in enumerate(taken.stories):
        score = encoded.scores[place]
        negative, neutral, positive = (None, None, None) if score is None else score
        model = None if score is None else CARRIED if story.scores is not None else encoded.models.get(place)
        rows.append(
            {
                "partition": story.partition,
                "offset": story.offset,
                "id": story.id,
                "content": story.content,
                "published_at": story.published_at,
                "counts_at": judged.counts_at,
                "late": judged.late,
                "stale": judged.stale,
                "date_only": story.date_only,
                "title": story.title,
                "body": story.body,
                "source": story.source,
                "url": story.url,
                "language": story.language,
                "status": story.status,
                "tickers": orjson.dumps(story.tickers[:tickers]).decode(),
                "negative": negative,
                "neutral": neutral,
                "positive": positive,
                "severity": encoded.severities[place],
                "model": model,
                "signature": signature_of.get(place),
                "extra": orjson.dumps(story.extra, option=orjson.OPT_SORT_KEYS).decode() if story.extra else None,
                "settings": settings,
                "ingested_at": now,
                "feed": story.feed,
                "novelty": encoded.novelties.get(place),
            }
        )
        marks = _marks(
            critical, story, taken.found[place].topics, score, encoded.severities[place], encoded.moods[place]
        )
        for topic in taken.found[place].topics:
            mark = marks.get(topic)
            mood = encoded.moods[place].get(topic, score)
            negative, neutral, positive = (None, None, None) if mood == score or mood is None else mood
            topics.append(
                {
                    "partition": story.partition,
                    "offset": story.offset,
                    "topic": topic,
                    "counts_at": judged.counts_at,
                    "negative": negative,
                    "neutral": neutral,
                    "positive": positive,
                    "critical": None if mark is None else mark.word,
                    "critical_from": None if mark is None else mark.needed,
                }
            )
    dead = [
        {
            "partition": letter.partition,
            "offset": letter.offset,
            "reason": letter.reason,
            "detail": letter.detail,
            "raw": letter.raw,
            "size": letter.size,
            "settings": settings,
            "ingested_at": now,
        }
        for letter in taken.dead_letters
    ]
    signs, named = _signed(stories, encoded), _named(taken, names)
    return Batch(rows, topics, dead, list(taken.partitions.values()), signs, encoded.switch, named)


def _named(taken: Taken, names: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return the rows of names that no topic has."""
    if not names:
        return []
    return [
        {
            "partition": story.partition,
            "offset": story.offset,
            "name": key_of(name),
            "written": name,
            "counts_at": judged.counts_at,
        }
        for (story, judged), of_story in zip(taken.stories, names, strict=True)
        for name in of_story
    ]


def _signed(stories: Sequence[Story], encoded: Encoded) -> list[dict[str, Any]]:
    """Return the rows of what finds similar stories."""
    numbers = {identity: similar.model_number(identity) for identity in set(encoded.models.values())}
    return [
        {
            "partition": stories[place].partition,
            "offset": stories[place].offset,
            "model": numbers[encoded.models[place]],
            "signs": found,
        }
        for place, found in sorted(encoded.signs.items())
    ]


def _marks(
    critical: CriticalWords | None,
    story: Story,
    topics: Sequence[str],
    score: Scores | None,
    severity: int | None,
    moods: Mapping[str, Scores],
) -> Mapping[str, Mark]:
    """Return the topics for which a story is critical."""
    if critical is None or score is None or story.status == "withdrawn":
        return {}
    read = Read(story.title, story.body, story.language, topics, story.tickers, story.topics, severity)
    return critical.marks(read, lambda topic: moods.get(topic, score)[0])
