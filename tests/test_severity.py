"""How grave a story's bad news is: from the scorer or the record, through the store, to evidence and exports."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import QuickScorer

from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import Story
from foreshock.monitor.store.alerts import _about_as_grave
from foreshock.monitor.store.evidence import scores_json
from foreshock.processes.batches import Worker


class GradingScorer(QuickScorer):
    """Grades a story by the number at the end of its title."""

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return np.array([int(title.split()[-1]) for title, _ in pairs], np.int32)


def _record(**scores: Any) -> bytes:
    given = {"negative": 0.7, "neutral": 0.2, "positive": 0.1, **scores}
    return json.dumps({"title": "Loss", "published_at": "2026-01-05T10:00:00Z", "scores": given}).encode()


@pytest.mark.parametrize(
    ("scores", "severity"),
    [({}, None), ({"severity": 2.34}, 234), ({"severity": 3}, 300), ({"severity": 4}, None), ({"severity": "2"}, None),
     ({"severity": True}, None), ({"severity": -0.1}, None)],
)  # fmt: skip
def test_a_record_may_bring_its_severity_along(scores: dict[str, Any], severity: int | None) -> None:
    story = parse(_record(**scores), partition="p", offset=0, rules=ParseRules())
    assert isinstance(story, Story)
    assert story.scores == (7000, 2000, 1000)
    assert story.severity == severity


def test_the_scorer_says_it_where_the_record_does_not() -> None:
    worker = Worker(None, GradingScorer, None, settings=1)  # type: ignore[arg-type]
    stories = [
        Story("p", 0, "a", 0, "loss 120"),
        Story("p", 1, "b", 0, "loss 7", scores=(7000, 2000, 1000), severity=40),
        Story("p", 2, "c", 0, "loss 7", scores=(7000, 2000, 1000)),
        Story("p", 3, "d", 0, "Verlust 7", language="de"),
        Story("p", 4, "e", 0, "ruin 300"),
    ]
    assert worker._scores(stories, 0).severities == [120, 40, None, None, 300]
    quick = Worker(None, QuickScorer, None, settings=1)  # type: ignore[arg-type]
    assert quick._scores(stories, 0).severities == [None, 40, None, None, None]


def test_it_stands_among_the_scores_where_it_is_known() -> None:
    class Row:
        negative, neutral, positive, severity = 7000, 2000, 1000, 215

    assert scores_json(Row) == {"negative": 0.7, "neutral": 0.2, "positive": 0.1, "severity": 2.15}
    Row.severity = None  # type: ignore[assignment]
    assert scores_json(Row) == {"negative": 0.7, "neutral": 0.2, "positive": 0.1}
    Row.negative = None  # type: ignore[assignment]
    assert scores_json(Row) is None


def test_a_spikes_evidence_has_the_gravest_first() -> None:
    grave, serious, unknown = ({"scores": s} for s in ({"severity": 2.8}, {"severity": 2.1}, {"negative": 0.93}))
    assert sorted([unknown, serious, grave], key=_about_as_grave, reverse=True) == [grave, serious, unknown]
