"""A worker: from a partition's records to rows, batch by batch.

    for batch in Worker(...).batches(sources): commit(batch)         # sources that end
    commit(worker.rows(worker.take(sources)))                        # what live sources have by now

A row is a pure function of the record, the settings and the model; when a story counts is judged by its partition's
watermark at its turn. Batches only bundle: where one ends changes no row. `take` moves partitions on, in the order in
which records are taken; `rows` is the work, and may be done by another thread while more is taken.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from foreshock.ingest.errors import REASONS
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor import novelty
from foreshock.monitor.errors import Misconfigured
from foreshock.monitor.store.progress import Batch, Partition
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.watermark import Judgement, TimeRules, judge, step
from foreshock.observability import metrics
from foreshock.processes.pace import Pace
from foreshock.sources.finite import Source
from foreshock.sources.live import Readable

TEXTS_TO_ENCODE = 512
"""Texts of one batch that need the encoder: enough to sort them by length, few enough that progress is seen."""
RECORDS = 4096
"""Records of one batch at the most; so many only where stories carry their scores."""

WATCHED, NEARLY_ALL = 1_000, 0.99
"""When this share of a partition's last records died for one reason, its worker stops before them."""
NOT_JSON = {"not_utf8", "bad_json", "not_an_object"}
"""What records of another format die of, some of this and some of that: one reason."""

CARRIED = "feed"
"""In place of a model's identity, for scores that a story brought along."""

Scores = tuple[int, int, int]


class StoryScorer(Protocol):
    """What a worker needs of the encoder. `foreshock.model.scorer.Scorer` is one; tests have a quick one."""

    identity: str
    languages: frozenset[str]

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any: ...


@dataclass(slots=True)
class _Fates:
    """How the last records of a partition ended: the reasons for which they died, None for stories."""

    last: deque[str | None] = field(default_factory=lambda: deque(maxlen=WATCHED))
    counts: Counter[str | None] = field(default_factory=Counter)

    def add(self, reason: str | None) -> bool:
        """Take one more in; whether nearly all of a full window died for this reason."""
        if len(self.last) == WATCHED:
            self.counts[self.last[0]] -= 1
        if reason in NOT_JSON:
            reason = "bad_json"
        self.last.append(reason)
        self.counts[reason] += 1
        return reason is not None and len(self.last) == WATCHED and self.counts[reason] >= NEARLY_ALL * WATCHED


@dataclass(slots=True)
class Taken:
    """Records in hand, and where each of their partitions stands after them."""

    stories: list[tuple[Story, Judgement]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    partitions: dict[str, Partition] = field(default_factory=dict)
    to_encode: int = 0

    def __len__(self) -> int:
        return len(self.stories) + len(self.dead_letters)

    @property
    def full(self) -> bool:
        return self.to_encode >= TEXTS_TO_ENCODE or len(self) >= RECORDS


class Worker:
    """Reads sources and makes rows.

    `scorer` is called once, when the first story needs scoring: stories that carry scores need no encoder.
    """

    def __init__(
        self,
        matcher: Matcher,
        scorer: Callable[[], StoryScorer],
        rules: TimeRules,
        *,
        settings: int,
        speed: float | None = None,
    ) -> None:
        self._matcher = matcher
        self._make_scorer = scorer
        self._fates: dict[str, _Fates] = {}
        self._broken: Exception | None = None
        self._scorer: StoryScorer | None = None
        self._rules = rules
        self._settings = settings
        self._pace = None if speed is None else Pace(speed)

    def batches(self, sources: Sequence[Source]) -> Iterator[Batch]:
        """Read all sources to their ends; each batch's partitions carry the version of the last commit before it.

        The caller commits each batch before it asks for the next, with `Source.partition.version` raised by that. If
        a source breaks (a truncated file), what was read before comes as a last batch, then its error is raised.
        """
        taken = Taken()
        while open_sources := [source for source in sources if not source.ended]:
            source = min(open_sources, key=_order) if len(open_sources) > 1 else open_sources[0]
            try:
                found = source.next()
                if found is None:
                    source.ended = True
                    continue
                item, digest = found
                if self._pace and isinstance(item, Story) and self._pace.wait(item.published_at) > 0:
                    if len(taken):
                        yield self.rows(taken)
                        taken = Taken()
                    time.sleep(max(0.0, self._pace.wait(item.published_at)))
                self._take(source, item, digest, taken)
            except Misconfigured:
                raise  # what is in hand is of the same kind, and is read again with the right settings
            except Exception:
                if len(taken):
                    yield self.rows(taken)
                raise
            if taken.full:
                yield self.rows(taken)
                taken = Taken()
        if len(taken):
            yield self.rows(taken)

    def take(self, sources: Sequence[Readable], taken: Taken | None = None) -> Taken:
        """What the sources have by now, added to what was taken before, until it is full; perhaps nothing.

        Sources have then moved on. Where one breaks, what was taken before is still given; the next call raises, and
        nothing is taken any more. `Misconfigured` is raised at once.
        """
        taken = Taken() if taken is None else taken
        if self._broken is not None and not len(taken):
            raise self._broken
        waiting = list(sources) if self._broken is None else []
        while waiting and not taken.full:
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
        """Sources are read again from where the store is: how records ended that were taken since is void."""
        self._fates.clear()
        self._broken = None

    def _take(self, source: Readable, item: Story | DeadLetter, digest: str, taken: Taken) -> None:
        partition = source.partition
        died = item.reason if isinstance(item, DeadLetter) else None
        if self._fates.setdefault(partition.name, _Fates()).add(died) and partition.kind != "deadletters":
            raise Misconfigured(
                f"Nearly all of the last {WATCHED:,} records of {partition.name} cannot be read, for one reason: "
                f"{died}. {REASONS[died or '']} That is a matter of settings, so reading stopped before them "
                "(`foreshock deadletters list` and `foreshock check FILE` show what is wrong); run again when they are "
                "right."
            )
        progress = partition.progress
        if isinstance(item, Story):
            taken.stories.append((item, judge(progress.watermark, item.published_at, self._rules, item.counts_at)))
            taken.to_encode += item.scores is None
            progress = step(progress, item.published_at, item.id, self._rules)
        else:
            taken.dead_letters.append(item)
            progress = replace(progress, idle=False)
        source.partition = after = replace(
            partition, next_offset=item.offset + 1, last_hash=digest or None, progress=progress
        )
        taken.partitions[after.name] = after

    def rows(self, taken: Taken) -> Batch:
        """The rows of what was taken."""
        now = time.time_ns() // 1_000
        stories = [story for story, _ in taken.stories]
        scores = self._scores(stories)
        signed = [place for place, score in enumerate(scores) if score is not None]
        signatures = novelty.signatures([(stories[place].title, stories[place].body) for place in signed])
        signature_of = dict(zip(signed, signatures, strict=True))
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
                    "tickers": orjson.dumps(story.tickers).decode(),
                    "negative": negative,
                    "neutral": neutral,
                    "positive": positive,
                    "model": model,
                    "signature": signature_of.get(place),
                    "extra": orjson.dumps(story.extra, option=orjson.OPT_SORT_KEYS).decode() if story.extra else None,
                    "settings": self._settings,
                    "ingested_at": now,
                }
            )
            topics += [
                {"partition": story.partition, "offset": story.offset, "topic": topic, "counts_at": judged.counts_at}
                for topic in self._matcher.match(story.title, story.body, story.tickers, story.topics, story.language)
            ]
        dead = [
            {
                "partition": letter.partition,
                "offset": letter.offset,
                "reason": letter.reason,
                "detail": letter.detail,
                "raw": letter.raw,
                "size": letter.size,
                "settings": self._settings,
                "ingested_at": now,
            }
            for letter in taken.dead_letters
        ]
        return Batch(rows, topics, dead, list(taken.partitions.values()))

    @property
    def _identity(self) -> str | None:
        return None if self._scorer is None else self._scorer.identity

    def _scores(self, stories: Sequence[Story]) -> list[Scores | None]:
        """Of each story: as it carries them, else the encoder's; None in a language that the encoder does not read."""
        scores: list[Scores | None] = [story.scores for story in stories]
        missing = [place for place, score in enumerate(scores) if score is None]
        if not missing:
            return scores
        if self._scorer is None:
            self._scorer = self._make_scorer()
        readable = [place for place in missing if stories[place].language in self._scorer.languages]
        begun = time.monotonic()
        found = self._scorer.score_stories([(stories[place].title, stories[place].body) for place in readable])
        metrics.encoded(len(readable), seconds=time.monotonic() - begun)
        for place, row in zip(readable, found.tolist(), strict=True):
            scores[place] = tuple(row)
        return scores


def _order(source: Readable) -> tuple[bool, int, str]:
    """Of several sources the one with the smallest watermark is read first, one without a watermark before all."""
    watermark = source.partition.progress.watermark
    return watermark is not None, watermark or 0, source.partition.name
