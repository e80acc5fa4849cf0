"""Write headlines: turn a report of an event into words, in the style of its source.

A headline is a pattern that the topic has not used for a while, filled with the facts of the event. A headline that is
too long, or too similar to another one of the last two days, is written again.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from foreshock.demo import phrases
from foreshock.demo.phrases import Company, Source
from foreshock.demo.themes import THEME_PATTERNS, THEMES

MAX_PIECES = 27
"""The most wordpieces of a headline, by estimate. With the encoder's two special tokens it stays within 30."""


@dataclass(slots=True)
class Topic:
    name: str
    rate: float
    """Mean stories a day over the week, without copies and planted incidents."""
    company: Company | None
    negative: float
    positive: float
    """Usual share of positive events. Events that are neither negative nor positive are neutral."""
    sources: tuple[Source, ...]
    wander: tuple[tuple[float, float], ...] = ()
    """The drift of the two shares on each day, in log-odds."""


@dataclass(slots=True)
class PlannedNews:
    topic: Topic
    tone: str
    kind: str = ""
    """`crisis`, `repost` or `meeting` for planted events, which have their own patterns."""
    retold: bool = False
    """Whether several sources report the event."""
    facts: dict[str, str] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    used: set[str] = field(default_factory=set)
    """Patterns that its reports have used. Independent reports use different words."""


@dataclass(slots=True)
class Report:
    at: datetime
    source: Source
    event: PlannedNews
    copy_of: Report | None = None
    title: str = ""


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


class Writer:
    """Turn reports into headlines, in order of time."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.recent: deque[tuple[datetime, int, frozenset[str]]] = deque()
        self.holders: dict[str, list[tuple[int, int]]] = {}
        """Word triple -> (running number, number of triples) of each headline with it in the last 48 hours."""
        self.last_used: Counter[tuple[str, str]] = Counter()
        self.count = 0

    def write(self, report: Report) -> str:
        if report.copy_of is not None:
            report.title = self._copied(report)
            return report.title
        self._forget(report.at - timedelta(hours=48))
        best, best_likeness, best_pattern = "", 2.0, ""
        for attempt in range(24):
            if not report.event.used and attempt % 4 == 0:
                self._begin(report.event)
            pattern, candidate = self._draft(report)
            if pieces(candidate) > MAX_PIECES:
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

    def _draft(self, report: Report) -> tuple[str, str]:
        event, rng = report.event, self.rng
        if not event.used:
            event.facts = {name: value for name, value in event.facts.items() if name == "crisis"}
        fresh = [p for p in event.patterns if p not in event.used] or list(event.patterns)
        # Take the one of three that this topic used longest ago: newsrooms do not repeat what they have just written.
        pattern = min(rng.sample(fresh, min(3, len(fresh))), key=lambda p: self.last_used[event.topic.name, p])
        return pattern, self._styled(report, self._expand(pattern, report))

    def _begin(self, event: PlannedNews) -> None:
        """Choose what the event is about. Its reports may use the patterns of that."""
        if event.kind in ("crisis", "repost", "meeting"):
            return
        rng, company = self.rng, event.topic.company
        own = {"negative": "bad", "neutral": "flat", "positive": "good"}[event.tone]
        # Each line of a theme or sector is about something else, so it does not suit an event with several reports.
        if company is None:
            alone = not event.retold and rng.random() < 0.3
            event.patterns = THEMES[event.topic.name][own] if alone else THEME_PATTERNS[event.tone]
            return
        kinds = phrases.EVENTS[event.tone]
        if not event.retold and rng.random() < 0.18:
            event.patterns = phrases.SECTORS[company.sector][own]
        else:
            event.patterns = rng.choices(list(kinds.values()), [len(patterns) for patterns in kinds.values()])[0]

    def _expand(self, pattern: str, report: Report) -> str:
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

    def _slot(self, name: str, event: PlannedNews, at: datetime) -> str:
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
                # The subject of an event stays; the names of its people may vary.
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

    def _styled(self, report: Report, text: str) -> str:
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

    def _copied(self, report: Report) -> str:
        """Return a near-copy: the wire's words, with an addition before or after."""
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
        if pieces(copy) > MAX_PIECES:
            copy = text
        return _lower_but(copy, company.ticker) if social and rng.random() < 0.4 else copy

    def _likeness(self, title: str) -> float:
        """Return the largest Jaccard similarity of word triples with a headline of the last 48 hours."""
        triples = triples_of(title)
        shared: Counter[tuple[int, int]] = Counter()
        for triple in triples:
            shared.update(self.holders.get(triple, ()))
        return max((n / (len(triples) + key[1] - n) for key, n in shared.items()), default=0.0)

    def _remember(self, report: Report, title: str) -> None:
        triples = triples_of(title)
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
    """Draw a fact of an event: a number of a plausible size, or a date that fits the time."""
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
            # Choose a working day: little is scheduled on weekends.
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


def triples_of(title: str) -> frozenset[str]:
    words: Sequence[str] = _WORD.findall(title.lower())
    return frozenset(" ".join(words[i : i + 3]) for i in range(max(len(words) - 2, 1)))


def pieces(title: str) -> int:
    """Estimate a headline's wordpieces, rather too high: made-up names split into many."""
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
