"""Score stories towards the companies that they name.

A text is often good for one company and bad for another. So where it names two companies or more that are topics
(`Matcher.read` says which, and how the text writes them), it is scored once more for each of them.

Invariant: a score depends on the story and the name alone, not on the other stories of the batch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from foreshock.ingest.story import Story
from foreshock.monitor.moods import Scores
from foreshock.observability import metrics


@runtime_checkable
class CompanyScorer(Protocol):
    """A scorer that can also say what a text says of one company; None where its weights cannot."""

    def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> Any: ...


def towards_companies(
    stories: Sequence[Story], scores: Sequence[Scores | None], named: Sequence[Mapping[str, str]], scorer: object
) -> list[dict[str, Scores]]:
    """Return each story's scores towards companies, by topic: those that it carries, else the encoder's.

    `scores`: of the stories themselves; a story without any has none towards a company. `named`: for each story, topic
    -> name as it stands in the text. `scorer`: a `CompanyScorer`, or another, which says nothing of companies.
    """
    ours = [
        {} if story.scores is not None or scores[place] is None else named[place] for place, story in enumerate(stories)
    ]
    made = score_towards([(story.title, story.body) for story in stories], ours, scorer)
    return [found if story.scores is None else story.topic_scores for story, found in zip(stories, made, strict=True)]


def score_towards(
    texts: Sequence[tuple[str, str]], named: Sequence[Mapping[str, str]], scorer: object
) -> list[dict[str, Scores]]:
    """Return the encoder's scores of texts (title and body) towards the companies that they name, by topic."""
    found: list[dict[str, Scores]] = [{} for _ in texts]
    asked = [(place, topic, name) for place, names in enumerate(named) for topic, name in names.items()]
    if not asked or not isinstance(scorer, CompanyScorer):
        return found
    begun = time.monotonic()
    rows = scorer.score_companies([(*texts[place], name) for place, _, name in asked])
    if rows is not None:
        metrics.encoded(len(asked), seconds=time.monotonic() - begun)
        for (place, topic, _), row in zip(asked, rows.tolist(), strict=True):
            found[place][topic] = tuple(row)
    return found
