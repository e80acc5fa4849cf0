"""Incidents on made feeds: sector crises, two crises on one day, and notifications against the budget.

    python -m benchmarks.incidents                      # both sets of feeds
    python -m benchmarks.incidents --feeds development  # only those that may be read; the other set's figures stay
    python -m benchmarks.incidents --null 12            # at most 12 of the null feeds of each set
    python -m benchmarks.incidents --cache FOLDER       # keep what the detectors decide: incidents do not change it

Forty companies in four themes. The detectors and the incidents are those of the monitor, on buckets of an hour; there
is no encoder and no store.

There are two sets of feeds, of other seeds. The cases of the *development* set were read while the rules were made. The
*held-out* set judges them: it is measured when a rule is done, and its cases are not read.

* **Sector crises**: eight of a theme's ten companies have a crisis that begins within a day. Wanted: one incident.
  Announcements are counted in the whole feed, and those of the crisis's topics apart.
* **Two crises**: two companies, in half of the cases of one theme, have unrelated crises on one day. Wanted: two.
* **Shared shocks**: a null feed. Everyday events reach several companies at once, in the same stories, and now and then
  the mood of a theme or of the whole market dips for some hours. All that fires is a false alarm: the notifications
  (incidents) and the alerts are compared with the budget.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection import crises
from benchmarks.recording import RESULTS, record
from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.buckets import Bucket, SourceSums, TopicBucket
from foreshock.monitor.deciding import DetectionRules, State, decide
from foreshock.monitor.grouping import Record
from foreshock.monitor.incident import Incident, Joined, Said
from foreshock.monitor.incidents import Incidents
from foreshock.monitor.made_stories import MadeStories
from foreshock.monitor.units import ALL, UNIT

COMPANIES, THEMES = 40, 4
BUCKET = 60
"""Minutes."""
MINUTE = 60_000_000
DAYS = 100
SETTLED = crises.SETTLED
BUDGET = 0.25
"""False alarms a day of the null feeds: enough to count them."""
AFTER = 3 * crises.DAY
"""Minutes from a crisis's beginning in which an alert is taken to report it."""
EACH = 9
"""Days between two plantings: longer than an incident lasts."""


class Seeds(NamedTuple):
    """The feeds of a set: those with plantings (seven each), and null feeds."""

    planted: range
    null: range


SETS = {"development": Seeds(range(1, 7), range(1, 13)), "held_out": Seeds(range(101, 107), range(101, 125))}
"""Some 40 plantings of each kind tell 95 % from 80 %. Null feeds allow 180 and 360 notifications."""


class Story(NamedTuple):
    minute: int
    topics: tuple[str, ...]
    source: int
    negative: float


class Planting(NamedTuple):
    minute: int
    companies: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided on a feed."""

    incidents: dict[str, Incident]
    members: dict[str, Joined]
    said: list[Said]


def company(number: int) -> str:
    return f"company {number:02}"


def theme(number: int) -> str:
    return f"theme {number * THEMES // COMPANIES}"


def ordinary(seed: int) -> list[Story]:
    """Make the ordinary stories of all companies. Nine in ten bear their theme, as rules find it."""
    feed = crises.make(seed, topics=COMPANIES, days=DAYS)
    rng = np.random.default_rng([seed, 20])
    found = []
    for minute, topic, source, negative in zip(*(part.tolist() for part in feed.stories), strict=True):
        topics = (company(topic), theme(topic)) if rng.random() < 0.9 else (company(topic),)
        found.append(Story(minute, topics, source, negative))
    return found


def crisis(rng: np.random.Generator, number: int, minute: int, stories: int, hours: float) -> list[Story]:
    """Make a company's crisis: negative stories of many sources, most of them at the beginning."""
    at = minute + np.sort(np.minimum(rng.exponential(hours / 2, stories), 2 * hours) * 60)
    bad = rng.random(stories) < 0.85
    return [
        Story(round(when), (company(number), theme(number)), int(rng.integers(crises.SOURCES)), float(score))
        for when, score in zip(at, crises.scores(rng, bad), strict=True)
    ]


def sectors(seed: int) -> tuple[list[Story], list[Planting]]:
    """Plant crises of eight of ten companies of a theme, which begin within a day."""
    rng = np.random.default_rng([seed, 21])
    stories, planted = ordinary(seed), list[Planting]()
    for day in range(SETTLED, DAYS - 5, EACH):
        minute = day * crises.DAY + int(rng.integers(6 * 60, 12 * 60))
        first = int(rng.integers(THEMES)) * COMPANIES // THEMES
        some = (first + rng.permutation(COMPANIES // THEMES)[:8]).tolist()
        for number in some:
            begins = minute + int(rng.uniform(0, crises.DAY))
            stories += crisis(rng, number, begins, int(rng.integers(6, 15)), 6)
        planted.append(Planting(minute, tuple(some)))
    return stories, planted


def pairs(seed: int) -> tuple[list[Story], list[Planting]]:
    """Plant two crises on one day: of one theme on every second day, of two themes on the others."""
    rng = np.random.default_rng([seed, 22])
    stories, planted = ordinary(seed), list[Planting]()
    for place, day in enumerate(range(SETTLED, DAYS - 5, EACH)):
        minute = day * crises.DAY + int(rng.integers(6 * 60, 10 * 60))
        one = int(rng.integers(COMPANIES))
        same = [n for n in range(COMPANIES) if n != one and (theme(n) == theme(one)) == (place % 2 == 0)]
        other = int(rng.choice(same))
        for number in (one, other):
            stories += crisis(rng, number, minute + int(rng.uniform(0, 8 * 60)), int(rng.integers(15, 41)), 6)
        planted.append(Planting(minute, (one, other)))
    return stories, planted


def shocks(seed: int) -> list[Story]:
    """Make a null feed of shocks that topics share: everyday, all along, also while thresholds are learned."""
    rng = np.random.default_rng([seed, 23])
    stories = ordinary(seed)
    for day in range(DAYS):
        for _ in range(rng.poisson(0.7)):  # an event of several companies of a theme, in the same stories
            first = int(rng.integers(THEMES)) * COMPANIES // THEMES
            some = (first + rng.permutation(COMPANIES // THEMES)[: int(rng.integers(2, 5))]).tolist()
            number = min(2 + rng.poisson(2 * rng.pareto(2.0)), 25)
            at = day * crises.DAY + 60 * rng.triangular(6, 12, 20) + 60 * np.minimum(rng.exponential(3, number), 10)
            bad = np.full(number, rng.random() < 0.4)
            for when, score in zip(at, crises.scores(rng, bad), strict=True):
                topics = (*(company(n) for n in some), theme(first))
                stories.append(Story(int(when), topics, int(rng.integers(crises.SOURCES)), float(score)))
    return [*moody(rng, stories)]


def moody(rng: np.random.Generator, stories: Iterable[Story]) -> Iterable[Story]:
    """Dip the mood of a theme about weekly, and of the market about every three weeks, for half a day."""
    dips: dict[str, set[int]] = defaultdict(set)
    for name, often in [*((theme(n), 7) for n in range(0, COMPANIES, COMPANIES // THEMES)), (ALL, 21)]:
        for half_day in range(2 * DAYS):
            if rng.random() < 0.5 / often:
                dips[name].add(half_day)
    for story in stories:
        half_day = story.minute * 2 // crises.DAY
        dipped = any(half_day in dips[name] for name in (*story.topics, ALL))
        turned = dipped and story.negative < 0.5 and rng.random() < 0.35
        yield story._replace(negative=float(crises.scores(rng, np.ones(1, bool))[0])) if turned else story


def decided(stories: Sequence[Story], budget: float, kept: Path | None) -> Outcome:
    """Decide a feed bucket by bucket, as the monitor does. `kept`: the file of what the detectors decide."""
    ordered = sorted(story for story in stories if 0 <= story.minute < DAYS * crises.DAY)
    incidents = Incidents(MadeStories(_record(place, story) for place, story in enumerate(ordered)))
    said: list[Said] = []
    for at, changes in detected(ordered, budget, kept):
        said += incidents.take(changes, at)
    said += incidents.pass_time(_time(DAYS * crises.DAY))
    return Outcome(incidents.kept_incidents, incidents.kept, said)


def detected(ordered: Sequence[Story], budget: float, kept: Path | None) -> list[tuple[int, list[AlertChange]]]:
    """Return the changes of alerts by moment, which incidents have no part in."""
    if kept is not None and kept.exists():
        rows = json.loads(kept.read_text())
        return [(at, [AlertChange(event, Alert(**alert)) for event, alert in some]) for at, some in rows]
    state = State.fresh(DetectionRules(bucket=BUCKET * MINUTE, false_alarms=budget))
    moments: list[tuple[int, list[AlertChange]]] = []
    for number, some in groupby(ordered, lambda story: story.minute // BUCKET):
        changes = decide(state, _bucket(number * BUCKET, list(some))).changes
        moments += [(at, list(of_moment)) for at, of_moment in groupby(changes, _moment)]
    if kept is not None:
        rows = [(at, [(change.event, asdict(change.alert)) for change in some]) for at, some in moments]
        kept.write_text(json.dumps(rows))
    return moments


def _kept(cache: Path | None, kind: str, seed: int) -> Path | None:
    return None if cache is None else cache / f"{kind}-{seed}.json"


def _time(minute: int) -> int:
    return (crises.START_DAY * crises.DAY + minute) * MINUTE


def _record(place: int, story: Story) -> Record:
    negative = round(story.negative * UNIT)
    # No severity, as of an encoder that does not say it.
    return Record(("made", place), _time(story.minute), frozenset(story.topics), str(story.source), negative)


def _bucket(minute: int, stories: Sequence[Story]) -> Bucket:
    sums: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for story in stories:
        negative = round(story.negative * UNIT)
        for topic in (ALL, *story.topics):
            part = sums[topic].setdefault(str(story.source), [0, 0, 0])
            for place, value in enumerate((1, negative, (UNIT - negative) // 2)):
                part[place] += value
    rows = []
    for topic, parts in sorted(sums.items()):
        events, negative, positive = (sum(part[i] for part in parts.values()) for i in range(3))
        names = tuple(sorted(parts))
        each: tuple[SourceSums, ...] = ()
        if len(names) > 1:
            each = tuple(SourceSums(name, part[0], part[1], part[2], 0, 0) for name, part in sorted(parts.items()))
        neutral = events * UNIT - negative - positive
        rows.append(TopicBucket(topic, events, events, negative, neutral, positive, names, 0, 0, each))
    return Bucket(_time(minute), tuple(rows))


def _moment(change: AlertChange) -> int:
    alert = change.alert
    at = {"pending": alert.pending_at, "firing": alert.fired_at}.get(change.event, alert.resolved_at)
    assert at is not None
    return at


def reported(outcome: Outcome, planting: Planting, topics: set[str]) -> list[Joined]:
    """Return the alerts for the worse on some topics that fired while a planting was news. Silence is none of it."""
    begins, ends = _time(planting.minute), _time(planting.minute + AFTER)
    return [
        m
        for m in outcome.members.values()
        if m.alert.topic in topics
        and m.alert.kind != "silence"
        and m.alert.direction == "worse"
        and begins <= (m.alert.fired_at or 0) < ends
    ]


def measure_sectors(seeds: Sequence[int], cache: Path | None) -> dict[str, Any]:
    found, announced, own, alerts, noticed = Counter[int](), list[int](), list[int](), 0, 0
    for seed in seeds:
        stories, planted = sectors(seed)
        outcome = decided(stories, 1 / 7, _kept(cache, "sectors", seed))
        for planting in planted:
            topics = {company(n) for n in planting.companies} | {theme(planting.companies[0]), ALL}
            mine = reported(outcome, planting, topics)
            found[len({m.incident for m in mine})] += 1
            alerts += len(mine)
            noticed += bool(mine)
            begins, ends = _time(planting.minute), _time(planting.minute + AFTER)
            said = [s for s in outcome.said if begins <= s.at < ends]
            taken_back = {s.incident.id for s in said if s.event == "unsaid"}
            fired = [s for s in said if s.event == "firing" and s.incident.id not in taken_back]
            announced.append(len(fired))
            own.append(sum(any(m.alert.topic in topics for m in s.alerts) for s in fired))
    crises_seen = sum(found.values())
    return {
        "crises": crises_seen,
        "noticed": noticed,
        "alerts_per_crisis": round(alerts / crises_seen, 2),
        "incidents_by_crisis": {str(n): found[n] for n in sorted(found)},
        "one_incident": round(found[1] / max(noticed, 1), 3),
        "announcements_per_crisis": round(sum(announced) / crises_seen, 2),
        "announcements_of_its_topics_per_crisis": round(sum(own) / crises_seen, 2),
    }


def measure_pairs(seeds: Sequence[int], cache: Path | None) -> dict[str, Any]:
    found: dict[str, Counter[str]] = {"one_theme": Counter(), "two_themes": Counter()}
    for seed in seeds:
        stories, planted = pairs(seed)
        outcome = decided(stories, 1 / 7, _kept(cache, "pairs", seed))
        for planting in planted:
            one, other = planting.companies
            kind = "one_theme" if theme(one) == theme(other) else "two_themes"
            mine = [{m.incident for m in reported(outcome, planting, {company(n)})} for n in (one, other)]
            wide = reported(outcome, planting, {company(one), company(other), theme(one), theme(other), ALL})
            found[kind]["pairs"] += 1
            found[kind]["both_noticed"] += all(mine)
            found[kind]["stay_two"] += all(mine) and not mine[0] & mine[1]
            found[kind]["exactly_two_incidents"] += all(mine) and len({m.incident for m in wide}) == 2
    total = found["one_theme"] + found["two_themes"]
    return {
        **{kind: dict(counts) for kind, counts in found.items()},
        "stay_two": round(total["stay_two"] / max(total["both_noticed"], 1), 3),
    }


def measure_shocks(seeds: Sequence[int], cache: Path | None) -> dict[str, Any]:
    notified = alerts = 0
    since = _time(SETTLED * crises.DAY)
    for seed in seeds:
        outcome = decided(shocks(seed), BUDGET, _kept(cache, "shocks", seed))
        merged = {i.id for i in outcome.incidents.values() if i.merged_into is not None}
        notified += sum(s.event == "firing" and s.at >= since and s.incident.id not in merged for s in outcome.said)
        alerts += sum((m.alert.fired_at or 0) >= since for m in outcome.members.values())
    allowed = BUDGET * (DAYS - SETTLED) * len(seeds)
    return {
        "false_alarms_a_day": BUDGET,
        "allowed": allowed,
        "alerts": alerts,
        "alerts_over_budget": round(alerts / allowed, 2),
        "notifications": notified,
        "notifications_over_budget": round(notified / allowed, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", choices=(*SETS, "both"), default="both")
    parser.add_argument("--null", type=int, metavar="N", help="measure only the first N null feeds of a set")
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    chosen, fewer = args.feeds, "" if args.null is None else f" --null {args.null}"
    figures = dict[str, Any]()
    for name, seeds in SETS.items():
        if chosen in (name, "both"):
            began, null = time.process_time(), seeds.null[: args.null]
            figures[name] = {
                "command": f"python -m benchmarks.incidents --feeds {name}{fewer}",
                "seeds": {"planted": [*seeds.planted], "null": [*null]},
                "cases_were_read": name == "development",
                "sector_crises": measure_sectors(seeds.planted, args.cache),
                "two_crises_on_a_day": measure_pairs(seeds.planted, args.cache),
                "shared_shocks": measure_shocks(null, args.cache),
            }
            if args.cache is None:
                figures[name]["processor_seconds"] = round(time.process_time() - began)
    file = RESULTS / "incidents.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    sets = {name: before[name] for name in SETS if name in before} | figures
    command = "; ".join(sets[name]["command"] for name in SETS if name in sets)
    print(json.dumps(record("incidents", command, sets), indent=2))


if __name__ == "__main__":
    main()
