"""Write benchmarks/results/detection.json and detection.svg from what has been measured so far.

python -m benchmarks.detection report --cells FOLDER
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.detection import desk, null, planted
from benchmarks.recording import RESULTS, record

COMMAND = "python -m benchmarks.detection null; ... planted; ... real; ... cost; ... report"
INK, PALE, GRID, MINE, BAND = "#33383d", "#8a9096", "#dfe3e6", "#b4532a", "#eef3f0"
PROMISED = (0.5, 1.1)
"""Alarms over the budget that are asked for, with 30 topics or more."""


def figures(cells: Path) -> dict[str, Any]:
    """Return all measurements of today's detectors."""
    quiet = null.kept(cells / "null.jsonl")
    found: dict[str, Any] = {"detectors": desk.version(), "false_alarms": null.summary(quiet), "planted": {}}
    for kind in planted.KINDS:
        rows = [row for row in null.kept(cells / "planted.jsonl") if row["kind"] == kind]
        rate = _rate([row for row in quiet if _key(row) == (kind, planted.TOPICS, planted.BUDGET)])
        if len(rows) > 1 and rate is not None:
            found["planted"][kind] = _compared(cells / f"compared.{kind}.json", kind, rows, rate)
    judged = json.loads((RESULTS / "judged_alerts.json").read_text())
    found["judged"] = {key: judged[key] for key in ("feed", "detectors", "budget", "weeks", "verdicts")}
    found["real"] = _todays(_read(cells / "real.json"))
    found["cost"] = _todays(_read(cells / "cost.json"))
    return found


def _read(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return rows


def _todays(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row.get("detectors") == desk.version()]


def _compared(file: Path, kind: str, rows: list[dict[str, Any]], rate: float) -> dict[str, Any]:
    """Return `planted.compare` from a cache, because the rivals take longer than everything else."""
    asked = {"rate": rate, "delays": [row["delays"] for row in rows]}
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("asked") != asked:
        kept = {"asked": asked, "found": planted.compare(kind, rows, rate)}
        file.write_text(json.dumps(kept))
    found: dict[str, Any] = kept["found"]
    return found


def _key(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["kind"], row["topics"], row["budget"]


def _rate(rows: list[dict[str, Any]]) -> float | None:
    """Return the alarms for the worse per settled topic-day."""
    days = sum(row["settled_topic_days"] for row in rows)
    return sum(row["settled"].get("worse", 0) for row in rows) / days if days else None


def write(cells: Path) -> dict[str, Any]:
    made = record("detection", COMMAND, figures(cells))
    (RESULTS / "detection.svg").write_text(picture(made))
    return made


def tables(made: dict[str, Any]) -> str:
    """Return the figures as Markdown, for the docs."""
    parts = [_false_alarms_table(made["false_alarms"])]
    parts += [_found_table(kind, found) for kind, found in made["planted"].items()]
    if made["real"]:
        parts.append(_market_table(made["real"]))
    parts += [
        f"Deciding took {cost['us_a_topic_hour']:g} µs a topic-hour and {cost['us_an_event']:g} µs an event of one "
        f"processor at {cost['topics']:,} topics."
        for cost in made.get("cost", ())
        if "us_an_event" in cost
    ]
    if "judged" in made:
        judged = made["judged"]
        counts = judged["verdicts"]
        verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts, reverse=True))
        parts.append(
            f"The first {sum(counts.values())} alerts of {judged['feed']}, of {judged['weeks']:.0f} weeks under a "
            f"budget of {judged['budget']}, were judged {verdicts}."
            + ("" if judged["detectors"] == made["detectors"] else " An earlier version of the detectors told them.")
        )
    return "\n\n".join(parts) + "\n\n"


def _table(above: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join([above, "", *lines])


def _false_alarms_table(rows: list[dict[str, Any]]) -> str:
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["topics"], row["one_per_topic_in_days"]), []).append(row)
    lines = []
    for (topics, days), same in sorted(groups.items()):
        least, most = (pick(same, key=lambda row: row["all"][0]) for pick in (min, max))
        interval = f"{most['all'][1]:.2f} to {most['all'][2]:.2f}"
        lines.append(
            (
                f"{topics:,}",
                f"1 per topic per {days} days",
                len(same),
                sum(row["seeds"] for row in same),
                f"{least['all'][0]:.2f} ({_words(least['kind'])})",
                f"{most['all'][0]:.2f} ({_words(most['kind'])})",
                interval,
            )
        )
    return _table(
        "Alarms over the budget on feeds in which nothing changes:",
        ("topics", "budget", "kinds of noise", "feeds", "least of all kinds", "most", "95 % interval of the most"),
        lines,
    )


def _found_table(kind: str, found: dict[str, Any]) -> str:
    changes = list(found["changes"])
    lines = []
    for name in dict.fromkeys(name for change in changes for name in found["changes"][change]):
        cells = []
        for change in changes:
            cell = found["changes"][change].get(name)
            hours = None if cell is None else cell["median_hours"]
            share = "" if cell is None else f"{100 * cell.get('found', cell.get('rang')):.0f} %"
            cells.append(share if hours is None else f"{share}, {hours:.0f} h")
        lines.append((name, *cells))
    return _table(
        f"Changes planted into *{_words(kind)}* feeds ({found['seeds']} feeds of {planted.TOPICS} topics): the share "
        "found, and the hours after which half of all were found. Decoys: the share on which an alert fired.",
        ("", *(_words(change) for change in changes)),
        lines,
    )


def _market_table(feeds: list[dict[str, Any]]) -> str:
    lines = []
    for feed in feeds:
        market = feed["market"]
        lines.append(
            (
                feed["feed"],
                f"{feed['watched_days']:.0f}",
                feed["fired"],
                f"{feed['chance_gives']['mean']:.0f}",
                market["market_days"],
                market["noticed"],
                market["alerts"],
                "" if market["precision"] is None else f"{market['precision']:.2f}",
                f"{market['precision_of_alerts_at_random']:.2f}",
            )
        )
    return _table(
        "All alerts on real news, and bad news of the market against market days:",
        (
            *("feed", "watched days", "alerts", "chance gives"),
            *("market days", "noticed", "alerts on the market", "precision", "at random"),
        ),
        lines,
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def picture(made: dict[str, Any]) -> str:
    """Draw the alarms over the budget on each null feed with intervals, and the share of changes found by each."""
    parts: list[str] = []
    y = _false_alarms(parts, made["false_alarms"], 0)
    for kind, result in made["planted"].items():
        y = _found(parts, kind, result, y + 24)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {y + 20}" width="760" height="{y + 20}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}"><rect width="100%" height="100%" fill="#ffffff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def _false_alarms(parts: list[str], rows: list[dict[str, Any]], y: int) -> int:
    left, right = 230, 720
    most = 2.0

    def at(x: float) -> float:
        return left + (right - left) * min(x, most) / most

    parts.append(
        f'<text x="16" y="{y + 24}" font-weight="bold">False alarms over the budget, feeds without changes</text>'
    )
    top, bottom = y + 40, y + 46 + 18 * len(rows)
    parts.append(
        f'<rect x="{at(PROMISED[0]):.0f}" y="{top}" width="{at(PROMISED[1]) - at(PROMISED[0]):.0f}" '
        f'height="{bottom - top}" fill="{BAND}"/>'
    )
    for tick in (0, 0.5, 1, 1.5, 2):
        parts.append(f'<line x1="{at(tick)}" x2="{at(tick)}" y1="{top}" y2="{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{at(tick)}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for place, row in enumerate(rows):
        line = top + 16 + 18 * place
        ratio, low, high = row["all"]
        label = f"{row['kind']}, {row['topics']} topics, 1 in {row['one_per_topic_in_days']} d"
        parts.append(f'<text x="{left - 8}" y="{line}" text-anchor="end">{escape(label)}</text>')
        parts.append(
            f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{line - 4}" y2="{line - 4}" stroke="{MINE}" '
            f'stroke-width="2"/><circle cx="{at(ratio):.1f}" cy="{line - 4}" r="3.5" fill="{MINE}"/>'
        )
    return bottom + 24


def _found(parts: list[str], kind: str, result: dict[str, Any], y: int) -> int:
    changes = [name for name in planted.ORACLES if name in result["changes"]]
    names = list(result["changes"][changes[0]])
    parts.append(
        f'<text x="16" y="{y + 16}" font-weight="bold">Share of planted changes found, and hours to the median: '
        f"{escape(kind)}, {result['seeds']} seeds</text>"
    )
    for place, change in enumerate(changes):
        parts.append(f'<text x="{250 + 104 * place}" y="{y + 38}">{escape(change.replace("_", " "))}</text>')
    for row, name in enumerate(names):
        line = y + 58 + 20 * row
        weight = ' font-weight="bold"' if name == "Foreshock" else ""
        parts.append(f'<text x="16" y="{line}"{weight}>{escape(name)}</text>')
        for place, change in enumerate(changes):
            cell = result["changes"][change][name]
            x, share, hours = 250 + 104 * place, cell["found"], cell["median_hours"]
            parts.append(f'<rect x="{x}" y="{line - 11}" width="44" height="12" fill="{GRID}"/>')
            colour = MINE if name == "Foreshock" else PALE
            parts.append(f'<rect x="{x}" y="{line - 11}" width="{44 * share:.1f}" height="12" fill="{colour}"/>')
            after = "" if hours is None or math.isinf(hours) else f", {hours:.0f} h"
            parts.append(f'<text x="{x + 48}" y="{line}" font-size="11">{share * 100:.0f} %{after}</text>')
    return y + 58 + 20 * len(names)
