"""Judge a soak: stories lost or doubled, webhooks out of order or doubled, and figures that grow.

Everything here is a pure function of what was sent, what was found and what was sampled, so tests can plant each fault.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MB_AN_HOUR = 12.0
"""What a process may gain in an hour: 2 GB in a week, which is what the memory limits in docs/kubernetes.md leave above
the memory that a process takes. Less is not visible in one hour beside the allocator's own ups and downs."""
HANDLES_AN_HOUR = 6.0
"""What a process may gain in descriptors or threads. At this rate the usual limit of 1,024 is reached after a week."""
SHARE_AN_HOUR = 0.2
"""By which part of its median the 95th percentile of latency, or the processor time of a story, may rise in an hour.
The store grows from nothing to more than 800,000 stories meanwhile: indexes get one level deeper."""
NOT_JUDGED = ("kafka", "postgresql", "benchmark")
"""Processes that are not Foreshock's. Their caches grow with the feed, so they are sampled and not judged."""
SETTLING = 0.25
"""The first part of a soak, which no slope counts: caches fill, and the allocator finds its size."""
AN_HOUR = 60.0
"""Minutes from which growth counts against a soak. In a shorter one, what fills once looks like growth."""
MESSAGES = (
    "doubled",
    "with_a_second_id",
    "out_of_order",
    "not_delivered",
    "delivered_and_not_expected",
    "unverified",
)
"""What `webhooks` counts and must be zero."""
BLOCK = 5
"""Samples in one block of the bootstrap. Neighbouring minutes are alike, so they are drawn together."""
DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class Slope:
    """A robust slope an hour, with the interval that holds 95 % of its bootstrap."""

    an_hour: float
    low: float
    high: float
    limit: float

    @property
    def verdict(self) -> str:
        """Return `grows` if even the low end is above the limit, `flat` if no end is, otherwise `undecided`."""
        if self.low > self.limit:
            return "grows"
        return "flat" if self.high <= self.limit else "undecided"

    def to_json(self) -> dict[str, Any]:
        ends = [round(self.low, 4), round(self.high, 4)]
        return {"an_hour": round(self.an_hour, 4), "interval": ends, "limit": self.limit, "verdict": self.verdict}


def slope(hours: Sequence[float], values: Sequence[float], limit: float) -> Slope:
    """Return the Theil-Sen slope (Sen 1968) with a moving-block bootstrap of its residuals (Kuensch 1989)."""
    at, found = np.asarray(hours, dtype=float), np.asarray(values, dtype=float)
    if len(at) < 3:
        raise ValueError(f"a slope needs 3 samples or more, not {len(at)}")
    first, second = np.triu_indices(len(at), k=1)
    apart = at[second] - at[first]

    def theil_sen(of: np.ndarray) -> np.ndarray:
        return np.median((of[..., second] - of[..., first]) / apart, axis=-1)

    centre = float(theil_sen(found))
    line = np.median(found - centre * at) + centre * at
    rest, block = found - line, min(BLOCK, len(at))
    draw = np.random.default_rng(1)
    starts = draw.integers(0, len(at) - block + 1, size=(DRAWS, -(-len(at) // block)))
    places = (starts[..., None] + np.arange(block)).reshape(DRAWS, -1)[:, : len(at)]
    low, high = np.quantile(theil_sen(line + rest[places]), [0.025, 0.975])
    return Slope(centre, float(low), float(high), limit)


def flatness(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return a verdict on each figure that must not grow, by `process.figure` or `latency.p95`.

    Latency is judged by calm samples: those with no disturbance in them or just before them.
    """
    counted = rows[int(SETTLING * len(rows)) :]
    hours = [row["hours"] for row in counted]
    found = {}
    for name in [one for one in counted[0]["processes"] if one not in NOT_JUDGED]:
        series = [row["processes"][name] for row in counted]
        for figure, limit in (("mb", MB_AN_HOUR), ("handles", HANDLES_AN_HOUR), ("threads", HANDLES_AN_HOUR)):
            found[f"{name}.{figure}"] = slope(hours, [one[figure] for one in series], limit).to_json()
    for figure in ("p95", "cpu_ms_a_story"):
        calm = [row for row in counted if not row["disturbed"] and row["latency"].get(figure) is not None]
        if len(calm) >= 3:
            values = [row["latency"][figure] for row in calm]
            limit = round(SHARE_AN_HOUR * float(np.median(values)), 4)
            one = slope([row["hours"] for row in calm], values, limit).to_json()
            found[f"latency.{figure}"] = {**one, "median": round(float(np.median(values)), 3), "samples": len(calm)}
    return found


def stories(sent: Mapping[str, int], found: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Compare the records sent under each id with those found: (records, records that are not duplicates).

    A story is lost if a record of it is missing, and doubled if there is a record too many or it counts twice.
    """
    lost = [name for name, count in sent.items() if found.get(name, (0, 0))[0] < count or found[name][1] < 1]
    doubled = [name for name, (records, counted) in found.items() if records > sent.get(name, 0) or counted > 1]
    return {
        "ids_sent": len(sent),
        "records_sent": sum(sent.values()),
        "records_found": sum(records for records, _ in found.values()),
        "lost": len(lost),
        "doubled": len(doubled),
        "examples": sorted(lost)[:5] + sorted(doubled)[:5],
    }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One post that a receiver got. `answer`: the status that it answered. `timestamp`: of the change, ISO 8601."""

    receiver: str
    id: str
    incident: str
    event: str
    timestamp: str
    answer: int
    verified: bool = True


def webhooks(attempts: Sequence[Attempt], delivered: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Check what the receivers accepted against the store's deliveries (receiver, incident), one for each message.

    A message counts as accepted when it was answered with 2xx. Repeated attempts must carry the id of the first.
    """
    accepted = [one for one in attempts if 200 <= one.answer < 300]
    times = Counter((one.receiver, one.id) for one in accepted)
    ids, ways = defaultdict(set), defaultdict(list)
    for one in attempts:
        ids[one.receiver, one.incident, one.event, one.timestamp].add(one.id)
    for one in accepted:
        ways[one.receiver, one.incident].append(one)
    unordered = [
        incident
        for (_, incident), way in ways.items()
        if [one.timestamp for one in way] != sorted(one.timestamp for one in way)
        or way[0].event != "incident.firing"
        or any(one.event == "incident.resolved" for one in way[:-1])
        or sum(one.event == "incident.firing" for one in way) != 1
    ]
    expected = Counter(delivered)
    got = Counter((one.receiver, one.incident) for one in accepted)
    return {
        "attempts": len(attempts),
        "accepted": len(accepted),
        "refused": len(attempts) - len(accepted),
        "unverified": sum(not one.verified for one in attempts),
        "doubled": sum(count > 1 for count in times.values()),
        "with_a_second_id": sum(len(found) > 1 for found in ids.values()),
        "out_of_order": len(unordered),
        "not_delivered": sum((expected - got).values()),
        "delivered_and_not_expected": sum((got - expected).values()),
    }


def must_be_zero(result: Mapping[str, Any]) -> dict[str, int]:
    """Return every figure of a soak that must be zero, by name. `result` is what `benchmarks.soak` writes.

    What differs is counted in both directions: a record too many is as wrong as one too few.
    """
    left, settled = result["left"], result["settled"]
    records, late = left["records"], left["late"]
    sent, store = left["kafka"]["records_sent"] + records["poison_sent"], records["in_the_store"]
    acknowledged, broker = records["acknowledged"], records["at_the_broker"]
    zero = {
        "records sent, not acknowledged": abs(sent - acknowledged),
        "records acknowledged, not at the broker": abs(acknowledged - broker),
        "records at the broker, not in the store": abs(broker - store),
        "records that are not stories, not among the dead letters": abs(
            records["poison_sent"] - records["dead_letters"]
        ),
    }
    for name in ("kafka", "rss"):
        zero |= {f"{name}: stories {fault}": left[name][fault] for fault in ("lost", "doubled")}
    found, planned = late["found_late_stale"], late["sent"]
    for kind in sorted({"late", "stale", *found, *planned}):
        _, found_late, found_stale = found.get(kind, (0, 0, 0))
        count = planned.get(kind, 0)
        if kind in ("late", "stale"):
            zero[f"stories sent as {kind}, not found late"] = abs(count - found_late)
            if kind == "stale":
                zero["stories sent as stale, not found stale"] = abs(count - found_stale)
            else:
                zero["stories sent as late, found stale"] = found_stale
        else:
            zero[f"stories sent as {kind}, found late or stale"] = found_late + found_stale
    for name in ("scaled", "single"):
        desk = left[name]
        zero |= {f"{name}: messages {fault}": desk["webhooks"][fault] for fault in MESSAGES}
        zero[f"{name}: alerts without an end"] = desk["alerts"]["no_end"]
        zero[f"{name}: incidents without a message"] = desk["alerts"]["without_a_message"]
        for table, same in desk["replayed"].items():
            zero[f"{name}: {table} that a replay changes"] = same["only_live"] + same["only_replayed"]
    zero["stages not reached in time"] = sum(isinstance(took, str) for took in settled["seconds_until"].values())
    zero["processes with another exit code"] = sum(code != 0 for code in settled["exit_codes"].values())
    zero["errors of the viewer"] = len(result["viewer"]["errors"])
    if result["minutes"] >= AN_HOUR:
        zero["figures that grow"] = sum(one["verdict"] == "grows" for one in result["flatness"].values())
    return zero


def not_zero(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure that must be zero and is not."""
    return [f"{name}: {count:,}" for name, count in must_be_zero(result).items() if count]
