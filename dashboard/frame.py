"""What stands around every page: how the store stands, what is wrong with it, and the refreshing in place.

    def page() -> None:
        frame.live(body)          # body(look) draws; it is called again every few seconds

The one idea: a page's body is a fragment that takes one snapshot and draws from it. Whatever the store does (not there
yet, upgraded, gone, back) is met in this one place, and the fragment goes on looking.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import streamlit as st
from sqlalchemy.engine import make_url

from foreshock.dashboard import text
from foreshock.dashboard.reader import Look, Reader
from foreshock.dashboard.settings import served
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing

REFRESH_SECONDS = 5
FILES = ("file", "deadletters")
UNMOVED_SECONDS = 60
"""A source that is not at its end and does not move for this long is worth a loud sentence."""
BEHIND = 10 * 60 * 1_000_000
"""A live feed may be this much behind the clock, beyond its bucket and lateness, before the page says so loudly."""

STYLE = Path(__file__).parent / "style.css"

_readers: dict[str, Reader] = {}


def reader() -> Reader:
    """The process's one reader of its store."""
    url = served().store
    return _readers.setdefault(url, Reader(url))


def dress() -> None:
    """Styles, and what must be said before anything else. Once a run of the app."""
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
    settings = served()
    if settings.exposed:
        st.html(
            f'<p class="fs-loud" role="note">This dashboard listens on {escape(settings.host)}: anyone who reaches it '
            "can read all stories, acknowledge alerts and silence topics, under any name.</p>"
        )


def live(body: Callable[[Look], None]) -> None:
    """Draw `body` from one snapshot, now and every `REFRESH_SECONDS`."""

    def part() -> None:
        try:
            with reader().look() as look:
                st.html(_standing(look))
                body(look)
        except StoreError as error:
            broken(error)

    st.fragment(part, run_every=REFRESH_SECONDS)()


def once(question: Callable[[Look], object]) -> object | None:
    """An answer for a page's controls, which stand outside its fragment; None while the store cannot be read."""
    try:
        with reader().look() as look:
            return question(look)
    except StoreError:
        return None


def broken(error: StoreError) -> None:
    """The designed state of a store that cannot be read: what is, what to do, and that the page goes on looking."""
    url = served().store
    shown = _file(url)
    if isinstance(error, StoreMissing):
        title, said = "No store yet", f"There is no store at {shown}."
        steps = [
            f"foreshock replay FILE --store {_quoted(url)}",
            "foreshock demo",
        ]
    elif isinstance(error, SchemaMismatch):
        title, said, steps = "A store of another version", str(error), []
    else:
        title, said, steps = "The store cannot be read", str(error), ["foreshock doctor"]
    commands = "".join(f"<code>{escape(step)}</code>" for step in steps)
    st.html(
        f'<section class="fs-empty" role="status"><h2>{title}</h2><p>{text.safe(said)}</p>'
        + (f"<p>Next step:</p>{commands}" if commands else "")
        + f'<p class="fs-faint">Looking again every {REFRESH_SECONDS} s; this page comes by itself. '
        f"Last look at {datetime.now(UTC):%H:%M:%S} UTC.</p></section>"
    )


def empty(title: str, said: str, *steps: str) -> None:
    """A designed state with nothing to show: a sentence, and the next step."""
    commands = "".join(f"<code>{escape(step)}</code>" for step in steps)
    st.html(f'<section class="fs-empty" role="status"><h2>{title}</h2><p>{said}</p>{commands}</section>')


def undecided(look: Look) -> bool:
    """Whether nothing is decided yet; if so, says it."""
    standing = look.standing
    if standing.decided_until is not None:
        return False
    read = sum(source.next_offset for source in standing.sources)
    if read:
        empty(
            "Nothing decided yet",
            f"{text.count(read, 'record')} read. A bucket is decided once every source has passed its end; "
            "this page comes by itself.",
        )
    else:
        empty(
            "The store is empty",
            "No source has brought a record yet. Next step:",
            f"foreshock replay FILE --store {_quoted(served().store)}",
        )
    return True


def header(title: str, sub: str = "") -> None:
    """A section's heading; both are HTML."""
    st.html(f'<h2 class="fs-h">{title}</h2>' + (f'<p class="fs-sub">{sub}</p>' if sub else ""))


def download(label: str, name: str, columns: list[str], rows: list[list[object]]) -> None:
    """A CSV of what is shown."""
    st.download_button(
        label, text.to_csv(columns, rows), file_name=name, mime="text/csv", on_click="ignore", type="tertiary"
    )


def dark() -> bool:
    return st.context.theme.type == "dark"


def _standing(look: Look) -> str:
    standing = look.standing
    read_at = datetime.now(UTC)
    parts = [f'as of {read_at:%H:%M:%S} UTC, <span class="fs-ago"></span>']
    loud = ""
    if standing.decided_until is not None:
        until = text.clock(standing.decided_until, year=True)
        reading = [source for source in standing.sources if source.member]
        if standing.replayed:
            parts.append(f"a replay, decided until {until} UTC" + ("" if reading else ", at its end"))
        else:
            parts.append(f"decided until {until} UTC")
        behind = time.time_ns() // 1_000 - standing.decided_until
        # A replay declares no file idle: what waits at its end for more is live.
        live = any(s.kind not in FILES or s.idle for s in standing.sources)
        if live and behind > standing.bucket + standing.lateness + BEHIND:
            loud = f"Stale: the newest decided news is {text.ago(behind)} old"
            loud += "." if reading else ", and no process reads this store: foreshock run goes on with it."
        unfinished = [source for source in reading if not source.idle]
        if unfinished and look.unmoved_for > UNMOVED_SECONDS:
            names = ", ".join(text.safe(s.name, 60) for s in unfinished[:3])
            loud = (
                f"Nothing has moved for {text.ago(int(look.unmoved_for * 1e6))}, and {names} is not at its end: "
                "its run may have stopped. Run the same command again, it goes on where it was."
            )
    line = '<span class="fs-dot"> · </span>'.join(f"<span>{part}</span>" for part in parts)
    return (
        f'<div class="fs-asof" role="status">{line}<span class="fs-late">Not refreshed: the dashboard\'s server does '
        "not answer, what is below is old.</span></div>"
        + (f'<p class="fs-loud" role="alert">{loud}</p>' if loud else "")
    )


def _file(url: str) -> str:
    parsed = make_url(url)
    return parsed.database or "?" if parsed.get_backend_name() == "sqlite" else parsed.render_as_string()


def _quoted(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
