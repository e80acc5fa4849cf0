"""The false-alarm budget: its text in the settings, its rules for the detectors, and the alerts that chance gives.

    parse_budget("1 per week"), parse_budget("1 per topic per 90 days")

Nobody can observe which alerts were false. Two numbers can be reported: how many alerts there were, and how many chance
alone would have raised at this budget. See docs/detection.md, "The budget".
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, NamedTuple

from foreshock.monitor.admission import TOPICS
from foreshock.monitor.detectors import DetectionRules
from foreshock.monitor.kinds import SHARES, count
from foreshock.monitor.watermark import TimeRules

UNITS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0, "quarter": 91.0, "year": 365.0}
_FORM = re.compile(
    r"(?P<count>\d+(?:\.\d+)?)\s*(?:per|/|a|an)\s*(?P<topic>topic\s*(?:per|/|and|a|an)\s*)?"
    r"(?:(?P<many>\d+(?:\.\d+)?)\s*)?(?P<unit>hour|day|week|month|quarter|year)s?"
)
EXAMPLES = '"1 per week" for the whole desk, or "1 per topic per 90 days"'
MOST_OF_A_DESK = 10.0
"""The largest budget of a desk, in alarms a day. Nobody reads more."""
MOST_OF_A_TOPIC = 1.0
"""The largest budget of a topic, in alarms a day."""
LEAST = 1 / 3650
"""The smallest budget, in alarms a day. No history is long enough to calibrate a smaller one."""


FIRST_EVENTS = 3
"""Events from which on a topic that a feed named is watched. Names that come once or twice are most of all names, and
say nothing; a surge needs three events anyway."""
CRITICAL_STORIES = "2 per week"
"""How many critical stories a desk expects, unless the settings say otherwise."""


def parse_expected(text: object) -> float:
    """Return how many critical stories a day `text` expects ("2 per week"). Raises ValueError as `parse_budget`."""
    budget = parse_budget(text)
    if budget.per_topic:
        raise ValueError('counts the critical stories of the whole desk: write "2 per week", without topic')
    return budget.per_day


class Budget(NamedTuple):
    """False alarms a day, for the whole desk or for each topic."""

    per_day: float
    per_topic: bool


def parse_budget(text: object) -> Budget:
    """Return the budget that `text` describes.

    Raises:
        ValueError: the text has another form, or the budget is too small or too large. The message follows the name of
            the setting, and says which form or size is expected.
    """
    found = _FORM.fullmatch(" ".join(text.lower().split())) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"is not a budget: write {EXAMPLES}")
    many = float(found["many"] or 1)
    count, topic = float(found["count"]), found["topic"] is not None
    whose = "a topic" if topic else "the desk"
    if count == 0 or many == 0:
        raise ValueError(
            "a budget of 0 cannot be kept: chance alone can raise any alert. The smallest budget is 1 per 10 years. To "
            "turn a kind of alert off, set its share in alerts.shares to 0"
        )
    rate = count / many / UNITS[found["unit"]]
    most = MOST_OF_A_TOPIC if topic else MOST_OF_A_DESK
    if rate > most * (1 + 1e-9):
        raise ValueError(
            f"would be {rate:.3g} false alarms a day for {whose}: the largest budget is {most:.0f} a day, because "
            "nobody reads more"
        )
    if rate < LEAST * (1 - 1e-9):
        raise ValueError(f"is less than 1 per 10 years for {whose}: no feed is long enough to calibrate this")
    return Budget(rate, topic)


def detection_rules(shaping: dict[str, Any] | None, time: TimeRules) -> DetectionRules:
    """Return the detectors' rules of a settings version.

    `shaping`: the version's parsed `body`. If it is None, or older than the budget, the rules are the defaults.
    """
    rules = DetectionRules(
        bucket=time.bucket, stall_after=time.stall_after, first_events=FIRST_EVENTS, most_topics=TOPICS
    )
    if not shaping or "alerts" not in shaping:
        return rules
    alerts, topics, sources = shaping["alerts"], shaping.get("topics", []), shaping.get("sources", [])
    budget, shares = parse_budget(alerts["false_alarms"]), alerts["shares"]
    parts: dict[str, Any] = {name: float(shares[name]) for name in SHARES}
    weights = sorted((str(t["name"]), float(t["weight"])) for t in topics if t.get("weight", 1) != 1)
    return replace(
        rules,
        false_alarms=budget.per_day * (1 - names_share(shaping)),
        per_topic=budget.per_topic,
        weights=tuple(weights),
        own=frozenset(str(t["name"]) for t in topics),
        trust=tuple(sorted((str(s["name"]), float(s["weight"])) for s in sources if 0 < s["weight"] != 1)),
        muted=frozenset(str(s["name"]) for s in sources if s["weight"] == 0),
        most_topics=int(shaping.get("limits", {}).get("topics", TOPICS)),
        **parts,
    )


def names_share(shaping: dict[str, Any] | None) -> float:
    """Return the part of the budget for names that no topic has, by a settings version. Older versions have none."""
    return float((shaping or {}).get("alerts", {}).get("new_names", 0.0))


class BudgetReport(NamedTuple):
    """The incidents of the last days, beside the number that chance alone would have raised."""

    incidents: int
    days: int
    expected: float
    """False alarms that the budget allows in these days."""
    learning: int
    """Topics that are still learning."""
    topics: int
    """All topics, including those that are learning."""
    learning_until: int | None
    """When the first topic will have learned (microseconds). None if no topic is learning, or all that are have too few
    events."""
    critical: int = 0
    """Incidents that a critical story began or raised in the last days."""
    critical_days: int = 0
    """The days of the feed in which these were counted. 0 if critical stories are off."""
    critical_expected: float = 0.0
    """Critical stories that the desk expects in so many days."""


def sentence(standing: BudgetReport, until: str | None) -> str:
    """Describe the number of incidents, and the topics that are learning. `until`: `learning_until` as text."""
    learning = ""
    if standing.learning:
        verb = "is" if standing.learning == 1 else "are"
        learning = f"{standing.learning} of {count(standing.topics, 'topic')} {verb} still learning"
        learning += ", with too few events so far" if until is None else f", the first until {until}"
    if not standing.days:
        return "No topic is judged by its statistics yet" + (f": {learning}." if learning else ".")
    low, high = by_chance(standing.expected)
    chance = f"chance alone, at your budget, gives {standing.expected:.2g} ({low} to {high})"
    fired = f"{count(standing.incidents, 'incident')} in {count(standing.days, 'day')}; {chance}."
    return f"{fired} {learning}." if learning else fired


def critical_sentence(standing: BudgetReport) -> str:
    """Describe the number of incidents with a critical story beside the number that the desk expects.

    Empty if critical stories are off, or if no day has passed.
    """
    if not standing.critical_days:
        return ""
    fired = f"{count(standing.critical, 'incident')} with a critical story in {count(standing.critical_days, 'day')}"
    said = f"{fired}; you expect {standing.critical_expected:.2g} (setting alerts.critical_stories)."
    if standing.critical > by_chance(standing.critical_expected)[1]:
        said += " That is more than you expect. To see which stories are critical: foreshock critical try"
    return said


def by_chance(mean: float) -> tuple[int, int]:
    """Return the range that contains 95 % of Poisson counts with this mean: from the 2.5 % to the 97.5 % point."""
    if mean > 500:  # e^-mean would underflow; at this size the normal approximation is good
        return round(mean - 1.96 * mean**0.5), round(mean + 1.96 * mean**0.5)
    points, below, chance, count = list[int](), 0.0, math.exp(-mean), 0
    for point in (0.025, 0.975):
        while below + chance < point and count < 10 * mean + 50:
            below += chance
            count += 1
            chance *= mean / count
        points.append(count)
    return points[0], points[1]
