"""Turn a partition's records into rows, batch by batch.

    commit(worker.rows(worker.take(sources)))

A row is a pure function of the record, the settings and the model. Its partition's watermark, at the moment when the
record is taken, decides when a story counts. Where a batch ends changes no row. `take` moves partitions on, in the
order in which records are taken, and finds the topics of stories. `rows` does the rest in two steps: `encode`, which
may run in another thread while more records are taken, and `make`, which needs no encoder.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from foreshock.ingest.errors import REASONS
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.errors import Misconfigured
from foreshock.monitor.moods import Scores
from foreshock.monitor.store.progress import Batch
from foreshock.monitor.topics.critical import CriticalWords
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.topics.names import Names
from foreshock.monitor.watermark import TimeRules, judge, step
from foreshock.observability import metrics
from foreshock.processes.companies import score_towards, towards_companies
from foreshock.processes.models import Models, StoryScorer
from foreshock.processes.rows import Encoded, Taken, batch
from foreshock.sources.live import Readable

TEXTS_TO_ENCODE = 512
"""Enough texts to sort them by length, few enough that progress is seen."""

WATCHED, NEARLY_ALL = 1_000, 0.99
"""A worker stops before a partition's records if this share of the last `WATCHED` died for one reason."""
NOT_JSON = {"not_utf8", "bad_json", "not_an_object"}
"""Records in another format die of a mixture of these, so they count as one reason."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """When a batch is full: at so many records, or at so many texts for the encoder."""

    records: int = 4_096
    texts: int = TEXTS_TO_ENCODE


@runtime_checkable
class StoryGrader(Protocol):
    """A scorer that can also say how grave bad news is; None where its weights cannot."""

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> Any: ...


@runtime_checkable
class StorySigner(Protocol):
    """A scorer that also says which stories are alike: the signs of each story's embedding; None where it cannot."""

    def sign_stories(self, pairs: Sequence[tuple[str, str]]) -> Any: ...


@runtime_checkable
class NoveltyReader(Protocol):
    """A scorer that also says how many tokens of a story its training texts did not hold; None where it cannot."""

    def novel_stories(self, pairs: Sequence[tuple[str, str]]) -> Any: ...


@dataclass(slots=True)
class _Found:
    """What the scorer says of stories, one item a story, and of those that were encoded by their places."""

    scores: list[Scores | None]
    severities: list[int | None]
    novelties: list[int | None]
    signs: Mapping[int, bytes] = field(default_factory=dict)


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


class Worker:
    """Reads sources and makes rows.

    Parameters:
        scorer: called once, when the first story needs a score. Stories that carry scores need no encoder. Or the
            models of a store, by time.
        settings: number of the settings' version, which the rows carry.
        size: when a batch is full.
        watched: how many of a partition's last records are watched for one reason of death.
        tickers: how many tickers of a story are stored.
        per_company: whether a story that names several companies is scored towards each of them too.
        critical: says for which topics a story is critical.
        names: finds names that no topic has; None if nobody watches for them.
    """

    def __init__(
        self,
        matcher: Matcher,
        scorer: Callable[[], StoryScorer] | Models,
        rules: TimeRules,
        *,
        settings: int,
        size: BatchSize | None = None,
        watched: int = WATCHED,
        tickers: int = 100,
        per_company: bool = True,
        critical: CriticalWords | None = None,
        names: Names | None = None,
    ) -> None:
        self._names = names
        self._critical = critical
        self._per_company = per_company
        self._tickers = tickers
        self.size = size or BatchSize()
        self._matcher = matcher
        self.models = scorer if isinstance(scorer, Models) else Models(scorer)
        self._fates: dict[str, _Fates] = {}
        self._watched = watched
        self._broken: Exception | None = None
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
        if not len(taken):
            taken.stamps.read_from = time.time_ns()
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
        fates = self._fates.get(partition.name)
        if fates is None:
            fates = self._fates[partition.name] = _Fates(self._watched)
        if fates.add(died) and partition.kind != "deadletters":
            raise Misconfigured(
                f"Nearly all of the last {self._watched:,} records of {partition.name} cannot be read, for one reason: "
                f"{died}. {REASONS[died or '']} That is a matter of settings, so reading stopped before them. "
                "`foreshock deadletters list` and `foreshock check FILE` show what is wrong. Correct the settings and "
                "run again."
            )
        progress = partition.progress
        if isinstance(item, Story):
            found = self._matcher.read(item.title, item.body, item.tickers, item.topics, item.language)
            taken.stories.append((item, judge(progress.watermark, item.published_at, self._rules, item.counts_at)))
            taken.found.append(found)
            taken.to_encode += item.scores is None
            read_at = source.read_at
            if read_at is None or item.published_at - read_at <= self._rules.max_ahead:
                progress = step(progress, item.published_at, item.id, self._rules)
            else:  # it counts at its own time, but must not take the others' time there
                progress = replace(progress, idle=False)
        else:
            taken.dead_letters.append(item)
            progress = replace(progress, idle=False) if progress.idle else progress
        source.partition = after = partition.read_on(item.offset + 1, digest or None, progress)
        taken.partitions[after.name] = after

    def rows(self, taken: Taken) -> Batch:
        """Make the rows of what was taken: `encode`, then `make`."""
        return self.make(taken, self.encode(taken))

    def encode(self, taken: Taken) -> Encoded:
        """Do all that the encoder is needed for. One thread at a time."""
        taken.stamps.scored_from = time.time_ns()
        stories, found = [story for story, _ in taken.stories], taken.found
        nothing: list[None] = [None] * len(stories)
        encoded = Encoded([*nothing], [*nothing], switch=self.models.number)
        by_model: dict[int, list[int]] = {}
        for place, (_, judged) in enumerate(taken.stories):
            by_model.setdefault(self.models.place(judged.counts_at), []).append(place)
        for model, places in by_model.items():
            self._encode(encoded, [stories[at] for at in places], [found[at].companies for at in places], places, model)
        taken.stamps.scored_until = time.time_ns()
        return encoded

    def _encode(
        self,
        encoded: Encoded,
        stories: Sequence[Story],
        named: Sequence[Mapping[str, str]],
        places: Sequence[int],
        model: int,
    ) -> None:
        """Score the stories that one model scores. `places`: theirs in the batch."""
        of = self._scores(stories, model)
        scorer = self.models.loaded(model)
        moods = towards_companies(stories, of.scores, named, scorer) if self._per_company else [{} for _ in stories]
        for turn, place in enumerate(places):
            encoded.scores[place], encoded.severities[place] = of.scores[turn], of.severities[turn]
            encoded.moods[place], encoded.novelties[place] = moods[turn], of.novelties[turn]
            if scorer is not None:
                encoded.models[place] = scorer.identity
        encoded.signs.update({places[turn]: found for turn, found in of.signs.items()})

    def _named(self, taken: Taken, encoded: Encoded) -> list[Sequence[str]]:
        """Return the names of each story that no topic has. Those of a story without scores say nothing."""
        if self._names is None:
            return []
        return [
            () if score is None else self._names.find(s.title, s.tickers, found.topics, s.language)
            for (s, _), score, found in zip(taken.stories, encoded.scores, taken.found, strict=True)
        ]

    def make(self, taken: Taken, encoded: Encoded) -> Batch:
        """Make the rows of what was taken and encoded. It needs no encoder, so that another batch can have it."""
        return batch(
            taken,
            encoded,
            settings=self.settings,
            tickers=self._tickers,
            critical=self._critical,
            names=self._named(taken, encoded),
        )

    def moods(
        self, texts: Sequence[tuple[str, str]], named: Sequence[Mapping[str, str]], until: int | None
    ) -> list[dict[str, Scores]]:
        """Return the scores of texts (title and body) towards the companies that they name, by topic.

        `named`: for each text, topic -> name as it stands there. `until`: up to where buckets are decided (None:
        nothing is). The model that is in force there scores, and none that is only recorded.
        """
        if not self._per_company or not any(named):
            return [{} for _ in texts]
        return score_towards(texts, named, self.models.load(0 if until is None else self.models.place(until)))

    def _scores(self, stories: Sequence[Story], model: int) -> _Found:
        """Return each story's scores: its own, else the encoder's; None in a language that the encoder cannot read.

        And each story's severity in hundredths, from the same; None where neither says it. Novelty and signs are those
        of stories that were encoded.
        """
        missing = [place for place, story in enumerate(stories) if story.scores is None]
        found = _Found([s.scores for s in stories], [s.severity for s in stories], [None] * len(stories))
        if not missing:
            return found
        scorer = self.models.load(model)
        readable = [place for place in missing if stories[place].language in scorer.languages]
        begun = time.monotonic()
        texts = [(stories[place].title, stories[place].body) for place in readable]
        scored = scorer.score_stories(texts)
        grades = scorer.grade_stories(texts) if isinstance(scorer, StoryGrader) else None
        signed = scorer.sign_stories(texts) if isinstance(scorer, StorySigner) else None
        novel = scorer.novel_stories(texts) if isinstance(scorer, NoveltyReader) else None
        metrics.encoded(len(readable), seconds=time.monotonic() - begun)
        for place, row in zip(readable, scored.tolist(), strict=True):
            found.scores[place] = tuple(row)
        for numbers, into in ((grades, found.severities), (novel, found.novelties)):
            if numbers is not None:
                for place, number in zip(readable, numbers.tolist(), strict=True):
                    into[place] = number
        if signed is not None:
            found.signs = {place: row.tobytes() for place, row in zip(readable, signed, strict=True)}
        return found


def _order(source: Readable) -> tuple[bool, int, str]:
    """Order sources for reading: those without a watermark first, then by watermark."""
    watermark = source.partition.progress.watermark
    return watermark is not None, watermark or 0, source.partition.name
