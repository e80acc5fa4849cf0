"""Turn a partition's records into rows, batch by batch.

    commit(worker.rows(worker.take(sources)))

A row is a pure function of the record, the settings and the model. Its partition's watermark, at the moment when the
record is taken, decides when a story counts. Where a batch ends changes no row. `take` moves partitions on, in the
order in which records are taken. `rows` does the work, and may run in another thread while more records are taken.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import orjson

from foreshock.ingest.errors import REASONS
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor import novelty
from foreshock.monitor.errors import Misconfigured
from foreshock.monitor.moods import Scores
from foreshock.monitor.store.progress import Batch, Partition
from foreshock.monitor.topics.critical import CriticalWords, Mark, Read
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.watermark import Judgement, TimeRules, judge, step
from foreshock.observability import metrics
from foreshock.processes.companies import score_towards, towards_companies
from foreshock.sources.live import Readable

TEXTS_TO_ENCODE = 512
"""Enough texts to sort them by length, few enough that progress is seen."""

WATCHED, NEARLY_ALL = 1_000, 0.99
"""A worker stops before a partition's records if this share of the last `WATCHED` died for one reason."""
NOT_JSON = {"not_utf8", "bad_json", "not_an_object"}
"""Records in another format die of a mixture of these, so they count as one reason."""

CARRIED = "feed"
"""Stands in place of a model's identity for scores that a story brought along."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """When a batch is full: at so many records, or at so many texts for the encoder."""

    records: int = 4_096
    texts: int = TEXTS_TO_ENCODE


class StoryScorer(Protocol):
    """What a worker needs of the encoder: `foreshock.model.scorer.Scorer`, or a quick one in tests."""

    identity: str
    languages: frozenset[str]

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any: ...


@runtime_checkable
class StoryGrader(Protocol):
    """A scorer that can also say how grave bad news is; None where its weights cannot."""

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> Any: ...


class _Fates:
    """How the last `watched` records of a partition ended: with a reason for which they died, or None for stories."""

    def __init__(self, watched: int) -> None:
        self._last: deque[str | None] = deque(maxlen=watched)
        self._counts: Counter[str | None] = Counter()
        self._watched = watched

    def add(self, reason: str | None) -> bool:
        """Add a record; return whether nearly all of a full window died for its reason."""
        if len(self._last) == self._watched:
            self._counts[self._last[0]] -= 1
        if reason in NOT_JSON:
            reason = "bad_json"
        self._last.append(reason)
        self._counts[reason] += 1
        full = len(self._last) == self._watched
        return reason is not None and full and self._counts[reason] >= NEARLY_ALL * self._watched


@dataclass(slots=True)
class Taken:
    """Records that were taken and are not committed, and where each of their partitions stands after them."""

    stories: list[tuple[Story, Judgement]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    partitions: dict[str, Partition] = field(default_factory=dict)
    to_encode: int = 0

    def __len__(self) -> int:
        return len(self.stories) + len(self.dead_letters)


class Worker:
    """Reads sources and makes rows.

    Parameters:
        scorer: called once, when the first story needs a score. Stories that carry scores need no encoder.
        settings: number of the settings' version, which the rows carry.
        size: when a batch is full.
        watched: how many of a partition's last records are watched for one reason of death.
        tickers: how many tickers of a story are stored.
        per_company: whether a story that names several companies is scored towards each of them too.
        critical: says for which topics a story is critical.
    """

    def __init__(
        self,
        matcher: Matcher,
        scorer: Callable[[], StoryScorer],
        rules: TimeRules,
        *,
        settings: int,
        size: BatchSize | None = None,
        watched: int = WATCHED,
        tickers: int = 100,
        per_company: bool = True,
        critical: CriticalWords | None = None,
    ) -> None:
        self._critical = critical
        self._per_company = per_company
        self._tickers = tickers
        self.size = size or BatchSize()
        self._matcher = matcher
        self._make_scorer = scorer
        self._fates: dict[str, _Fates] = {}
        self._watched = watched
        self._broken: Exception | None = None
        self._scorer: StoryScorer | None = None
        self._rules = rules
        self.settings = settings
        """The number of the settings' version."""

    def is_full(self, taken: Taken) -> bool:
        return taken.to_encode >= self.size.texts or len(taken) >= self.size.records

    def take(self, sources: Sequence[Readable], taken: Taken | None = None) -> Taken:
        """Add the records that the sources have by now to `taken`, until it is full. Sources have then moved on.

        If a source breaks, what was taken before is still returned; the next call raises its error, and takes no more.
        `Misconfigured` is raised at once.
        """
        taken = Taken() if taken is None else taken
        if self._broken is not None and not len(taken):
            raise self._broken
        waiting = list(sources) if self._broken is None else []
        while waiting and not self.is_full(taken):
            source = min(waiting, key=_order) if len(waiting) > 1 else waiting[0]
            try:
                found = source.next()
                if found is not None:
                    self._take(source, *found, taken)
            except Misconfigured:
                raise
            except Exception as error:
                if not len(taken):
                    raise
                self._broken = error
                break
            if found is None:
                waiting.remove(source)
        return taken

    def forget(self) -> None:
        """Forget how records ended: the sources are read again from where the store is."""
        self._fates.clear()
        self._broken = None

    def _take(self, source: Readable, item: Story | DeadLetter, digest: str, taken: Taken) -> None:
        partition = source.partition
        died = item.reason if isinstance(item, DeadLetter) else None
        if self._fates.setdefault(partition.name, _Fates(self._watched)).add(died) and partition.kind != "deadletters":
            raise Misconfigured(
                f"Nearly all of the last {self._watched:,} records of {partition.name} cannot be read, for one reason: "
                f"{died}. {REASONS[died or '']} That is a matter of settings, so reading stopped before them. "
                "`foreshock deadletters list` and `foreshock check FILE` show what is wrong. Correct the settings and "
                "run again."
            )
        progress = partition.progress
        if isinstance(item, Story):
            taken.stories.append((item, judge(progress.watermark, item.published_at, self._rules, item.counts_at)))
            taken.to_encode += item.scores is None
            read_at = source.read_at
            if read_at is None or item.published_at - read_at <= self._rules.max_ahead:
                progress = step(progress, item.published_at, item.id, self._rules)
            else:  # it counts at its own time, but must not take the others' time there
                progress = replace(progress, idle=False)
        else:
            taken.dead_letters.append(item)
            progress = replace(progress, idle=False)
        source.partition = after = replace(
            partition, next_offset=item.offset + 1, last_hash=digest or None, progress=progress
        )
        taken.partitions[after.name] = after

    def rows(self, taken: Taken) -> Batch:
        """Make the rows of what was taken."""
        now = time.time_ns() // 1_000
        stories = [story for story, _ in taken.stories]
        scores, severities = self._scores(stories)
        signed = [place for place, score in enumerate(scores) if score is not None]
        signatures = novelty.signatures([(stories[place].title, stories[place].body) for place in signed])
        signature_of = dict(zip(signed, signatures, strict=True))
        found = [self._matcher.read(s.title, s.body, s.tickers, s.topics, s.language) for s in stories]
        named = [one.companies for one in found]
        moods = towards_companies(stories, scores, named, self._scorer) if self._per_company else [{} for _ in stories]
        rows, topics = [], []
        for place, (story, judged) in enumerate(taken.stories):
            score = scores[place]
            negative, neutral, positive = (None, None, None) if score is None else score
            model = None if score is None else CARRIED if story.scores is not None else self._identity
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
                    "tickers": orjson.dumps(story.tickers[: self._tickers]).decode(),
                    "negative": negative,
                    "neutral": neutral,
                    "positive": positive,
                    "severity": severities[place],
                    "model": model,
                    "signature": signature_of.get(place),
                    "extra": orjson.dumps(story.extra, option=orjson.OPT_SORT_KEYS).decode() if story.extra else None,
                    "settings": self.settings,
                    "ingested_at": now,
                    "feed": story.feed,
                }
            )
            marks = self._marks(story, found[place].topics, score, severities[place], moods[place])
            for topic in found[place].topics:
                mark = marks.get(topic)
                mood = moods[place].get(topic, score)
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
                "settings": self.settings,
                "ingested_at": now,
            }
            for letter in taken.dead_letters
        ]
        return Batch(rows, topics, dead, list(taken.partitions.values()))

    def moods(self, texts: Sequence[tuple[str, str]], named: Sequence[Mapping[str, str]]) -> list[dict[str, Scores]]:
        """Return the scores of texts (title and body) towards the companies that they name, by topic.

        `named`: for each text, topic -> name as it stands there.
        """
        if not self._per_company or not any(named):
            return [{} for _ in texts]
        if self._scorer is None:
            self._scorer = self._make_scorer()
        return score_towards(texts, named, self._scorer)

    def _marks(
        self,
        story: Story,
        topics: Sequence[str],
        score: Scores | None,
        severity: int | None,
        moods: Mapping[str, Scores],
    ) -> Mapping[str, Mark]:
        """Return the topics for which a story is critical."""
        if self._critical is None or score is None or story.status == "withdrawn":
            return {}
        read = Read(story.title, story.body, story.language, topics, story.tickers, story.topics, severity)
        return self._critical.marks(read, lambda topic: moods.get(topic, score)[0])

    @property
    def _identity(self) -> str | None:
        return None if self._scorer is None else self._scorer.identity

    def _scores(self, stories: Sequence[Story]) -> tuple[list[Scores | None], list[int | None]]:
        """Return each story's scores: its own, else the encoder's; None in a language that the encoder cannot read.

        And each story's severity in hundredths, from the same; None where neither says it.
        """
        scores: list[Scores | None] = [story.scores for story in stories]
        severities: list[int | None] = [story.severity for story in stories]
        missing = [place for place, score in enumerate(scores) if score is None]
        if not missing:
            return scores, severities
        if self._scorer is None:
            self._scorer = self._make_scorer()
        readable = [place for place in missing if stories[place].language in self._scorer.languages]
        begun = time.monotonic()
        texts = [(stories[place].title, stories[place].body) for place in readable]
        found = self._scorer.score_stories(texts)
        grades = self._scorer.grade_stories(texts) if isinstance(self._scorer, StoryGrader) else None
        metrics.encoded(len(readable), seconds=time.monotonic() - begun)
        for place, row in zip(readable, found.tolist(), strict=True):
            scores[place] = tuple(row)
        if grades is not None:
            for place, grade in zip(readable, grades.tolist(), strict=True):
                severities[place] = grade
        return scores, severities


def _order(source: Readable) -> tuple[bool, int, str]:
    """Order sources for reading: those without a watermark first, then by watermark."""
    watermark = source.partition.progress.watermark
    return watermark is not None, watermark or 0, source.partition.name
