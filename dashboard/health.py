"""*Health*: the alerts that chance alone would give; sources, dead letters and deliveries; the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from foreshock.dashboard import formats, frame, health_deliveries, health_scorer, text
from foreshock.dashboard.reader import Look
from foreshock.dashboard.settings import served
from foreshock.model.errors import ModelError
from foreshock.model.storage import describe_weights
from foreshock.monitor import budget, silent_sources
from foreshock.monitor.store import admission as store_admission
from foreshock.monitor.store import false_alarms, feedback, fills, liveness, rss_feeds, switches, views
from foreshock.monitor.store.views import SourceRow

DEAD_LETTERS = Markup(
    "Records that could not become stories. <code>foreshock deadletters list</code> shows them, "
    "<code>foreshock deadletters replay</code> reads them again."
)
BEYOND_LIMITS = Markup(
    "What is beyond <code>[limits]</code> counts in the series <code>_other</code>. Raise a limit if the topics are "
    "real, or mute the source with <code>[[sources]]</code>. Your own topics are not affected."
)
FILLING = "They were added or changed. Their past is being made from the stored stories, and raises no alert."
ASIDE = "set aside: it does not answer, and event time goes on without it"
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
    answered: str
    """How long ago it was last polled or answered; only for live sources."""
    records: int
    until: str
    behind: str
    """How far the source's watermark is behind the clock; only for live sources."""
    stories: int
    late: int
    stale: int
    dead: int


def page() -> None:
    frame.live(body, redraw=frame.OFTEN)


def body(look: Look) -> None:
    _alarms(look)
    _sources(look)
    _dead_letters(look)
    _beyond_limits(look)
    _fills(look)
    health_deliveries.draw(look)
    health_scorer.draw(look)
    _model(look)


def _alarms(look: Look) -> None:
    standing = false_alarms.standing(look.connection)
    until = None if standing.learning_until is None else formats.zoned(standing.learning_until, year=True)
    frame.header("Alerts and chance", text.outside(budget.sentence(standing, until), 300))
    if said := budget.critical_sentence(standing):
        frame.note(said, "fs-meta")
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
    clock, found = time.time_ns() // 1_000, standing.answers
    heard = {p.name: liveness.last_answer(found, p) for p in found.partitions}
    states = rss_feeds.failing(look.connection) | {
        p.name: ASIDE for p in silent_sources.sources_aside(found.partitions)
    }
    rows = [_line(source, counts, states, heard.get(source.name), clock) for source in standing.sources]
    frame.show("sources.html", rows=rows)
    columns = [
        "source",
        "kind",
        "state",
        "last_answer",
        "records",
        "read_until",
        "stories",
        "late",
        "stale",
        "dead_letters",
    ]
    frame.download(
        "Download as CSV",
        "foreshock-sources.csv",
        columns,
        [[r.name, r.kind, r.state, r.answered, r.records, r.until, r.stories, r.late, r.stale, r.dead] for r in rows],
    )


def _line(
    source: SourceRow,
    counts: Mapping[str, tuple[int, int, int, int]],
    failing: Mapping[str, str],
    heard: int | None,
    clock: int,
) -> Line:
    stories, late, stale, dead = counts.get(source.name, (0, 0, 0, 0))
    until = behind = "–"
    if source.watermark is not None:
        until = formats.zoned(source.watermark, year=True)
        if source.kind not in frame.FILES:
            behind = formats.ago(clock - source.watermark)
    state = "read to its end"
    if source.member:
        state = "idle, at its end for now" if source.idle else "being read"
    if source.name in failing:
        state = failing[source.name]
    still = source.member and heard is not None and clock - heard > liveness.STOPPED_AFTER
    if still and source.name not in failing:
        state = "stands still"
    return Line(
        name=source.name,
        kind=source.kind,
        state=state,
        failing=source.name in failing or still,
        answered="–" if heard is None else f"{formats.ago(clock - heard)} ago",
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


def _fills(look: Look) -> None:
    """Say how far the past of topics is that were added or changed."""
    under_way = fills.under_way(look.connection)
    if under_way:
        frame.header("Topics are being filled", FILLING)
        for said in under_way:
            frame.note(text.outside(fills.sentence(said), 300), "fs-meta")


def _model(look: Look) -> None:
    frame.header("Model")
    for said in switches.under_way(look.connection):
        frame.note(text.outside(f"Switching to {switches.sentence(said)}.", 300), "fs-meta")
    for change in switches.changes(look.connection)[-1:]:
        since = formats.zoned(change.at, year=True)
        frame.note(text.outside(f"{change.after} scores since {since}, before it {change.before}.", 300), "fs-meta")
    model, cards, problem = served().model, [], ""
    try:
        cards = frame.reader().for_seconds(
            "weights", 3600, lambda: [describe_weights(weights) for weights in (model.weights, *model.also)]
        )
    except ModelError as error:
        problem = str(error)
    frame.show("model.html", standing=look.standing, cards=cards, error=problem)
