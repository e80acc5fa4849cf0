"""What every page shares: the line about the store's state, its errors, and the refresh in place.

    def page() -> None:
        frame.live(body)          # body(look) draws; it is called again when there is something new

A page's body takes one snapshot of the store and draws from it. A store may be missing, upgraded, removed or restored
while a page is open. This file alone handles that, and the page keeps checking.

Drawing a page costs a hundred times what it costs to see that nothing has changed. So the part that comes every few
seconds draws only the line at the top, and asks for the page again when there is something new to draw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from markupsafe import Markup
from sqlalchemy.engine import make_url

from foreshock.dashboard import access, export, formats, markup
from foreshock.dashboard.reader import Look, Reader
from foreshock.dashboard.settings import served
from foreshock.ingest.redaction import redacted, without_secrets
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing
from foreshock.monitor.store import liveness
from foreshock.monitor.store.liveness import Trouble
from foreshock.monitor.watermark import TimeRules

REFRESH_SECONDS = 5
"""How often an open page looks for something new."""
REDRAW_SECONDS = 60
"""A page is drawn again after this long, because ages such as "4 minutes ago" grow."""
OFTEN = 15
"""The same, for a page that shows what changes between two decided buckets: new stories, the state of sources."""
SOON = "soon"
Rows = list[list[object]]
FILES = ("file", "deadletters")
UNMOVED_SECONDS = 60
"""A page warns when a source that is not at its end makes no progress for this long."""
BEHIND = 10 * 60 * 1_000_000
"""A page warns when a live feed is this many microseconds behind the clock, beyond its bucket and allowed lateness."""

TROUBLES_SHOWN = 3

STYLE = Path(__file__).parent / "style.css"

_readers: dict[str, Reader] = {}


def reader() -> Reader:
    """Return the one reader that this process has of its store."""
    url = served().store
    return _readers.setdefault(url, Reader(url))


def dress() -> None:
    """Draw the styles, and the warning that others can reach this dashboard. Called once for each run of the app."""
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
    settings = served()
    if settings.listens_widely and not settings.sign_in.on:
        show("exposed.html", host=settings.host, may_act=settings.may_act)


def live(body: Callable[[Look], None], *, redraw: int = REDRAW_SECONDS) -> None:
    """Draw `body` from one snapshot, and again when a bucket was decided, a person acted, or after `redraw` seconds.

    Whether that is so is looked up every `REFRESH_SECONDS`. A page that could not be drawn is drawn at each look.
    """
    drawn: list[tuple[object, float]] = []  # what this run of the page shows, and since when
    st.session_state.pop(SOON, None)

    def pulse() -> None:
        if not access.visitor().may_read:  # the sign-in has ended while the page was open
            st.rerun()
        try:
            with reader().look() as look:
                for said in _standing(look):
                    st.html(said)
                seen: object = reader().seen(look)
        except StoreError as error:
            seen = str(error)
        if not drawn:
            drawn.append((seen, time.monotonic()))
        elif st.session_state.pop(SOON, False) or seen != drawn[0][0] or time.monotonic() - drawn[0][1] >= redraw:
            st.rerun()

    def part() -> None:
        if not access.visitor().may_read:
            st.rerun()
        try:
            with reader().look() as look:
                body(look)
        except StoreError as error:
            broken(error)
            soon()

    st.fragment(pulse, run_every=REFRESH_SECONDS)()
    st.fragment(part)()


def soon() -> None:
    """Draw the page again at the next look, also if nothing is new: something on it is being worked out."""
    st.session_state[SOON] = True


def once(question: Callable[[Look], object]) -> object | None:
    """Answer a question for a page's controls, which are outside its fragment. None if the store cannot be read."""
    try:
        with reader().look() as look:
            return question(look)
    except StoreError:
        return None


def broken(error: StoreError) -> None:
    """Draw a page for a store that cannot be read: what happened, what to do, and that the page keeps checking."""
    url = served().store
    shown = _file(url)
    if isinstance(error, StoreMissing):
        title, said = "No store yet", f"There is no store at {shown}."
        steps = [
            f"foreshock replay FILE --store {_quoted(url)}",
            "foreshock demo",
        ]
    elif isinstance(error, SchemaMismatch):
        title, said, steps = "A store of another version", without_secrets(str(error)), []
    else:
        title, said, steps = "The store cannot be read", without_secrets(str(error)), ["foreshock doctor"]
    show("broken.html", title=title, said=said, steps=steps)
    now = formats.second(time.time_ns() // 1_000)
    note(f"This page checks again every {REFRESH_SECONDS} s and loads by itself. Last check at {now}.")


def empty(title: str, said: str, *steps: str) -> None:
    """Draw a page that has nothing to show yet: a sentence, and the next step."""
    show("empty.html", title=title, said=said, steps=steps)


def undecided(look: Look) -> bool:
    """Return whether nothing is decided yet; if so, draw a page that explains it."""
    standing = look.standing
    if standing.decided_until is not None:
        return False
    read = sum(source.next_offset for source in standing.sources)
    if read:
        empty(
            "Nothing decided yet",
            f"{formats.count(read, 'record')} read. A bucket is decided once every source has passed its end; "
            "this page updates by itself.",
        )
    else:
        empty(
            "The store is empty",
            "No record has been read yet. Next step:",
            f"foreshock replay FILE --store {_quoted(served().store)}",
        )
    return True


def header(title: str, sub: str = "", *, tone: str = "") -> None:
    """Draw a section's heading, in the colour of `tone`, and a line below it."""
    show("heading.html", title=title, sub=sub, tone=tone)


def note(said: str, tone: str = "fs-faint", *, role: str = "") -> None:
    """Draw one paragraph."""
    show("note.html", said=said, tone=tone, role=role)


def show(template: str, **values: Any) -> None:
    """Draw a template."""
    st.html(markup.render(template, **values))


def download(label: str, name: str, columns: list[str], rows: Rows | Callable[[], Rows]) -> None:
    """Draw a link that downloads rows as CSV. The CSV is made, and a function of them called, when a reader asks."""
    st.download_button(
        label,
        lambda: export.to_csv(columns, rows() if callable(rows) else rows),
        file_name=name,
        mime="text/csv",
        on_click="ignore",
        type="tertiary",
    )


def clock(look: Look) -> int:
    """Return the time from which ages count: the wall clock's where the store is read live, else the feed's."""
    standing = look.standing
    now = time.time_ns() // 1_000
    return now if is_live(look) or standing.decided_until is None else standing.decided_until


def is_live(look: Look) -> bool:
    """Return whether ages count from the wall clock."""
    return look.standing.decided_until is None or liveness.is_live(look.standing.answers)


def troubles(look: Look) -> Sequence[Trouble]:
    """Return what stands still or fails. `foreshock doctor` reports the same."""
    standing = look.standing
    rules = TimeRules(bucket=standing.bucket, lateness=standing.lateness)
    return liveness.troubles(standing.answers, standing.decided_until, time.time_ns() // 1_000, rules)


def dark() -> bool:
    return st.context.theme.type == "dark"


def _standing(look: Look) -> tuple[Markup, Markup]:
    """Return the page's first line, and what is wrong with the feed: apart, because a screen reader says the latter."""
    standing = look.standing
    reading = [source for source in standing.sources if source.member]
    behind, unfinished = None, list[str]()
    if standing.decided_until is not None:
        # A replay never makes a file idle. A file that waits at its end for more belongs to a run.
        live = any(source.kind not in FILES or source.idle for source in standing.sources)
        age = time.time_ns() // 1_000 - standing.decided_until
        if live and age > standing.bucket + standing.lateness + BEHIND:
            behind = age
        if look.unmoved_for > UNMOVED_SECONDS:
            unfinished = [source.name for source in reading if not source.idle]
    wrong = troubles(look)
    first = markup.render(
        "standing.html",
        at=time.time_ns() // 1_000,
        until=standing.decided_until,
        replayed=standing.replayed,
        reading=bool(reading),
    )
    return first, markup.render(
        "troubles.html",
        troubles=wrong[:TROUBLES_SHOWN],
        more=len(wrong) - TROUBLES_SHOWN,
        reading=bool(reading),
        behind=behind,
        unfinished=unfinished[:3],
        unmoved=int(look.unmoved_for * 1e6),
    )


def _file(url: str) -> str:
    parsed = make_url(url)
    return parsed.database or "?" if parsed.get_backend_name() == "sqlite" else redacted(url)


def _quoted(url: str) -> str:
    return redacted(url)
