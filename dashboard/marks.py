"""The small signs of the pages, as HTML: states (a word and a mark beside the colour), scores, sparklines."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from foreshock.dashboard import text
from foreshock.monitor.kinds import KINDS, MARKS
from foreshock.monitor.store.views import AlertRow, EventRow, Told, TopicRow

RUST, TEAL = "#c2693f", "#2f978e"
"""Of sparklines, which are images and know no theme: legible on both."""


def topic_state(row: TopicRow) -> str:
    """A topic's state: mark, word, and the colour of that word."""
    if row.state == "firing":
        mark = "▼" if row.direction == "worse" else "▲"
        return f'<span class="fs-state fs-now"><i>{mark}</i>{row.direction}, firing</span>'
    if row.state == "silent":
        return '<span class="fs-state fs-now"><i>○</i>silent, firing</span>'
    if row.state == "pending":
        word = {"worse": "worse", "better": "better"}.get(row.direction, "")
        return f'<span class="fs-state fs-{word}"><i>◇</i>{word}, pending</span>'
    if row.state == "learning":
        return '<span class="fs-state fs-faint"><i>…</i>learning</span>'
    return '<span class="fs-state fs-faint"><i>·</i>as usual</span>'


def alert_state(alert: AlertRow) -> str:
    kind = KINDS[alert.kind]
    word, mark = kind.word or alert.direction, kind.mark or MARKS[alert.direction]
    tone = {"firing": "fs-now", "pending": f"fs-{alert.direction}"}.get(alert.state, "fs-faint")
    said = {"dropped": "was pending, never fired"}.get(alert.state, alert.state)
    return f'<span class="fs-state {tone}"><i>{mark}</i>{word}, {said}</span>'


def scores(story: Told) -> str:
    """A story's scores as one bar of three parts, and the label that leads with its probability."""
    if story.scores is None:
        return '<span class="fs-faint">not scored</span>'
    negative, neutral, positive = story.scores
    label, value = max((("neg", negative), ("neu", neutral), ("pos", positive)), key=lambda pair: pair[1])
    tone = {"neg": "fs-worse", "pos": "fs-better", "neu": "fs-faint"}[label]
    said = f"negative {negative / 100:.0f} %, neutral {neutral / 100:.0f} %, positive {positive / 100:.0f} %"
    return (
        f'<span class="nw" title="{said}"><span class="fs-score" role="img" aria-label="{said}">'
        f'<b class="n" style="width:{negative / 100:.0f}%"></b>'
        f'<b class="p" style="width:{positive / 100:.0f}%"></b></span>'
        f'<span class="{tone}">{label}&nbsp;{value / 100:.0f}</span></span>'
    )


def events(rows: Sequence[EventRow], *, year: bool = False) -> str:
    """One line an event: when, what, who, its score, and its copies with theirs."""
    lines = []
    for row in rows:
        story = row.first
        title = text.headline(story.title, story.url)
        if story.withdrawn:
            title = f'<s>{title}</s> <span class="fs-faint">withdrawn</span>'
        copies = ""
        if row.copies:
            items = "".join(
                f"<li>{text.safe(copy.source, 60)}, {text.clock(copy.published_at)}: "
                f"{text.headline(copy.title, copy.url, 160)} {scores(copy)}</li>"
                for copy in row.copies[:40]
            )
            names = list(dict.fromkeys(text.safe(copy.source, 40) for copy in row.copies))
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            copies = (
                f"<details><summary>{text.count(len(row.copies), 'copy')}: {', '.join(names[:3])}{more}"
                f"</summary><ul>{items}</ul></details>"
            )
        when = text.clock(story.published_at, year=year)
        lines.append(
            f'<tr><td class="nw fs-faint top fs-mid">{when}</td><td class="top">{title} '
            f'<span class="fs-faint">{text.safe(story.source, 60)}</span>{copies}</td>'
            f'<td class="r top">{scores(story)}</td></tr>'
        )
    return (
        '<table class="fs-table"><thead><tr><th class="fs-mid">published, UTC</th><th>event, first told by</th>'
        f'<th class="r">score</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def sparkline(values: Sequence[float | None], usual: float | None, *, width: int = 132, height: int = 24) -> str:
    """Polarity over time as an image: a line, the usual level behind it, the last value as a dot in its colour."""
    known = [v for v in values if v is not None]
    if not known:
        return '<span class="fs-faint">no stories this week</span>'
    low, high = min(*known, usual or 0.0, -0.2), max(*known, usual or 0.0, 0.2)

    def y(value: float) -> float:
        return round(2.5 + (high - value) / (high - low) * (height - 5), 1)

    step = (width - 6) / max(len(values) - 1, 1)
    points = [(round(3 + i * step, 1), y(v)) for i, v in enumerate(values) if v is not None]
    line = " ".join(f"{a},{b}" for a, b in points)
    level = y(usual if usual is not None else 0.0)
    tone = RUST if known[-1] < (usual or 0.0) else TEAL
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<path d="M3 {level}H{width - 3}" stroke="#9a9a9a" stroke-opacity=".55" stroke-dasharray="2 2"/>'
        f'<polyline points="{line}" fill="none" stroke="#85898d" stroke-width="1.3" stroke-linejoin="round"/>'
        f'<circle cx="{points[-1][0]}" cy="{points[-1][1]}" r="2.4" fill="{tone}"/></svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    said = f"polarity over a week, last {text.signed(known[-1])}"
    return f'<img src="data:image/svg+xml;base64,{data}" width="{width}" height="{height}" alt="{said}">'
