"""Generate the demo's feed: six weeks of made-up news from a seed, with five planted incidents that `truth` names.

A plan comes before the words. The plan (companies, topics, volumes, the time of each incident) is drawn first and is
all that `truth` needs. Then events are spread over time. Then one or more sources report each event, each in its own
words.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from foreshock.demo import phrases
from foreshock.demo.headlines import PlannedNews, Report, Topic, Writer
from foreshock.demo.phrases import Source
from foreshock.demo.themes import THEMES
from foreshock.model.labels import LABELS

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 42
END = START + timedelta(days=DAYS)
COPIES = 40


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted incident: its topic, start and end (UTC, end excluded)."""

    topic: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Truth:
    """What was planted in a feed. Tests and the benchmark know it; detectors never do."""

    crisis: Planted
    drift: Planted
    outage: Planted
    repost: Planted
    busy: Planted


def generate(seed: int = 7) -> Iterator[dict[str, Any]]:
    """Yield stories in wire format, in order of event time: `id`, `published_at`, `source`, `title`, `topics`.

    Most have a `url`; those about a company have `tickers`. The same seed gives the same stories.
    """
    plan = _Plan(seed)
    rng = Random(f"{seed}:words")
    writer = Writer(rng)
    reports = sorted(_reports(plan, Random(f"{seed}:events")), key=lambda report: report.at)
    for number, report in enumerate(reports):
        title = writer.write(report)
        source = report.source.name
        digest = hashlib.sha256(f"{seed}/{number}/{source}/{title}".encode()).hexdigest()[:12]
        slug = re.sub(r"[^a-z]+", "", source.lower())
        story: dict[str, Any] = {
            "id": f"{slug}-{digest}",
            "published_at": report.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source": source,
            "title": title,
            "topics": [report.event.topic.name],
        }
        if report.source.style != "social":
            story["url"] = f"https://{slug}.example/{report.at:%Y/%m/%d}/{digest}"
        company = report.event.topic.company
        if company is not None:
            story["tickers"] = [company.ticker]
        yield story


def truth(seed: int = 7) -> Truth:
    """Return what is planted in `generate(seed)`, without generating it."""
    return _Plan(seed).truth


def write(path: Path | str, seed: int = 7) -> int:
    """Write the feed to `path` as JSON lines (UTF-8) and return the number of stories."""
    count = 0
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for story in generate(seed):
            file.write(json.dumps(story, ensure_ascii=False) + "\n")
            count += 1
    return count


class _Plan:
    """The topics, their volumes, and what happens to whom: everything except the events and the words."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"{seed}:plan")
        niche = rng.sample(sorted(phrases.JOURNALS), 3)
        themes = rng.sample(sorted(set(THEMES) - set(phrases.JOURNALS)), 11) + niche
        companies = rng.sample(phrases.COMPANIES, 17)
        crisis_company, busy_company, repost_company = companies[:3]
        drifting = rng.choice([companies[3].name, rng.choice(themes[:11])])
        rates = {
            crisis_company.name: rng.uniform(6, 10),
            busy_company.name: rng.uniform(8, 11),
            repost_company.name: rng.uniform(3, 5),
            drifting: rng.uniform(12, 18),
            niche[0]: rng.uniform(10, 13),
        }
        others = [name for name in [c.name for c in companies] + themes if name not in rates]
        rng.shuffle(others)
        # A few topics are busy and most are not, about as in real feeds.
        rates |= {others[i]: r * rng.uniform(0.93, 1.07) for i, r in enumerate(_ORDINARY_RATES)}

        by_name = {company.name: company for company in companies}
        self.companies = companies
        self.topics = {}
        for name in sorted(rates):
            negative, positive = rng.uniform(0.16, 0.33), rng.uniform(0.2, 0.36)
            if name == repost_company.name:
                negative = rng.uniform(0.12, 0.18)
            sources: tuple[Source, ...] = phrases.SOURCES
            if name in niche:
                sources = (phrases.JOURNALS[name],) if name == niche[0] else (phrases.JOURNALS[name], *sources[:4])
            wander = _wander(rng)
            self.topics[name] = Topic(name, rates[name], by_name.get(name), negative, positive, sources, wander)

        def moment(first: int, last: int, hours: tuple[int, int], weekdays_only: bool = True) -> datetime:
            days = [d for d in range(first, last + 1) if not weekdays_only or d % 7 < 5]
            return START + timedelta(days=rng.choice(days), seconds=rng.randint(hours[0] * 3600, hours[1] * 3600))

        crisis = moment(29, 36, (7, 15))
        drift = moment(15, 19, (0, 0), weekdays_only=False)
        outage = moment(29, 35, (8, 15))
        repost = moment(22, 38, (8, 13))
        busy = moment(22, 38, (0, 0))
        self.copy_delays = sorted(rng.expovariate(1 / 5400) + rng.uniform(60, 900) for _ in range(COPIES))
        repost_end = repost + timedelta(seconds=int(self.copy_delays[-1]) + 1)
        self.truth = Truth(
            crisis=Planted(crisis_company.name, crisis, crisis + timedelta(hours=rng.randint(50, 70))),
            drift=Planted(drifting, drift, drift + timedelta(days=rng.randint(17, 21))),
            outage=Planted(niche[0], outage, END),
            repost=Planted(repost_company.name, repost, repost_end),
            busy=Planted(busy_company.name, busy, busy + timedelta(days=1)),
        )
        self.busy_stories = round(rates[busy_company.name] * rng.uniform(5.0, 5.7))
        self.crisis_kind = phrases.CRISIS_OF_SECTOR[crisis_company.sector]


# Mean stories a day of the 26 topics without a planted incident.
_ORDINARY_RATES = (
    *(29, 24, 17, 14, 12, 10, 9, 8, 7, 6.5, 6, 5.5, 5, 4.5, 4, 4, 3.5, 3, 3, 2.5, 2.5, 2, 2, 1.7, 1.5, 1.3),
)
# Weight of each hour of the day, UTC.
_HOURS = {
    "round": (4, 4, 4, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 10, 10, 10, 9, 8, 7, 6, 6, 5, 5, 4),
    "day": (0, 0, 0, 0, 0.3, 2, 6, 9, 10, 10, 9, 9, 9, 9, 8, 8, 8, 6, 4, 2, 1, 0.5, 0, 0),
    "us": (1, 0.3, 0, 0, 0, 0, 0, 0.3, 1, 2, 4, 8, 10, 11, 11, 10, 9, 9, 8, 8, 9, 6, 3, 2),
    "asia": (9, 10, 10, 9, 8, 8, 8, 7, 6, 4, 2, 1, 1, 1, 1, 0.5, 0.5, 0.5, 1, 1, 2, 4, 7, 8),
    "office": (0, 0, 0, 0, 0, 0, 1, 4, 8, 9, 9, 8, 7, 8, 8, 7, 4, 1, 0, 0, 0, 0, 0, 0),
    "evening": (1, 0.5, 0.3, 0.2, 0.2, 0.5, 2, 4, 5, 5, 5, 6, 7, 7, 8, 9, 9, 10, 10, 9, 8, 7, 4, 2),
}
# How many sources report an event, and the mean delay of the later ones (seconds).
_REPORTS = (1, 2, 3, 4)
_REPORT_WEIGHTS = (0.80, 0.12, 0.05, 0.03)
_MEAN_REPORTS = sum(n * w for n, w in zip(_REPORTS, _REPORT_WEIGHTS, strict=True))
_REPORT_DELAY = 5400.0


def _wander(rng: Random) -> tuple[tuple[float, float], ...]:
    negative = positive = 0.0
    days = []
    for _ in range(DAYS):
        negative, positive = 0.85 * negative + rng.gauss(0, 0.1), 0.85 * positive + rng.gauss(0, 0.1)
        days.append((negative, positive))
    return tuple(days)


def _reports(plan: _Plan, rng: Random) -> Iterator[Report]:
    for topic in plan.topics.values():
        yield from _ordinary(plan, topic, rng)
    yield from _crisis(plan, rng)
    yield from _repost(plan, rng)
    yield from _busy(plan, rng)


def _ordinary(plan: _Plan, topic: Topic, rng: Random) -> Iterator[Report]:
    week = [[s.weight * (1.0 if day < 5 else s.weekend) for s in topic.sources] for day in range(7)]
    mean = sum(sum(weights) for weights in week) / 7
    outage, crisis = plan.truth.outage, plan.truth.crisis
    single = len(topic.sources) == 1
    for day in range(DAYS):
        midnight = START + timedelta(days=day)
        weights = week[day % 7]
        expected = topic.rate * sum(weights) / mean / (1 if single else _MEAN_REPORTS)
        for _ in range(_poisson(rng, expected)):
            source = rng.choices(topic.sources, weights)[0]
            at = _time(rng, midnight, source)
            if topic.name == crisis.topic and crisis.start <= at < crisis.end and rng.random() < 0.8:
                continue  # In a crisis, sources write about little else.
            event = PlannedNews(topic, _tone(plan, topic, at, rng))
            number = 1 if single else rng.choices(_REPORTS, _REPORT_WEIGHTS)[0]
            for report in _reported(rng, event, at, source, number):
                if not (topic.name == outage.topic and outage.start <= report.at < outage.end):
                    yield report


def _reported(rng: Random, event: PlannedNews, at: datetime, source: Source, number: int) -> Iterator[Report]:
    """Yield the reports of an event: the first, those of other sources, and sometimes a copy of a wire's story."""
    first = Report(at, source, event)
    event.retold = number > 1
    yield first
    rest = [s for s in event.topic.sources if s is not source]
    delays = [(int(rng.expovariate(1 / _REPORT_DELAY)) + 60, False) for _ in range(number - 1)]
    if source.style == "wire" and rng.random() < 0.06:
        delays.append((rng.randint(60, 3600), True))
    for delay, copied in delays:
        later = at + timedelta(seconds=delay)
        if rest and later < END:
            other = rng.choices(rest, [_weight(s, later) for s in rest])[0]
            rest.remove(other)
            yield Report(later, other, event, copy_of=first if copied else None)


def _tone(plan: _Plan, topic: Topic, at: datetime, rng: Random) -> str:
    day = min((at - START).days, DAYS - 1)
    down, up = topic.wander[day]
    drift = plan.truth.drift
    if topic.name == drift.topic:
        # The tone moves from its usual level to a clearly negative one, a little every day.
        progress = min(max((at - drift.start) / (drift.end - drift.start), 0.0), 1.0)
        down, up = down + 1.7 * progress, up - 1.2 * progress
    neutral = 1 - topic.negative - topic.positive
    weights = (topic.negative * math.exp(down), neutral, topic.positive * math.exp(up))
    return rng.choices(LABELS, weights)[0]


def _crisis(plan: _Plan, rng: Random) -> Iterator[Report]:
    planted, topic = plan.truth.crisis, plan.topics[plan.truth.crisis.topic]
    kind = phrases.CRISES[plan.crisis_kind]
    facts = {"crisis": rng.choice(kind["crisis"])}
    hours = (planted.end - planted.start) / timedelta(hours=1)
    for n in range(rng.randint(85, 100)):
        if n < 3:
            at = planted.start + timedelta(seconds=n * rng.randint(60, 900))
            patterns = kind["first"]
        else:
            # Most reports come on the first day. The sources' hours then make the nights quiet.
            at = planted.start + timedelta(hours=hours * rng.random() ** 1.5)
            if rng.random() > _HOURS["round"][at.hour] / 10:
                at = planted.start + timedelta(hours=hours * rng.random() ** 1.5)
            patterns = (*kind["more"], *phrases.CRISIS_ANY)
        tone = "negative"
        if n >= 3 and rng.random() < 0.08:
            tone, patterns = "neutral", phrases.CRISIS_CALM
        event = PlannedNews(topic, tone, "crisis", facts=dict(facts), patterns=patterns)
        source = rng.choices(topic.sources, [_weight(s, at) for s in topic.sources])[0]
        number = rng.choices(_REPORTS, (0.6, 0.25, 0.1, 0.05))[0]
        at = at.replace(microsecond=0)
        yield from (report for report in _reported(rng, event, at, source, number) if report.at < planted.end)


def _repost(plan: _Plan, rng: Random) -> Iterator[Report]:
    planted, topic = plan.truth.repost, plan.topics[plan.truth.repost.topic]
    event = PlannedNews(topic, "negative", "repost", patterns=phrases.REPOSTED)
    first = Report(planted.start, phrases.SOURCES[0], event)
    yield first
    for delay in plan.copy_delays:
        at = planted.start + timedelta(seconds=int(delay))
        weights = [_weight(s, at) * (4 if s.style == "social" else 1) for s in topic.sources]
        yield Report(at, rng.choices(topic.sources, weights)[0], event, copy_of=first)


def _busy(plan: _Plan, rng: Random) -> Iterator[Report]:
    planted, topic = plan.truth.busy, plan.topics[plan.truth.busy.topic]
    for _ in range(plan.busy_stories):
        at = planted.start + timedelta(seconds=int(rng.triangular(6, 20, 11) * 3600))
        source = rng.choices(topic.sources, [_weight(s, at) for s in topic.sources])[0]
        yield Report(at, source, PlannedNews(topic, "neutral", "meeting", patterns=phrases.MEETING))


def _weight(source: Source, at: datetime) -> float:
    weekend = source.weekend if at.weekday() >= 5 else 1.0
    return source.weight * weekend * (_HOURS[source.hours][at.hour] + 0.05)


def _time(rng: Random, midnight: datetime, source: Source) -> datetime:
    hour = rng.choices(range(24), _HOURS[source.hours])[0]
    # Sources often publish at the full or the half hour.
    second = int(rng.triangular(0, 420, 20)) + rng.choice((0, 1800)) if rng.random() < 0.15 else rng.randrange(3600)
    return midnight + timedelta(seconds=hour * 3600 + second)


def _poisson(rng: Random, mean: float) -> int:
    """Draw from a Poisson distribution by Knuth's method, which suits the small means here."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count
