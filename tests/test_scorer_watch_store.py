"""The scorer watch through a replay: what the store holds, that restarts change nothing, and who says it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from conftest import WordScorer
from prometheus_client import REGISTRY
from rows import assert_same, promised_rows
from sqlalchemy import func, select
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.model.reference import Reference, SetFigures
from foreshock.monitor.store import schema, scorer_watch
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.stall import StallWatch
from foreshock.processes.batches import BatchSize
from foreshock.processes.health_line import HealthLine
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

DAYS, STRANGE_FROM, A_DAY = 24, 16, 120


class ReadingScorer(WordScorer):
    """Knows no word with a "q", and has a card."""

    identity = "reading-1"
    reference = Reference((SetFigures("news", 100, (3000, 4000, 3000), (3800, 8400, 3800), 100),), "")

    def novel_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        words = [f"{title} {body}".split() for title, body in pairs]
        return np.array([sum("q" in word for word in of) * 10_000 // len(of) for of in words], np.int32)


def _lines() -> list[str]:
    """Return a feed of two sources; `Wire` changes its language on a day. Every fifth story brings its scores."""
    rng, lines = random.Random(3), []
    for number in range(DAYS * A_DAY):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1) * (number / A_DAY)
        source = "Desk" if number % 6 == 0 else "Wire"
        strange = source == "Wire" and number >= STRANGE_FROM * A_DAY
        letters = "bdfglmnprst" + "q" * (11 if strange else 0)
        words = ["".join(rng.choices(letters, k=6)) for _ in range(9)]
        story = {"id": str(number), "title": " ".join(words), "source": source, "published_at": at.isoformat()}
        if number % 5 == 0:
            story["scores"] = {"negative": 1, "neutral": 0, "positive": 0}  # type: ignore[assignment]
        lines.append(json.dumps(story) + "\n")
    return lines


def _settings(url: str) -> Settings:
    """In buckets of an hour, with five stories each: fewer to decide."""
    return Settings.model_validate({"store": {"url": url}, "watchlist": {"defaults": False}, "time": {"bucket": "1h"}})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("watch")
    (folder / "feed.jsonl").write_text("".join(_lines()))
    url = f"sqlite:///{folder / 'whole.db'}"
    with structlog.testing.capture_logs() as logs:
        replay(_settings(url), [folder / "feed.jsonl"], scorer=ReadingScorer)
    said = [line for line in logs if line["event"] == "scorer: a source has changed"]
    assert [(line["source"], line["kind"], line["log_level"]) for line in said] == [("Wire", "words", "warning")]
    return url


def test_a_replay_in_parts_and_batches_finds_the_same_and_only_what_the_model_scored_counts(
    store: str, tmp_path: Path
) -> None:
    parts, lines = f"sqlite:///{tmp_path / 'parts.db'}", _lines()
    file = tmp_path / "feed.jsonl"
    for until in (700, 1_900, 2_050, 2_500, len(lines)):  # whole buckets
        file.write_text("".join(lines[:until]))
        replay(_settings(parts), [file], scorer=ReadingScorer, batch_size=BatchSize(97))
    found, whole = promised_rows(parts), promised_rows(store)
    for table in ("scorer_sources", "scorer_changes", "stories", "feed"):
        assert_same({table: found[table]}, {table: whole[table]})
    engine = connect(store, create=False)
    with reading(engine) as connection:
        (noted,) = scorer_watch.changes(connection)
        s, d = schema.stories.c, schema.decisions.c
        without = s.novelty.is_(None)
        carried = connection.execute(select(func.count()).where(s.model == schema.CARRIED, without)).scalar()
        figures = scorer_watch.figures(connection)
        assert connection.execute(select(func.count()).where(d.weighs)).scalar_one() > 2_000
    engine.dispose()
    change = noted.change
    assert (change.source, change.kind, change.calls, noted.ended_at) == ("Wire", "words", True, None)
    begin = int(datetime(2026, 1, 1 + STRANGE_FROM, tzinfo=UTC).timestamp()) * 1_000_000
    assert abs(change.began_at - begin) < 2 * 86_400_000_000
    assert begin < change.found_at < begin + 3 * 86_400_000_000
    assert change.before == 0
    assert change.after > 0.1
    assert change.card == 0.01
    assert carried == DAYS * A_DAY // 5
    assert [one.source for one in figures] == ["Wire", "Desk"]


def test_doctor_health_and_the_metric_say_what_has_changed(store: str) -> None:
    said = CliRunner().invoke(app, ["doctor", "--json", "--store", store])
    report = json.loads(said.stdout)
    (problem,) = [p for p in report["problems"] if p.startswith("The scorer")]
    assert said.exit_code == 1
    assert "of Wire since 2026-01-1" in problem
    assert "ones that the training texts did not hold" in problem
    assert problem.endswith("To read its newest stories: foreshock stories --source Wire")
    assert report["store"]["scorer"][0]["ended_at"] is None
    text = CliRunner().invoke(app, ["doctor", "--store", store]).stdout
    assert "scorer     Wire: " in text
    engine = connect(store, create=False)
    watching = HealthLine(engine, lambda: 0, dict, stalls=StallWatch(TimeRules()))
    labels = {"source": "Wire", "kind": "words"}
    with structlog.testing.capture_logs() as logs:
        watching.write()
    assert REGISTRY.get_sample_value("foreshock_scorer_changed", labels) == 1
    assert list(metrics.health.report()["scorer"]) == ["Wire"]
    assert logs[-1]["scorer"][0].startswith("Wire: ")
    metrics.scorer({})
    assert REGISTRY.get_sample_value("foreshock_scorer_changed", labels) is None
    assert "scorer" not in metrics.health.report()
    engine.dispose()
