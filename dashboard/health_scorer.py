"""The scorer on *Health*: for which sources it is worth less than it was, and its figures of each source.

The figures are those of the last blocks of a source (`foreshock.monitor.scorer_watch`), beside what the model's card
says of its labelled sets.
"""

from __future__ import annotations

from dataclasses import dataclass

from foreshock.dashboard import formats, frame
from foreshock.dashboard.reader import Look
from foreshock.monitor.scorer_blocks import Usual
from foreshock.monitor.scorer_changes import MEANING, remedy, sentence
from foreshock.monitor.store import scorer_watch
from foreshock.monitor.store.scorer_watch import Noted, SourceFigures
from foreshock.monitor.units import DAY

SHOWN = 20
"""Sources in the table, those with the most stories first."""
ENDED_FOR = 28 * DAY
"""How long a change is shown after it is over."""
ENDINGS = {
    "back": "its figures are back",
    "stayed": "it stayed so, and is what is usual now",
    "silent": "the source is silent",
    "model": "another model scores",
}
SAME = "as before"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A source as its table shows it."""

    name: str
    state: str
    bad: bool
    stories: int
    since: str
    shares: tuple[str, ...]
    confidence: str
    words: str


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A change in words."""

    source: str
    bad: bool
    said: str
    when: str
    means: str
    remedy: str


def draw(look: Look) -> None:
    now = look.standing.decided_until or 0
    found = scorer_watch.changes(look.connection, since=now - ENDED_FOR)
    figures = scorer_watch.figures(look.connection)
    lasting = {noted.change.source: noted for noted in reversed(found) if noted.ended_at is None}
    calling = sum(noted.ended_at is None and noted.change.calls for noted in found)
    title = f"The scorer is worth less for {formats.count(calling, 'source')}" if calling else "The scorer"
    frame.header(title, _compared(scorer_watch.usual(look.connection)), tone="fs-worse" if calling else "")
    if not figures:
        frame.note("No source has brought a hundred scored stories yet, so nothing is known of the scorer.")
        return
    if found:
        frame.show("scorer_changes.html", rows=[_change(noted) for noted in found])
    frame.show("scorer.html", rows=[_line(one, lasting.get(one.source)) for one in figures[:SHOWN]])
    if len(figures) > SHOWN:
        frame.note(f"{formats.count(len(figures) - SHOWN, 'source')} with fewer stories are not shown.", "fs-meta")


def _compared(usual: Usual | None) -> str:
    if usual is None:
        return "The model's card does not say what is usual, so each source is compared with its own past."
    sure = [level for level in usual.confidence if level is not None]
    return (
        f"Each source is compared with its own past and with the model's card: {100 * min(sure):.0f} to "
        f"{formats.share(max(sure))} sure and at most {100 * usual.words:.1f} % of the tokens new."
    )


def _change(noted: Noted) -> ChangeLine:
    change = noted.change
    when = f"since {formats.zoned(change.began_at, year=True)}"
    if noted.ended_at is not None:
        when += f", over at {formats.zoned(noted.ended_at, year=True)}: {ENDINGS[noted.ended or 'back']}"
    bad = change.calls and noted.ended_at is None
    return ChangeLine(change.source, bad, sentence(change), when, MEANING[change.kind], remedy(change) if bad else "")


def _line(one: SourceFigures, noted: Noted | None) -> SourceLine:
    return SourceLine(
        name=one.source,
        state=SAME if noted is None else f"{noted.change.kind} changed" if noted.change.calls else "other news",
        bad=noted is not None and noted.change.calls,
        stories=one.stories,
        since=formats.zoned(one.since, year=True),
        shares=tuple(formats.share(share) for share in one.shares),
        confidence=formats.share(one.confidence),
        words="–" if one.words is None else f"{100 * one.words:.1f} %",
    )
