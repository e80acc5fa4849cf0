"""*Health*: how many alerts chance would give; whether news come in, are scored, decided and delivered; the model."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from foreshock.dashboard import frame, text
from foreshock.dashboard.reader import Look
from foreshock.dashboard.settings import served
from foreshock.model.errors import ModelError
from foreshock.model.storage import describe_weights
from foreshock.monitor import budget
from foreshock.monitor.store import false_alarms, rss_feeds, views

COUNT_SECONDS = 30
"""Counting per source reads every story: done this often, and said so."""


def page() -> None:
    frame.live(body)


def body(look: Look) -> None:
    _alarms(look)
    _sources(look)
    _dead_letters(look)
    _deliveries(look)
    _model(look)


def _alarms(look: Look) -> None:
    standing = false_alarms.standing(look.connection)
    until = None if standing.learning_until is None else text.clock(standing.learning_until, year=True) + " UTC"
    frame.header("Alerts and chance", text.safe(budget.sentence(standing, until), 300))


def _sources(look: Look) -> None:
    standing = look.standing
    counts = frame.reader().for_seconds("counts", COUNT_SECONDS, lambda: views.source_counts(look.connection))
    pace = "reading nothing now" if not look.pace else f"reading {look.pace:,.1f} stories a second"
    frame.header("Sources", f"{pace[0].upper()}{pace[1:]}. Counts are at most {COUNT_SECONDS} s old.")
    if not standing.sources:
        st.html('<p class="fs-faint">No source has been read yet.</p>')
        return
    clock = time.time_ns() // 1_000
    lines = []
    failing = rss_feeds.failing(look.connection)
    rows: list[list[object]] = []
    for source in standing.sources:
        stories, late, stale, dead = counts.get(source.name, (0, 0, 0, 0))
        live = source.kind not in frame.FILES
        lag = "–"
        if live and source.watermark is not None:
            lag = text.ago(clock - source.watermark)
        state = "being read" if source.member else "read to its end"
        if source.idle and source.member:
            state = "idle, at its end for now"
        state = failing.get(source.name, state)
        until = "–" if source.watermark is None else text.clock(source.watermark, year=True)
        tone, bad = (" fs-worse" if dead else ""), ("fs-worse" if source.name in failing else "")
        lines.append(
            f'<tr><td class="nm">{text.safe(source.name, 80)}</td><td class="fs-mid">{text.safe(source.kind, 20)}</td>'
            f'<td class="{bad}">{text.safe(state, 160)}</td><td class="r">{source.next_offset:,}</td>'
            f'<td class="r fs-mid">{until}</td>'
            f'<td class="r fs-mid">{lag}</td><td class="r fs-mid">{stories:,}</td><td class="r fs-mid">{late:,}</td>'
            f'<td class="r fs-mid">{stale:,}</td><td class="r{tone}">{dead:,}</td></tr>'
        )
        rows.append([source.name, source.kind, state, source.next_offset, until, stories, late, stale, dead])
    st.html(
        '<table class="fs-table"><thead><tr><th>source</th><th class="fs-mid">kind</th><th>state</th>'
        '<th class="r">records</th><th class="r fs-mid">read until, UTC</th><th class="r fs-mid">behind the clock</th>'
        '<th class="r fs-mid">stories</th><th class="r fs-mid">late</th><th class="r fs-mid">stale</th>'
        f'<th class="r">dead letters</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )
    columns = ["source", "kind", "state", "records", "read_until", "stories", "late", "stale", "dead_letters"]
    frame.download("Download as CSV", "foreshock-sources.csv", columns, rows)


def _dead_letters(look: Look) -> None:
    reasons = views.dead_letter_reasons(look.connection)
    total = sum(count for _, count, _, _ in reasons)
    if not reasons:
        frame.header("No dead letters", "Every record became a story.")
        return
    frame.header(
        text.count(total, "dead letter"),
        "Records that could not become stories. <code>foreshock deadletters list</code> shows them, "
        "<code>foreshock deadletters replay</code> feeds them again.",
    )
    lines = "".join(
        f'<tr><td>{text.safe(reason, 60)}</td><td class="r">{count:,}</td><td class="r fs-mid">{again:,}</td>'
        f'<td class="fs-faint">{text.safe(detail, 160)}</td></tr>'
        for reason, count, detail, again in reasons
    )
    st.html(
        '<table class="fs-table"><thead><tr><th>reason</th><th class="r">records</th>'
        '<th class="r fs-mid">fed again</th>'
        f"<th>for example</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _deliveries(look: Look) -> None:
    queue = views.outbox_counts(look.connection)
    if not queue:
        frame.header("Deliveries", "No alert has changed its state yet, so there is nothing to deliver.")
        return
    words = {
        "queued": "waiting to be sent",
        "withheld": "withheld: decided by a replay, which delivers nothing without --deliver",
        "delivered": "delivered",
        "parked": "parked: the receiver did not take them",
        "silenced": "silenced by the desk",
    }
    frame.header("Deliveries", "Changes of alerts, by what became of their messages.")
    lines = "".join(
        f'<tr><td class="{"fs-worse" if state == "parked" else ""}">{words.get(state, text.safe(state, 40))}</td>'
        f'<td class="r">{count:,}</td></tr>'
        for state, count in sorted(queue.items())
    )
    st.html(
        '<table class="fs-table" style="max-width:46rem"><thead><tr><th>state</th><th class="r">messages</th></tr>'
        "</thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _model(look: Look) -> None:
    frame.header("Model")
    facts = [f"scored this store: <b>{text.safe(look.standing.model or 'no story scored yet', 80)}</b>"]
    try:
        card: dict[str, Any] = frame.reader().for_seconds("weights", 3600, lambda: describe_weights(served().weights))
        facts += [
            f"installed weights: <b>{text.safe(str(card['name']), 60)}</b>",
            f"licence of the weights: <b>{text.safe(str(card['licence']), 600)}</b>",
            f"{int(card['parameters']):,} parameters",
            "files intact" if card["sha256_ok"] else '<span class="fs-worse">files damaged: foreshock doctor</span>',
        ]
    except ModelError as error:
        facts.append(f'<span class="fs-worse">{text.safe(str(error), 300)}</span>')
    standing = look.standing
    facts.append(f"buckets of {standing.bucket // 60_000_000:g} min, waiting {standing.lateness // 60_000_000:g} min")
    st.html(f'<div class="fs-facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</div>')
