"""*Alerts*: what fires, is pending or is over; one alert's evidence and timeline; acknowledging and silencing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import streamlit as st
from sqlalchemy.exc import DBAPIError

from foreshock.dashboard import charts, frame, marks, text
from foreshock.dashboard.reader import Look
from foreshock.dashboard.settings import served
from foreshock.monitor.errors import MonitorError
from foreshock.monitor.store import desk_actions, views
from foreshock.monitor.store.database import writing
from foreshock.monitor.store.views import DAY, HOUR, AlertRow

STATES = {"firing": ("firing",), "pending": ("pending",), "resolved": ("resolved",), "never fired": ("dropped",)}
SPANS = {"1 hour": HOUR, "4 hours": 4 * HOUR, "1 day": DAY, "7 days": 7 * DAY, "28 days": 28 * DAY}
SHOWN = 100
EVENTS = 60
NAME_LENGTH, NOTE_LENGTH = 60, 500


def page() -> None:
    if "alert" in st.query_params:
        st.html(f'<p class="fs-meta">{text.page("Alerts", "All alerts")}</p>')
        _forms(st.query_params["alert"])
        frame.live(_one)
    else:
        st.segmented_control(
            "State",
            list(STATES),
            selection_mode="multi",
            default=["firing", "pending", "resolved"],
            key="state",
            label_visibility="collapsed",
            bind="query-params",
        )
        frame.live(_all)


def _all(look: Look) -> None:
    if frame.undecided(look):
        return
    now = look.standing.decided_until
    assert now is not None
    chosen = st.session_state.get("state") or list(STATES)
    states = tuple(state for name in chosen for state in STATES[name])
    rows = views.alerts(look.connection, states=states, limit=SHOWN)
    rows.sort(key=lambda alert: ({"firing": 0, "pending": 1}.get(alert.state, 2), _silent(alert)))
    if not rows:
        frame.header("No such alert", f"No alert in this store is {' or '.join(chosen)}.")
        return
    more = f", the newest {SHOWN}" if len(rows) == SHOWN else ""
    frame.header(f"{text.count(len(rows), 'alert')}{more}", "Firing first, then pending, then the newest.")
    st.html(f'<div class="fs-alerts">{"".join(_line(alert, now) for alert in rows)}</div>')
    columns = ["id", "topic", "kind", "direction", "state", "started_at", "fired_at", "resolved_at", "observed",
               "baseline", "events", "sources", "sentence"]  # fmt: skip
    frame.download("Download as CSV", "foreshock-alerts.csv", columns, [_row(alert) for alert in rows])


def _silent(alert: AlertRow) -> bool:
    """Of what is open, that a topic fell silent stands behind that one turned bad."""
    return alert.kind == "silence" and alert.state in ("firing", "pending")


def _line(alert: AlertRow, now: int) -> str:
    when = alert.fired_at or alert.pending_at
    word = "fired" if alert.fired_at else "pending since"
    return (
        f'<article class="fs-alert fs-{alert.state}"><p class="fs-say">'
        f'{text.page("Alerts", text.safe(alert.sentence), alert=alert.id)}</p><p class="fs-meta">'
        f"{marks.alert_state(alert)} · {word} {text.clock(when, year=True)} UTC, {text.ago(now - when)} before "
        f"what is decided</p></article>"
    )


def _one(look: Look) -> None:
    identity = st.query_params.get("alert", "")
    alert = views.alert(look.connection, identity)
    if alert is None:
        frame.empty("No such alert", f"This store has no alert {text.safe(identity, 60)}.", "foreshock alerts list")
        return
    now = look.standing.decided_until or alert.window_end
    acts = desk_actions.actions(look.connection, alert_id=alert.id)
    silences = [act for act in desk_actions.actions(look.connection, topic=alert.topic) if act["action"] == "silence"]
    facts = " · ".join(_facts(alert, acts, silences))
    st.html(
        f'<div class="fs-alerts"><article class="fs-alert fs-{alert.state}"><p class="fs-say">'
        f'{text.safe(alert.sentence)}</p><p class="fs-meta">{facts}</p></article></div>'
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        _chart(look, alert, now)
    with right:
        frame.header("Timeline", "All times UTC.")
        st.html(_timeline(alert, acts + silences))
    _evidence(look, alert, now)


def _facts(alert: AlertRow, acts: Sequence[dict[str, Any]], silences: Sequence[dict[str, Any]]) -> list[str]:
    said = {
        # Before surges were counted, a spike held shares.
        "negativity_spike": (
            "negative stories",
            lambda value: f"{value:.1f}" if alert.observed > 1 else text.share(value),
        ),
        "drift": ("polarity", text.signed),
        "volume": ("events", lambda value: f"{value:.0f}"),
        "silence": ("events", lambda value: f"{value:.0f}"),
    }
    name, shown = said.get(alert.kind, ("observed", text.signed))
    facts = [
        marks.alert_state(alert),
        f"{name} {shown(alert.observed)}, usual {shown(alert.baseline)}",
        f"score {alert.score:.1f}",
        text.page("Topic", f"topic {text.safe(text.named(alert.topic), 60)}", topic=alert.topic, alert=alert.id),
    ]
    if acts:
        facts.append(f"acknowledged by {text.safe(acts[0]['by'], 40)}")
    if silences and silences[0]["until"] is not None:
        facts.append(f"silenced until {_time(silences[0]['until'])}")
    return facts


def _chart(look: Look, alert: AlertRow, now: int) -> None:
    """The alert's own quantity, from a while before its window to a while after it."""
    end = min(max(alert.resolved_at or now, alert.window_end) + DAY, now)
    start = max(min(alert.window_start, alert.started_at) - 3 * DAY, end - 60 * DAY)
    long = end - start > 21 * DAY
    step, window = (6 * HOUR, 2 * DAY) if long else (2 * HOUR, DAY)
    step = max(step - step % look.standing.bucket, look.standing.bucket)
    curve = views.curve(look.connection, alert.topic, start, end, step=step, window=window)
    over = "2 days" if long else "24 hours"
    if alert.kind == "negativity_spike":
        frame.header(f"Negative share of the last {over}", "Band: usual, two standard deviations of as many events.")
        chart = charts.negative_share(curve, [alert], dark=frame.dark(), until=now)
    elif alert.kind in ("volume", "silence"):
        frame.header(f"Stories in {step // HOUR} hours", "")
        chart = charts.volume(curve, dark=frame.dark())
    else:
        frame.header(f"Polarity, mean of the last {over}", "Band: usual, two standard deviations of as many events.")
        chart = charts.polarity(curve, [alert], dark=frame.dark(), until=now)
    st.altair_chart(chart, key="alert-chart", alt=f"{text.named(alert.topic)} around the alert")


def _timeline(alert: AlertRow, acts: Sequence[dict[str, Any]]) -> str:
    told = [(alert.started_at, "the change began, by estimate"), (alert.pending_at, "pending")]
    if alert.fired_at is not None:
        told.append((alert.fired_at, "fired"))
    if alert.resolved_at is not None:
        told.append((alert.resolved_at, "resolved" if alert.fired_at else "over, without having fired"))
    items = [
        f"<li><time>{text.clock(at, year=True)}</time>{said}</li>" for at, said in sorted(told, key=lambda x: x[0])
    ]
    for act in sorted(acts, key=lambda act: str(act["at"])):
        what = {"acknowledge": "acknowledged", "silence": "topic silenced"}.get(act["action"], act["action"])
        until = f" until {_time(act['until'])}" if act["until"] else ""
        note = f": {text.safe(act['note'], 300)}" if act["note"] else ""
        items.append(f"<li><time>{_time(act['at'])}</time>{what}{until} by {text.safe(act['by'], 60)}{note}</li>")
    return f'<ul class="fs-timeline">{"".join(items)}</ul>'


def _evidence(look: Look, alert: AlertRow, now: int) -> None:
    sub = f"{text.clock(alert.window_start, year=True)} to {text.clock(alert.window_end, year=True)} UTC. "
    if alert.kind == "silence":
        frame.header("Evidence", sub + "That nothing came is the evidence.")
        return
    order = "negative" if alert.direction == "worse" else "positive"
    rows, total = views.events(
        look.connection, alert.topic, alert.window_start, alert.window_end, known=now, order=order, limit=EVENTS
    )
    more = f", the {len(rows)} most {order} shown" if total > len(rows) else ""
    frame.header("Evidence", f"{sub}{text.count(total, 'independent event')}{more}, one a line.")
    st.html(marks.events(rows))


def _forms(identity: str) -> None:
    """Acknowledge and silence stand outside what refreshes: nothing that is being typed is lost."""
    topic = frame.once(lambda look: (found := views.alert(look.connection, identity)) and found.topic)
    if not isinstance(topic, str):
        return
    if (said := st.session_state.pop("said", None)) is not None:
        st.html(f'<p class="fs-loud fs-calm" role="status">{said}</p>')
    left, right, _ = st.columns([1, 1, 2])
    with left.popover("Acknowledge", width="stretch"), st.form("acknowledge", border=False):
        by = st.text_input("Your name", key="ack-by", max_chars=NAME_LENGTH)
        note = st.text_input("Note (may be empty)", key="ack-note", max_chars=NOTE_LENGTH)
        if st.form_submit_button("Acknowledge this alert", type="primary"):
            _write(by, lambda c, at: desk_actions.acknowledge(c, identity, by=by.strip(), note=note.strip(), now=at),
                   "Acknowledged. An acknowledgement changes no detection.")  # fmt: skip
    with right.popover("Silence", width="stretch"), st.form("silence", border=False):
        span = st.selectbox("No messages for", list(SPANS), index=2, key="silence-span")
        by_whom = st.text_input("Your name", key="silence-by", max_chars=NAME_LENGTH)
        why = st.text_input("Note (may be empty)", key="silence-note", max_chars=NOTE_LENGTH)
        if st.form_submit_button("Silence this topic", type="primary"):
            until = time.time_ns() // 1_000 + SPANS[span]
            _write(by_whom, lambda c, at: desk_actions.silence(c, topic, until=until, by=by_whom.strip(),
                                                               note=why.strip(), now=at),
                   f"Silenced: no messages about this topic for {span}. Detection goes on.")  # fmt: skip
    if served().exposed:
        st.html('<p class="fs-faint">Anyone who reaches this page can do this, under any name.</p>')


def _write(by: str, act: Any, said: str) -> None:
    if not by.strip():
        st.error("A name is needed: others will ask who did this.")
        return
    try:
        with writing(frame.reader().engine()) as connection:
            act(connection, time.time_ns() // 1_000)
    except (MonitorError, DBAPIError) as error:
        st.error(text.clean(f"Nothing was written: {getattr(error, 'orig', None) or error}"))
        return
    st.session_state["said"] = said
    st.rerun()


def _time(iso: str) -> str:
    """`14:10, 2 April 2026` of an ISO time."""
    from datetime import datetime

    from foreshock.monitor.store.times import microseconds

    return text.clock(microseconds(datetime.fromisoformat(iso)), year=True)


def _row(alert: AlertRow) -> list[object]:
    moments = [None if t is None else text.moment(t) for t in (alert.started_at, alert.fired_at, alert.resolved_at)]
    return [
        *(alert.id, alert.topic, alert.kind, alert.direction, alert.state, *moments),
        *(alert.observed, alert.baseline, alert.events, alert.sources, alert.sentence),
    ]
