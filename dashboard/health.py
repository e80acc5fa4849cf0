"""*Health*: the alerts that chance alone would give; sources, dead letters and deliveries; the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from foreshock.dashboard import formats, frame, text
from foreshock.dashboard.reader import Look
from foreshock.dashboard.settings import served
from foreshock.model.errors import ModelError
from foreshock.model.storage import describe_weights
from foreshock.monitor import budget, silent_sources
from foreshock.monitor.store import admission as store_admission
from foreshock.monitor.store import false_alarms, feedback, progress, receivers, rss_feeds, settings_versions, views
from foreshock.monitor.store.views import SourceRow

DEAD_LETTERS = Markup(
    "Records that could not become stories. <code>foreshock deadletters list</code> shows them, "
    "<code>foreshock deadletters replay</code> reads them again."
)
BEYOND_LIMITS = Markup(
    "What is beyond <code>[limits]</code> counts in the series <code>_other</code>. Raise a limit if the topics are "
    "real, or mute the source with <code>[[sources]]</code>. Your own topics are not affected."
)
OUTCOMES = {
    "queued": "waiting to be sent",
    "withheld": "withheld: decided by a replay, which delivers nothing without --deliver",
    "delivered": "delivered",
    "parked": "parked: the receiver did not accept them",
    "silenced": "silenced: a person silenced the topic",
}
ASIDE = "set aside: it does not answer, and event time goes on without it"
HELD = {
    "ok": "works",
    "failing": "fails",
    "held": "held: it does not answer, or asked to wait",
    "trial": "the next delivery decides whether it works again",
}
"""The state of a receiver in words."""
TOPICS_SHOWN = 20
COUNT_SECONDS = 30
"""Counting per source reads every story, so the counts are kept this long. The page shows this limit."""


@dataclass(frozen=True, slots=True)
class Line:
    """A source as its table shows it."""

    name: str
    kind: str
    state: str
    failing: bool
    records: int
    until: str
    behind: str
    """How far the source's watermark is behind the clock; only for live sources."""
    stories: int
    late: int
    stale: int
    dead: int


def page() -> None:
    frame.live(body)


def body(look: Look) -> None:
    _alarms(look)
    _sources(look)
    _dead_letters(look)
    _beyond_limits(look)
    _deliveries(look)
    _model(look)


def _alarms(look: Look) -> None:
    standing = false_alarms.standing(look.connection)
    until = None if standing.learning_until is None else formats.clock(standing.learning_until, year=True) + " UTC"
    frame.header("Alerts and chance", text.outside(budget.sentence(standing, until), 300))
    frame.note(budget.critical_sentence(standing), "fs-meta")
    found = feedback.precision(look.connection)
    if not found.judged.judged:
        frame.note("No alert was judged yet. Say on an alert's page whether it was useful.")
        return
    rows = [("kind", kind, tally) for kind, tally in found.by_kind.items()]
    topics = list(found.by_topic.items())[:TOPICS_SHOWN]
    rows += [("topic", text.named(topic), tally) for topic, tally in topics]
    frame.note(f"{found.judged}, {found.fired} fired.", "fs-meta")
    frame.show("feedback.html", rows=rows)


def _sources(look: Look) -> None:
    standing = look.standing
    counts = frame.reader().for_seconds("counts", COUNT_SECONDS, lambda: views.source_counts(look.connection))
    pace = "not reading now" if not look.pace else f"reading {look.pace:,.1f} stories a second"
    frame.header("Sources", f"{pace[0].upper()}{pace[1:]}. Counts are at most {COUNT_SECONDS} s old.")
    if not standing.sources:
        frame.note("No source has been read yet.")
        return
    clock = time.time_ns() // 1_000
    partitions = list(progress.load(look.connection).values())
    still = silent_sources.standstill(
        partitions, standing.decided_until, clock, settings_versions.time_rules(look.connection)
    )
    if still is not None:
        said = str(still)
        frame.note(f"{said[0].upper()}{said[1:]}.", "fs-worse", role="alert")
    states = rss_feeds.failing(look.connection) | {p.name: ASIDE for p in silent_sources.sources_aside(partitions)}
    rows = [_line(source, counts, states, clock) for source in standing.sources]
    frame.show("sources.html", rows=rows)
    columns = ["source", "kind", "state", "records", "read_until", "stories", "late", "stale", "dead_letters"]
    frame.download(
        "Download as CSV",
        "foreshock-sources.csv",
        columns,
        [[r.name, r.kind, r.state, r.records, r.until, r.stories, r.late, r.stale, r.dead] for r in rows],
    )


def _line(
    source: SourceRow, counts: Mapping[str, tuple[int, int, int, int]], failing: Mapping[str, str], clock: int
) -> Line:
    stories, late, stale, dead = counts.get(source.name, (0, 0, 0, 0))
    until = behind = "–"
    if source.watermark is not None:
        until = formats.clock(source.watermark, year=True)
        if source.kind not in frame.FILES:
            behind = formats.ago(clock - source.watermark)
    state = "read to its end"
    if source.member:
        state = "idle, at its end for now" if source.idle else "being read"
    if source.name in failing:
        state = failing[source.name]
    return Line(
        name=source.name,
        kind=source.kind,
        state=state,
        failing=source.name in failing,
        records=source.next_offset,
        until=until,
        behind=behind,
        stories=stories,
        late=late,
        stale=stale,
        dead=dead,
    )


def _dead_letters(look: Look) -> None:
    reasons = views.dead_letter_reasons(look.connection)
    total = sum(count for _, count, _, _ in reasons)
    if not reasons:
        frame.header("No dead letters", "Every record became a story.")
        return
    frame.header(formats.count(total, "dead letter"), DEAD_LETTERS)
    frame.show("dead_letters.html", reasons=reasons)


def _beyond_limits(look: Look) -> None:
    rows = store_admission.beyond(look.connection)
    if rows:
        stories = sum(row.stories for row in rows)
        frame.header(f"{formats.count(stories, 'story')} named too many topics", BEYOND_LIMITS)
        frame.show("beyond_limits.html", rows=rows)


def _deliveries(look: Look) -> None:
    queue = views.outbox_counts(look.connection)
    if not queue:
        frame.header("Deliveries", "No alert has changed its state yet, so there is nothing to deliver.")
        return
    frame.header("Deliveries", "Messages about alerts, by their state.")
    rows = [(state, OUTCOMES.get(state, text.outside(state, 40)), count) for state, count in sorted(queue.items())]
    frame.show("deliveries.html", rows=rows)
    found = receivers.summary(look.connection, time.time_ns() // 1_000)
    if found:
        frame.show("receivers.html", rows=[(name, HELD[row["state"]], row) for name, row in found.items()])


def _model(look: Look) -> None:
    frame.header("Model")
    card: dict[str, Any] | None = None
    problem = ""
    try:
        card = frame.reader().for_seconds("weights", 3600, lambda: describe_weights(served().weights))
    except ModelError as error:
        problem = str(error)
    frame.show("model.html", standing=look.standing, card=card, error=problem)
