"""Run everything for an hour at 70 % of its capacity while things go wrong, and judge what is left.

    python -m benchmarks.soak                # an hour, and about half an hour more; needs KAFKA_HOME
    python -m benchmarks.soak --minutes 3    # the same in little; nothing is recorded

Two desks run in real processes. One is scaled out: a worker with one scoring thread, two monitors, Kafka, PostgreSQL,
and the dashboard with a viewer on *Now*. The other is one process with an RSS feed and a SQLite file. First the
capacity of the worker is measured with all the rest running. Then `SHARE` of it is sent, and meanwhile

* the producer restarts three times, and sends again what it sent last;
* the RSS server goes away three times, and comes back with other ETags and the items that it had;
* stories come late in bursts: within the allowed lateness, beyond it, and beyond the staleness;
* companies have crises, so that alerts fire;
* the receiver of webhooks answers 500 and 429 for a while, and is then gone for ten minutes.

A row of samples is written each minute: `build/soak/samples.jsonl`. At the end the checks of
[soak_checks.py](soak_checks.py) look for what was lost, doubled or grew, and a replay of the exported stories must give
the same series and alerts. The exit code is 1 if a figure is not zero and must be (`must_be_zero`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import soak_checks as checks
from benchmarks.recording import record
from benchmarks.soak_books import Books
from benchmarks.soak_desk import PARTITIONS, Desks
from benchmarks.soak_feed import Producer, Wording
from benchmarks.stage import ROOT, Stage

SHARE = 0.7
ROWS = 60
"""Samples in a soak, whatever its length: one a minute in an hour."""
OVERLOAD = 600.0
"""Stories a second at which the capacity is measured. It must be above it; the more, the less is left for the rest."""
WARM_UP, CALIBRATION = 20.0, 30.0
"""Seconds of overload before the capacity is measured, and while it is."""
LATENESS = 120.0
"""Seconds, the default of `[time] lateness`."""
DELAYS = {"producer restarts", "late burst"}
"""What makes stories wait: these minutes and the next one say nothing of whether latency grows."""
PATIENCE = 1_200.0
"""Seconds within which all that was sent must be committed, decided and delivered after the end."""
OUR_OWN = ("worker", "monitor 1", "monitor 2", "postgresql")
"""The processes whose processor time a story of the scaled-out desk takes, the broker and readers aside."""

Event = tuple[float, str, float, Callable[[], None]]
"""The minute at which it happens, its name, the minutes that it lasts, what is done."""


class Soak:
    """The desks, what is sent to them, and the samples."""

    def __init__(self, stage: Stage, minutes: float, folder: Path, stack: ExitStack) -> None:
        self.desks = Desks(stage, stack)
        self.scaled, self.single = (Books(self.desks.urls[name]) for name in ("scaled", "single"))
        self.rows: list[dict[str, Any]] = []
        self._minute, self._folder = 60.0 * minutes / ROWS, folder
        self._wording, self._log = Wording(101), folder / "sent.txt"
        self._log.write_text("")
        self._sent = self._poison = self._failed = self._stories = self._refreshes = 0
        self._at = time.monotonic()

    def calibrate(self) -> dict[str, Any]:
        """Return how many stories a second the worker commits while everything else runs."""
        self.desks.sample()
        producer = self._producer(OVERLOAD)
        producer.start()
        time.sleep(WARM_UP)
        self.desks.sample()
        began, before = time.monotonic(), self.scaled.committed()
        time.sleep(CALIBRATION)
        rate = (self.scaled.committed() - before) / (time.monotonic() - began)
        processes, others = self.desks.sample()
        self._close(producer)
        self.desks.wait(lambda: self.scaled.committed() >= self._sent, "the lag is read", PATIENCE)
        return {
            "seconds": CALIBRATION,
            "sent_per_second": OVERLOAD,
            "stories_per_second": round(rate, 1),
            "cpu_seconds": {name: one["cpu_seconds"] for name, one in processes.items()},
            "others_cores": others,
        }

    def run(self, rate: float) -> None:
        """Send for so many minutes, disturb, and sample."""
        producer, begun = self._producer(rate), time.monotonic()
        self._sample(0, producer, [])  # the first differences begin here
        producer.start()
        events = sorted(self._events(producer, rate), key=lambda event: event[0])
        pending = list(events)
        for number in range(1, ROWS + 1):
            end = begun + number * self._minute
            while (now := time.monotonic()) < end:
                if pending and now >= begun + pending[0][0] * self._minute:
                    pending.pop(0)[3]()
                else:
                    time.sleep(min(0.2, end - now))
            going = sorted({name for at, name, lasts, _ in events if at < number and at + lasts > number - 1})
            self.rows.append(self._sample(number, producer, going))
            with (self._folder / "samples.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")
        self._close(producer)
        self.desks.rss.close()

    def settle(self) -> dict[str, Any]:
        """Wait until all is committed, decided and delivered, and stop the processes. Return how long each took."""
        begun, took = time.monotonic(), dict[str, float | str]()
        items = self.desks.rss.titles.total()
        for name, is_there in (
            ("committed", lambda: self.scaled.committed() >= self._sent and self.single.committed() >= items),
            ("decided", lambda: self.scaled.undecided() == self.single.undecided() == 0),
            ("delivered", lambda: self.scaled.undelivered() == self.single.undelivered() == 0),
        ):
            try:
                self.desks.wait(is_there, name, PATIENCE)
                took[name] = round(time.monotonic() - begun, 1)
            except AssertionError as error:  # what is missing is named below
                took[name] = str(error)[:500]
        return {"seconds_until": took, "exit_codes": self.desks.stop()}

    def judge(self) -> dict[str, Any]:
        """Return what was lost, doubled, late and delivered, and whether a replay gives the same rows."""
        sent, attempts = Counter(self._log.read_text().split()), self.desks.inbox.attempts
        result: dict[str, Any] = {
            "kafka": checks.stories(sent, self.scaled.found("id")),
            "rss": checks.stories(self.desks.rss.titles, self.single.found("title")),
            "records": {
                "acknowledged": self._sent - self._failed,
                "at_the_broker": sum(self.desks.stage.broker.ends(self.desks.topic).values()),
                "in_the_store": self.scaled.committed(),
                "poison_sent": self._poison,
                "dead_letters": self.scaled.one("SELECT count(*) FROM dead_letters"),
            },
            "late": {
                "sent": dict(Counter(name.split("-")[0] for name in sent.elements())),
                "found_late_stale": self.scaled.kinds(),
            },
        }
        for name, books in (("scaled", self.scaled), ("single", self.single)):
            posts = [one for one in attempts if one.receiver == name]
            again = Books(self.desks.replay(name, self._folder))
            result[name] = {
                "webhooks": checks.webhooks(posts, books.delivered(name)),
                "alerts": books.alerts(),
                "replayed": books.compared(again),
            }
            again.close()
        return result

    def _events(self, producer: Producer, rate: float) -> list[Event]:
        """Return what goes wrong, and when. Minutes are those of an hour; a shorter soak is the same in little."""
        inbox, rss = self.desks.inbox, self.desks.rss
        events: list[Event] = []
        for minute in (12.0, 27.0, 47.0):
            events.append((minute, "producer restarts", 2.0, partial(producer.restart, self._minute)))
        for minute in (9.0, 24.0, 44.0):
            events += [(minute, "rss is away", 1.0, rss.down), (minute + 1.0, "rss is back", 0.0, rss.up)]
        few = max(10, round(0.05 * rate * self._minute))
        for minute in (6.0, 20.0, 38.0, 52.0):
            events.append((minute, "late burst", 2.0, partial(producer.burst, "slow", few, 60.0, 0.8 * LATENESS)))
            events.append((minute, "late burst", 2.0, partial(producer.burst, "late", few, 600.0, 1_800.0)))
            events.append((minute, "late burst", 2.0, partial(producer.burst, "stale", few // 5, 25e3, 30e3)))
        for number in range(20):
            for feed in (producer, rss):
                events.append((3.0 * number + 0.5, "crisis", 0.0, partial(feed.crisis, number)))
        events.append((28.0, "receiver is ill", 3.0, partial(setattr, inbox, "mood", "ill")))
        events.append((31.0, "receiver is gone", 10.0, inbox.down))
        events.append((41.0, "receiver is back", 0.0, self._well))
        return events

    def _well(self) -> None:
        self.desks.inbox.mood = "well"
        self.desks.inbox.up()

    def _sample(self, number: int, producer: Producer, going: list[str]) -> dict[str, Any]:
        now = time.monotonic()
        took, self._at = now - self._at, now
        processes, others = self.desks.sample()
        waits = self.scaled.waits(producer.repeated)
        before = self.rows[-1]["going_on"] if self.rows else []
        latency: dict[str, Any] = {"stories": len(waits)}
        if len(waits):
            latency |= {f"p{q}": round(float(np.percentile(waits, q)), 3) for q in (50, 95, 100)}
        committed, earlier = self.scaled.committed(), self._stories
        self._stories = committed
        if committed > earlier:
            used = sum(processes[name]["cpu_seconds"] for name in OUR_OWN)
            latency["cpu_ms_a_story"] = round(1_000 * used / (committed - earlier), 3)
        watcher = self.desks.watcher
        seen, self._refreshes = watcher.refreshes[self._refreshes :], len(watcher.refreshes)
        ages = [
            self.desks.metrics(name).get("foreshock_decided_until_age_seconds", math.nan)
            for name in ("monitor 1", "monitor 2")
        ]
        return {
            "minute": number,
            "hours": round(number * self._minute / 3_600, 5),
            "seconds": round(took, 2),
            "going_on": going,
            "disturbed": bool(DELAYS & {*going, *before}),
            "sent": self._sent + producer.sent,
            "committed": committed,
            "lag": self._sent + producer.sent - committed,
            "latency": latency,
            "single_p95": self.single.p95_of_ingestion(self._minute),
            "decided_age_seconds": [None if math.isnan(age) else round(age, 1) for age in ages],
            "processes": processes,
            "store_mb": {"scaled": self.scaled.megabytes(), "single": self.single.megabytes()},
            "outbox": {"scaled": self.scaled.outbox(), "single": self.single.outbox()},
            "viewer": {
                "refreshes": len(seen),
                "p50_ms": round(1_000 * float(np.median(seen))) if seen else None,
                "max_ms": round(1_000 * max(seen)) if seen else None,
                "errors": len(watcher.errors),
            },
            "others_cores": others,
            "load_average": round(os.getloadavg()[0], 2),
        }

    def _producer(self, rate: float) -> Producer:
        servers, first = self.desks.stage.broker.bootstrap, self._sent
        return Producer(servers, self.desks.topic, PARTITIONS, self._log, rate, self._wording, first)

    def _close(self, producer: Producer) -> None:
        producer.close()
        self._sent, self._poison = self._sent + producer.sent, self._poison + producer.poison
        self._failed += producer.failed


def measure(stage: Stage, minutes: float, folder: Path, stack: ExitStack) -> dict[str, Any]:
    soak = Soak(stage, minutes, folder, stack)
    capacity = soak.calibrate()
    rate = round(SHARE * capacity["stories_per_second"], 1)
    print(f"capacity {capacity['stories_per_second']} stories a second; sending {rate}", flush=True)
    soak.run(rate)
    watcher, rss = soak.desks.watcher, soak.desks.rss
    return {
        "minutes": minutes,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "capacity": capacity,
        "share": SHARE,
        "stories_per_second": rate,
        "settled": soak.settle(),
        "viewer": {"refreshes": len(watcher.refreshes), "errors": watcher.errors},
        "rss": {"polls": rss.polls, "unchanged": rss.unchanged},
        "flatness": checks.flatness(soak.rows),
        "left": soak.judge(),
        "samples": soak.rows,
    }


def concluded(result: dict[str, Any]) -> int:
    """Print every figure that must be zero, and return the exit code: 1 if one is not."""
    for name, count in checks.must_be_zero(result).items():
        print(f"{'zero' if count == 0 else f'NOT ZERO: {count:,}':>20}  {name}")
    return 1 if checks.not_zero(result) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long it sends; only an hour is recorded")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "soak", help="where samples and logs are kept")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "samples.jsonl").unlink(missing_ok=True)
    with Stage() as stage, ExitStack() as stack:
        try:
            result = measure(stage, args.minutes, args.folder, stack)
        finally:
            shutil.copytree(stage.folder / "desk", args.folder / "desk", dirs_exist_ok=True)
    (args.folder / "result.json").write_text(json.dumps(result, indent=2))
    samples = result.pop("samples")
    if args.minutes >= 60:
        record("soak", "python -m benchmarks.soak", result, samples)
    print(json.dumps(result, indent=2))
    raise SystemExit(concluded(result))


if __name__ == "__main__":
    main()
