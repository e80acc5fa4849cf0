"""The demo's feed: six weeks of invented news, made from a seed, with five things planted in it that `truth` names.

The one idea is that a plan comes before the words. The plan (who, which topics, how busy, when each planted thing is)
is drawn first and is all that `truth` needs; then events are laid out over time; then each event is reported once or
more, each source in its own words. A headline too like another of the last two days is written again.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from foreshock.demo import phrases
from foreshock.demo.phrases import Company, Source
from foreshock.demo.themes import THEME_PATTERNS, THEMES

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 42
END = START + timedelta(days=DAYS)
COPIES = 40
MAX_PIECES = 27
"""Estimated wordpieces of a headline; with the encoder's two marks it stays within 30."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted thing: its topic, and from when until when (UTC, end excluded)."""

    topic: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Truth:
    """What was planted in a feed: known to tests and the benchmark, never to a detector."""

    crisis: Planted
    drift: Planted
    outage: Planted
    repost: Planted
    busy: Planted


def generate(seed: int = 7) -> Iterator[dict[str, Any]]:
    """Stories in wire format, in order of event time: `id`, `published_at`, `source`, `title`, `topics`.

    Most carry `url`, those on a company `tickers`. The same seed gives the same stories.
    """
    plan = _Plan(seed)
    rng = Random(f"{seed}:words")
    writer = _Writer(rng)
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
    """What `generate(seed)` holds, without generating it."""
    return _Plan(seed).truth


def write(path: Path | str, seed: int = 7) -> int:
    """Writes the feed to `path` as JSON lines (UTF-8); returns the number of stories."""
    count = 0
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for story in generate(seed):
            file.write(json.dumps(story, ensure_ascii=False) + "\n")
            count += 1
    return count


@dataclass(slots=True)
class _Topic:
    name: str
    rate: float
    """Mean stories a day over the week, copies and planted things left out."""
    company: Company | None
    negative: float
    positive: float
    """Usual shares of events; the rest is neutral."""
    sources: tuple[Source, ...]
    wander: tuple[tuple[float, float], ...] = ()
    """A day's drift of the two shares, in log-odds."""


@dataclass(slots=True)
class _Event:
    topic: _Topic
    tone: str
    kind: str = ""
    """`crisis`, `repost` or `meeting` of what is planted; such an event brings its own patterns."""
    retold: bool = False
    """Whether several sources report it."""
    facts: dict[str, str] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    used: set[str] = field(default_factory=set)
    """Patterns its reports have used: independent reports use different words."""


@dataclass(slots=True)
class _Report:
    at: datetime
    source: Source
    event: _Event
    copy_of: _Report | None = None
    title: str = ""


class _Plan:
    """Which topics there are, how busy, and what happens to whom: everything but the events and the words."""

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
        # A few topics are busy and many are not: about as volumes spread in real feeds.
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
            self.topics[name] = _Topic(name, rates[name], by_name.get(name), negative, positive, sources, wander)

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
        self.busy_stories = round(rates[busy_company.name] * rng.uniform(5.3, 6.1))
        self.crisis_kind = phrases.CRISIS_OF_SECTOR[crisis_company.sector]


# The 26 topics to which nothing is planted, in mean stories a day.
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
# How many sources report an event, and how late the further ones are (mean, seconds).
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


def _reports(plan: _Plan, rng: Random) -> Iterator[_Report]:
    for topic in plan.topics.values():
        yield from _ordinary(plan, topic, rng)
    yield from _crisis(plan, rng)
    yield from _repost(plan, rng)
    yield from _busy(plan, rng)


def _ordinary(plan: _Plan, topic: _Topic, rng: Random) -> Iterator[_Report]:
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
                continue  # In a crisis little else is written about a company.
            event = _Event(topic, _tone(plan, topic, at, rng))
            number = 1 if single else rng.choices(_REPORTS, _REPORT_WEIGHTS)[0]
            for report in _told(rng, event, at, source, number):
                if not (topic.name == outage.topic and outage.start <= report.at < outage.end):
                    yield report


def _told(rng: Random, event: _Event, at: datetime, source: Source, number: int) -> Iterator[_Report]:
    """An event's reports: the first, the others' own, and now and then a wire's story taken over as it is."""
    first = _Report(at, source, event)
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
            yield _Report(later, other, event, copy_of=first if copied else None)


def _tone(plan: _Plan, topic: _Topic, at: datetime, rng: Random) -> str:
    day = min((at - START).days, DAYS - 1)
    down, up = topic.wander[day]
    drift = plan.truth.drift
    if topic.name == drift.topic:
        # From the topic's usual tone to a plainly sour one, a little every day.
        progress = min(max((at - drift.start) / (drift.end - drift.start), 0.0), 1.0)
        down, up = down + 1.7 * progress, up - 1.2 * progress
    neutral = 1 - topic.negative - topic.positive
    weights = (topic.negative * math.exp(down), neutral, topic.positive * math.exp(up))
    return rng.choices(("negative", "neutral", "positive"), weights)[0]


def _crisis(plan: _Plan, rng: Random) -> Iterator[_Report]:
    planted, topic = plan.truth.crisis, plan.topics[plan.truth.crisis.topic]
    kind = phrases.CRISES[plan.crisis_kind]
    facts = {"crisis": rng.choice(kind["crisis"])}
    hours = (planted.end - planted.start) / timedelta(hours=1)
    for n in range(rng.randint(85, 100)):
        if n < 3:
            at = planted.start + timedelta(seconds=n * rng.randint(60, 900))
            patterns = kind["first"]
        else:
            # Most comes in the first day; the hours of the sources then cut holes into the nights.
            at = planted.start + timedelta(hours=hours * rng.random() ** 1.5)
            if rng.random() > _HOURS["round"][at.hour] / 10:
                at = planted.start + timedelta(hours=hours * rng.random() ** 1.5)
            patterns = kind["more"] if rng.random() < 0.35 else phrases.CRISIS_ANY
        tone = "negative"
        if n >= 3 and rng.random() < 0.08:
            tone, patterns = "neutral", phrases.CRISIS_CALM
        event = _Event(topic, tone, "crisis", facts=dict(facts), patterns=patterns)
        source = rng.choices(topic.sources, [_weight(s, at) for s in topic.sources])[0]
        number = rng.choices(_REPORTS, (0.6, 0.25, 0.1, 0.05))[0]
        at = at.replace(microsecond=0)
        yield from (report for report in _told(rng, event, at, source, number) if report.at < planted.end)


def _repost(plan: _Plan, rng: Random) -> Iterator[_Report]:
    planted, topic = plan.truth.repost, plan.topics[plan.truth.repost.topic]
    event = _Event(topic, "negative", "repost", patterns=phrases.REPOSTED)
    first = _Report(planted.start, phrases.SOURCES[0], event)
    yield first
    for delay in plan.copy_delays:
        at = planted.start + timedelta(seconds=int(delay))
        weights = [_weight(s, at) * (4 if s.style == "social" else 1) for s in topic.sources]
        yield _Report(at, rng.choices(topic.sources, weights)[0], event, copy_of=first)


def _busy(plan: _Plan, rng: Random) -> Iterator[_Report]:
    planted, topic = plan.truth.busy, plan.topics[plan.truth.busy.topic]
    for _ in range(plan.busy_stories):
        at = planted.start + timedelta(seconds=int(rng.triangular(6, 20, 11) * 3600))
        source = rng.choices(topic.sources, [_weight(s, at) for s in topic.sources])[0]
        yield _Report(at, source, _Event(topic, "neutral", "meeting", patterns=phrases.MEETING))


def _weight(source: Source, at: datetime) -> float:
    weekend = source.weekend if at.weekday() >= 5 else 1.0
    return source.weight * weekend * (_HOURS[source.hours][at.hour] + 0.05)


def _time(rng: Random, midnight: datetime, source: Source) -> datetime:
    hour = rng.choices(range(24), _HOURS[source.hours])[0]
    # Wires and papers like the full hour and its half.
    second = int(rng.triangular(0, 420, 20)) + rng.choice((0, 1800)) if rng.random() < 0.15 else rng.randrange(3600)
    return midnight + timedelta(seconds=hour * 3600 + second)


def _poisson(rng: Random, mean: float) -> int:
    """Knuth's method; means here are small."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


_INNERMOST = re.compile(r"\[([^\[\]]*)\]|\{(\w+)\}")
_AN = re.compile(r"\b([Aa]) (?=[aeioAEIO]|8|11\b|18\b)")
_MONEY = re.compile(r"\$([\d.]+) (million|billion)")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_WORD = re.compile(r"\w+")
_TICKERS = {company.ticker.lower() for company in phrases.COMPANIES}
_INVENTED = {
    word.lower()
    for text in (
        *(company.name for company in phrases.COMPANIES),
        *(phrases.FIRMS + phrases.TARGETS + phrases.FIRST_NAMES + phrases.LAST_NAMES),
    )
    for word in _WORD.findall(text)
}
_PIECE = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]")


class _Writer:
    """Turns reports into headlines, in order of time."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.recent: deque[tuple[datetime, int, frozenset[str]]] = deque()
        self.holders: dict[str, list[tuple[int, int]]] = {}
        """Word triple -> (running number, number of triples) of each headline of the last 48 hours that has it."""
        self.last_used: Counter[tuple[str, str]] = Counter()
        self.count = 0

    def write(self, report: _Report) -> str:
        if report.copy_of is not None:
            report.title = self._copied(report)
            return report.title
        self._forget(report.at - timedelta(hours=48))
        best, best_likeness, best_pattern = "", 2.0, ""
        for attempt in range(24):
            if not report.event.used and attempt % 4 == 0:
                self._begin(report.event)
            pattern, candidate = self._draft(report)
            if _pieces(candidate) > MAX_PIECES:
                continue
            likeness = self._likeness(candidate)
            if likeness < best_likeness:
                best, best_likeness, best_pattern = candidate, likeness, pattern
            if likeness <= 0.3:
                break
        if not best:
            raise AssertionError(f"no pattern for {report.event.topic.name} is short enough")
        self.count += 1
        self.last_used[report.event.topic.name, best_pattern] = self.count
        report.event.used.add(best_pattern)
        self._remember(report, best)
        report.title = best
        return best

    def _draft(self, report: _Report) -> tuple[str, str]:
        event, rng = report.event, self.rng
        if not event.used:
            event.facts = {name: value for name, value in event.facts.items() if name == "crisis"}
        fresh = [p for p in event.patterns if p not in event.used] or list(event.patterns)
        # Of three, the one this topic has not used for longest: what a desk has just written it does not write again.
        pattern = min(rng.sample(fresh, min(3, len(fresh))), key=lambda p: self.last_used[event.topic.name, p])
        return pattern, self._styled(report, self._expand(pattern, report))

    def _begin(self, event: _Event) -> None:
        """Chooses what the event is: its patterns are those its reports may use."""
        if event.kind in ("crisis", "repost", "meeting"):
            return
        rng, company = self.rng, event.topic.company
        own = {"negative": "bad", "neutral": "flat", "positive": "good"}[event.tone]
        # Lines of a theme's or a sector's own each tell of something else: not for an event that others report too.
        if company is None:
            alone = not event.retold and rng.random() < 0.3
            event.patterns = THEMES[event.topic.name][own] if alone else THEME_PATTERNS[event.tone]
            return
        kinds = phrases.EVENTS[event.tone]
        if not event.retold and rng.random() < 0.18:
            event.patterns = phrases.SECTORS[company.sector][own]
        else:
            event.patterns = rng.choices(list(kinds.values()), [len(patterns) for patterns in kinds.values()])[0]

    def _expand(self, pattern: str, report: _Report) -> str:
        event = report.event

        def replace(match: re.Match[str]) -> str:
            if match[2] is None:
                choices: list[str] = match[1].split("|")
                return self.rng.choice(choices)
            return self._slot(match[2], event, report.at)

        text = pattern
        while _INNERMOST.search(text):
            text = _INNERMOST.sub(replace, text)
        text = _AN.sub(r"\1n ", re.sub(r"\s+", " ", text).strip())
        return text[0].upper() + text[1:]

    def _slot(self, name: str, event: _Event, at: datetime) -> str:
        rng, company = self.rng, event.topic.company
        if name in event.facts:
            return event.facts[name]
        if company is not None:
            if name == "co":
                return company.name if rng.random() < 0.6 else company.short
            if name == "home":
                return company.home
            if name in ("noun", "product", "unit", "site", "worker", "customer"):
                value = rng.choice(phrases.SECTORS[company.sector][name])
                # What an event is about stays; what its people are called may vary.
                if name != "noun":
                    event.facts[name] = value
                return value
        else:
            theme = THEMES[event.topic.name]
            if name in theme:
                value = rng.choice(theme[name])
                event.facts[name] = value
                return value
        value = _fact(name, rng, at)
        event.facts[name] = value
        return value

    def _styled(self, report: _Report, text: str) -> str:
        rng, style, tone = self.rng, report.source.style, report.event.tone
        company = report.event.topic.company
        if report.event.kind == "repost":
            return text
        if style == "wire":
            text = _MONEY.sub(lambda m: f"${m[1]} {'mln' if m[2] == 'million' else 'bln'}", text)
            text = text.replace("%", " pct")
            draw = rng.random()
            if draw < 0.05:
                return text.upper()
            if draw < 0.17:
                return rng.choice(phrases.WIRE_PREFIXES) + text
            if draw < 0.22 and company is not None and text.startswith(company.name):
                return company.name.upper() + text[len(company.name) :]
        elif style in ("paper", "regional"):
            text = text.replace("%", " per cent" if report.source.name != "Tallyman Daily" else " percent")
            tails = phrases.TAILS["paper" if company is not None else "theme"][tone]
            if style == "regional" and company is not None and text.startswith(company.name) and rng.random() < 0.5:
                noun = rng.choice(phrases.SECTORS[company.sector]["noun"])
                prefix = rng.choice((f"{company.home}-based ", f"{company.home} {noun} ", f"Local {noun} "))
                return prefix + text
            if rng.random() < 0.22 and report.event.kind != "meeting" and not set(text) & set(",:"):
                return text + rng.choice(tails)
        elif style == "social":
            text = _MONEY.sub(lambda m: f"${m[1]}{m[2][0]}", text)
            if company is not None:
                cashtag = f"${company.ticker}"
                if rng.random() < 0.6:
                    text = text.replace(company.name, cashtag).replace(company.short, cashtag)
                else:
                    text = f"{text} {cashtag}"
            text = text.lower() if company is None else _lower_but(text, company.ticker)
            if rng.random() < 0.25:
                text += f"{rng.choice((' -', ',', '...', '.'))} {rng.choice(phrases.TAILS['social'][tone])}"
        elif style == "trade" and rng.random() < 0.15:
            return rng.choice(phrases.TRADE_KICKERS) + text
        elif style == "plain" and rng.random() < 0.3:
            text = _MONEY.sub(lambda m: f"${m[1]}{m[2][0]}", text)
        return text

    def _copied(self, report: _Report) -> str:
        """A near-copy: the wire's words, with what a reposter puts before or after."""
        assert report.copy_of is not None
        rng, text = self.rng, report.copy_of.title
        company = report.event.topic.company
        if report.event.kind != "repost":
            prefixed = rng.random() < 0.4 and not text.startswith(phrases.WIRE_PREFIXES)
            return ("UPDATE 1-" if prefixed else "") + text
        assert company is not None
        social = report.source.style == "social"
        after = rng.choice(phrases.REPOST_AFTER_SOCIAL if social else phrases.REPOST_AFTER)
        after = after.replace("{ticker}", company.ticker).replace("{tag}", company.short.lower())
        before = rng.choice(phrases.REPOST_BEFORE_SOCIAL if social else phrases.REPOST_BEFORE)
        copy = rng.choice((text, before + text, text + after, text + after, before + text + after))
        if _pieces(copy) > MAX_PIECES:
            copy = text
        return _lower_but(copy, company.ticker) if social and rng.random() < 0.4 else copy

    def _likeness(self, title: str) -> float:
        """Largest Jaccard similarity of word triples with a headline of the last 48 hours."""
        triples = _triples(title)
        shared: Counter[tuple[int, int]] = Counter()
        for triple in triples:
            shared.update(self.holders.get(triple, ()))
        return max((n / (len(triples) + key[1] - n) for key, n in shared.items()), default=0.0)

    def _remember(self, report: _Report, title: str) -> None:
        triples = _triples(title)
        key = (self.count, len(triples))
        self.recent.append((report.at, self.count, triples))
        for triple in triples:
            self.holders.setdefault(triple, []).append(key)

    def _forget(self, before: datetime) -> None:
        while self.recent and self.recent[0][0] < before:
            _, number, triples = self.recent.popleft()
            for triple in triples:
                self.holders[triple] = [key for key in self.holders[triple] if key[0] != number]


def _fact(name: str, rng: Random, at: datetime) -> str:
    """A fact of an event: numbers of a likely size, dates that fit the moment."""
    months = ("January", "February", "March", "April", "May", "June", "July")
    season = at.month - 1  # index of this month
    match name:
        case "pct":
            return str(rng.choice((rng.randint(2, 9), rng.randint(4, 29), round(rng.uniform(1.1, 9.9), 1))))
        case "pct1":
            return f"{rng.uniform(2.1, 8.9):.1f}"
        case "bigpct":
            return str(rng.randint(24, 68))
        case "share":
            return str(rng.randint(71, 98))
        case "cents":
            return str(rng.randint(12, 64))
        case "barrel":
            return str(rng.randint(62, 91))
        case "amt":
            return f"${rng.choice((rng.randint(12, 95), rng.randint(10, 90) * 10))} million"
        case "amtb":
            return f"${rng.uniform(1.1, 9.8):.1f} billion"
        case "jobs":
            return rng.choice((str(rng.randint(12, 95) * 10), f"{rng.randint(1, 6)},{rng.randint(1, 9)}00"))
        case "thousands":
            return f"{rng.randint(11, 190)},000"
        case "n":
            return rng.choice(("three", "four", "five", "six", "seven", "eight", "nine", "ten"))
        case "n2":
            return str(rng.randint(11, 38))
        case "nth":
            return rng.choice(_ORDINALS[1:])
        case "nth2":
            return rng.choice(("Second", "Third"))
        case "q":
            return rng.choice(
                ("full-year", "fourth-quarter", "annual") if at.month == 3 else ("first-quarter", "quarterly")
            )
        case "period":
            return rng.choice(
                ("the year", "fourth quarter", "second half") if at.month == 3 else ("first quarter", "the quarter")
            )
        case "season":
            return rng.choice(("spring", "winter", "Easter"))
        case "year":
            return rng.choice((str(at.year), str(at.year), str(at.year + 1)))
        case "pastyear":
            return str(rng.randint(2009, at.year - 3))
        case "span":
            return rng.choice(("three-month", "six-month", "one-year", "two-year", "five-year", "ten-year"))
        case "month":
            return months[season - 1]
        case "month2":
            return months[season + rng.randint(1, 3)]
        case "day":
            # A working day: the news agenda has no weekends.
            ahead = [at + timedelta(days=n) for n in range(1, 6)]
            return rng.choice([moment for moment in ahead if moment.weekday() < 5]).strftime("%A")
        case "day2":
            return "Friday" if at.weekday() >= 5 else at.strftime("%A")
        case "person" | "person2":
            return f"{rng.choice(phrases.FIRST_NAMES)} {rng.choice(phrases.LAST_NAMES)}"
        case "place":
            return rng.choice(phrases.PLACES)
        case "role":
            return rng.choice(phrases.ROLES)
        case "country":
            return rng.choice(phrases.COUNTRIES)
        case "firm":
            return rng.choice(phrases.FIRMS)
        case "target":
            return rng.choice(phrases.TARGETS)
    raise KeyError(name)


def _lower_but(text: str, ticker: str) -> str:
    return text.lower().replace(f"${ticker.lower()}", f"${ticker}")


def _triples(title: str) -> frozenset[str]:
    words: Sequence[str] = _WORD.findall(title.lower())
    return frozenset(" ".join(words[i : i + 3]) for i in range(max(len(words) - 2, 1)))


def _pieces(title: str) -> int:
    """An estimate of a headline's wordpieces, on the high side: invented names break into many."""
    count = 0
    for piece in _PIECE.findall(title):
        if piece.lower() in _TICKERS:
            count += len(piece)
        elif piece.lower() in _INVENTED:
            count += (len(piece) + 2) // 3
        elif piece.isalpha():
            count += 1 if len(piece) <= 9 else 2
        else:
            count += 1
    return count
