"""The false-alarm budget: how a person writes it, what it asks of the detectors, and what chance alone would give.

    parse_budget("1 per week"), parse_budget("1 per topic per 90 days")

Nobody can observe which alarms were false. What can be said is how many chance alone would have raised at the budget,
and how many there were.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, NamedTuple

from foreshock.monitor.detectors import DetectionRules
from foreshock.monitor.kinds import SHARES
from foreshock.monitor.watermark import TimeRules

UNITS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0, "quarter": 91.0, "year": 365.0}
_FORM = re.compile(
    r"(?P<count>\d+(?:\.\d+)?)\s*(?:per|/|a|an)\s*(?P<topic>topic\s*(?:per|/|and|a|an)\s*)?"
    r"(?:(?P<many>\d+(?:\.\d+)?)\s*)?(?P<unit>hour|day|week|month|quarter|year)s?"
)
EXAMPLES = '"1 per week" for the whole desk, or "1 per topic per 90 days"'
MOST_OF_A_DESK, MOST_OF_A_TOPIC = 10.0, 1.0
"""A day. More than that is no alarm any more: nobody reads it, and chance need not be told from news."""
LEAST = 1 / 3650
"""A day. No history is long enough to keep a smaller one."""


class Budget(NamedTuple):
    """False alarms a day, of the whole desk or of each topic."""

    per_day: float
    per_topic: bool


def parse_budget(text: object) -> Budget:
    """The budget that a text says. Raises ValueError with what was expected, or why it cannot be kept."""
    found = _FORM.fullmatch(" ".join(text.lower().split())) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"is no budget: expected {EXAMPLES}")
    many = float(found["many"] or 1)
    count, topic = float(found["count"]), found["topic"] is not None
    whose = "a topic" if topic else "the desk"
    if count == 0 or many == 0:
        raise ValueError(
            "no false alarm at all cannot be promised: chance can do anything. The smallest budget is 1 per 10 years; "
            "a share of 0 in alerts.shares turns a kind off"
        )
    rate = count / many / UNITS[found["unit"]]
    most = MOST_OF_A_TOPIC if topic else MOST_OF_A_DESK
    if rate > most * (1 + 1e-9):
        raise ValueError(
            f"would be {rate:.3g} false alarms a day of {whose}; at most {most:.0f} can be told from news by anyone"
        )
    if rate < LEAST * (1 - 1e-9):
        raise ValueError(f"is less than 1 per 10 years of {whose}: no feed is long enough to keep it")
    return Budget(rate, topic)


def detection_rules(shaping: dict[str, Any] | None, time: TimeRules) -> DetectionRules:
    """What detectors go by, of a settings version (`settings_versions.body`, read); None, or one from before there was
    a budget: the defaults."""
    rules = DetectionRules(bucket=time.bucket, stall_after=time.stall_after)
    if not shaping or "alerts" not in shaping:
        return rules
    alerts, topics = shaping["alerts"], shaping.get("topics", [])
    budget, shares = parse_budget(alerts["false_alarms"]), alerts["shares"]
    parts: dict[str, Any] = {name: float(shares[name]) for name in SHARES}
    weights = sorted((str(t["name"]), float(t["weight"])) for t in topics if t.get("weight", 1) != 1)
    return replace(
        rules,
        false_alarms=budget.per_day,
        per_topic=budget.per_topic,
        weights=tuple(weights),
        **parts,
    )


class Standing(NamedTuple):
    """Alerts of the last days against what chance alone would have raised."""

    alerts: int
    days: int
    expected: float
    """False alarms that the budget allows in these days."""
    learning: int
    """Topics that are still learning, of `topics`."""
    topics: int
    learning_until: int | None
    """When the first of them will be judged (microseconds); None if none is learning, or all have too few events."""


def sentence(standing: Standing, until: str | None) -> str:
    """What can be known of false alarms, in words; `until`: `learning_until` as text."""
    text = f"{_count(standing.learning, 'topic')} of {standing.topics} learning" if standing.learning else ""
    if text:
        text += ", with too few events so far" if until is None else f", the first until {until}"
    if not standing.days:
        return f"No topic has been watched yet: {text}." if text else "No topic has been watched yet."
    low, high = by_chance(standing.expected)
    chance = f"chance alone, at your budget, gives {standing.expected:.2g} ({low} to {high})"
    said = f"{_count(standing.alerts, 'alert')} in {_count(standing.days, 'day')}; {chance}."
    return f"{said} {text[0].upper()}{text[1:]}." if text else said


def by_chance(mean: float) -> tuple[int, int]:
    """The numbers between which a Poisson count of that mean lies with 95 %: from its 2.5 % to its 97.5 % point."""
    if mean > 500:  # where e^-mean would vanish, it is a normal's
        return round(mean - 1.96 * mean**0.5), round(mean + 1.96 * mean**0.5)
    points, below, chance, count = list[int](), 0.0, math.exp(-mean), 0
    for point in (0.025, 0.975):
        while below + chance < point and count < 10 * mean + 50:
            below += chance
            count += 1
            chance *= mean / count
        points.append(count)
    return points[0], points[1]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
