"""Work out by hand the alert of the demo's crisis: every number from which its score and threshold follow.

    python -m benchmarks.worked_example                         # runs the demo of seed 7 first
    python -m benchmarks.worked_example --store sqlite:///foreshock-demo.db

The store's decided buckets are decided again, up to the one at which the alert fired, and what the detector computed
there is written down. So is the webhook of the alert's incident, if the demo is run. docs/detection.md,
docs/webhooks.md and README.md show the result; `python tests/test_docs.py` puts it there.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.recording import record
from foreshock.demo import generator, show
from foreshock.demo.receiver import Received
from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.deciding import State, decide
from foreshock.monitor.detectors import surge
from foreshock.monitor.detectors import surge_alarms as alarms_of
from foreshock.monitor.detectors.surge import AGES, WEIGHTS, WINDOWS
from foreshock.monitor.detectors.surges import ALIKE, DAYS_KEPT, SHARE_WEIGHT, YOUNG, Look, Surges
from foreshock.monitor.detectors.surging import Surging
from foreshock.monitor.detectors.windows import BELIEVED
from foreshock.monitor.store import open_store, settings_versions
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.decided import decided_buckets
from foreshock.monitor.store.times import iso

SEED = 7
EVIDENCE = 2
"""Stories of the evidence that README shows."""
PAGES = "http://127.0.0.1:8501"
"""Where the demo serves its pages, to which a webhook links."""


class Notes:
    """Writes down what a topic's surge is computed from, each time it is looked at."""

    def __init__(self, topic: int) -> None:
        self.topic = topic
        self.look: dict[str, Any] = {}
        self.prior: dict[str, float] = {}
        self._ratios: dict[str, FloatArray] = {}

    def patches(self) -> ExitStack:
        """Return a context in which the detector's functions are listened to. They compute as ever."""
        stack = ExitStack()
        ratios, look, calibrate = surge.ratios, Surges.look, alarms_of.SurgeAlarms.calibrate

        def noted_ratios(*arrays: FloatArray) -> FloatArray:
            *_, burst, known = arrays
            self._ratios = {"burst": burst, "known": known}
            return ratios(*arrays)

        def noted_look(surges: Surges, topics: IntArray, first_hour: IntArray, k: int, part: float, *rest: Any) -> Look:
            found = look(surges, topics, first_hour, k, part, *rest)
            place = np.flatnonzero(topics == self.topic)
            if len(place):
                self._keep(surges, found, int(place[0]), k - int(first_hour[place[0]]) + part, k + part, rest[0])
            return found

        def noted_calibrate(alarms: alarms_of.SurgeAlarms, days: int, rate: float, topics: int) -> None:
            self.prior = _prior(alarms, rate)
            calibrate(alarms, days, rate, topics)

        stack.enter_context(patch.object(surge, "ratios", noted_ratios))
        stack.enter_context(patch.object(Surges, "look", noted_look))
        stack.enter_context(patch.object(alarms_of.SurgeAlarms, "calibrate", noted_calibrate))
        return stack

    def _keep(self, surges: Surges, v: Look, place: int, hours: float, running: float, length: float) -> None:
        mean, shape, share = surges.pool.tolist()
        base = surges.base[self.topic] / 10_000
        rows, age, part = [], min(hours, DAYS_KEPT * 24), running - math.floor(running)
        spans = [min(closed, math.floor(running)) + part if closed else length for closed in WINDOWS]
        for at, closed in enumerate(WINDOWS):
            events, negative = float(v.events[at, place]), float(v.negative[at, place])
            left = max(at, int(AGES[int(min(age / YOUNG, WINDOWS[-1]))]))
            before = max(float(base[0]) - float(v.events[left, place]), 0.0)
            bad = max(float(base[1]) - float(v.negative[left, place]), 0.0)
            past = max(age - spans[left], 0.0) / 24
            rate = (shape + before) / (shape / mean + past)
            own = (bad + SHARE_WEIGHT * share) / (before + SHARE_WEIGHT)
            rows.append(
                {
                    "closed_hours": closed,
                    "events": events,
                    "negative": negative,
                    "before": before,
                    "bad": bad,
                    "past_days": past,
                    "rate": rate,
                    "hours": float(v.expected[at, place]) * 24 / rate,
                    "expected": float(v.expected[at, place]),
                    "market": float(v.usual[at, place]) - own,
                    "usual": float(v.usual[at, place]),
                    "burst": float(self._ratios["burst"][at, place]),
                    "known": float(self._ratios["known"][at, place]),
                    "ln_ratio": float(v.ratios[at, place]),
                    "weight": float(WEIGHTS[at]),
                }
            )
        self.look = {
            "past": {"events": float(base[0]), "negative": float(base[1]), "hours": hours},
            "pool": {"mean": mean, "shape": shape, "share": share},
            "windows": rows,
        }


def _prior(alarms: alarms_of.SurgeAlarms, rate: float) -> dict[str, float]:
    """Return what the threshold is computed from at first, as `SurgeAlarms.calibrate` does."""
    events = (float(alarms.looks[0]) + alarms_of.EVENTS_AT_FIRST) / (float(alarms.looks[1]) + 1)
    days = float(alarms.counts.exposure.sum()) / 24
    level = math.log(alarms_of.PRIOR * events / rate) - alarms_of.FLOOR * min(days / alarms_of.TRUSTED, 1.0)
    return {
        "alarms_an_event": alarms_of.PRIOR,
        "events_a_day": events,
        "surges_a_day": rate,
        "shadow_days": days,
        "level": level,
    }


def worked(url: str, seed: int = SEED) -> dict[str, Any]:
    """Return the numbers behind the first negativity spike of the planted crisis, in a store of the demo's feed."""
    store = open_store(url)
    topic = generator.truth(seed).crisis.topic
    alert = next(a for a in store.alerts() if a["topic"] == topic and a["kind"] == "negativity_spike")
    with reading(store.engine) as connection:
        ((_, body),) = settings_versions.in_order(connection)  # the demo changes no settings
        rules = detection_rules(body, settings_versions.time_rules(connection))
        state = State.fresh(rules)
        surging = next(d for d in state.detectors if isinstance(d, Surging))
        notes = Notes(-1)
        with notes.patches():
            for bucket in decided_buckets(connection, None):
                notes.topic = state.history.index.get(topic, -1)
                decide(state, bucket)
                if notes.topic >= 0 and surging.alarms.firing[notes.topic]:
                    break
    store.close()
    end = bucket.start + rules.bucket
    fired = _fired(surging, notes)
    shown = {**alert, "evidence": alert["evidence"][:EVIDENCE]}
    return {
        "seed": seed,
        "topic": topic,
        "bucket_end": iso(end),
        **notes.look,
        "times": list(surge.TIMES),
        "limits": {"least_share": surge.LEAST_SHARE, "most_share": surge.MOST_SHARE, "believed": BELIEVED},
        "share_weight": SHARE_WEIGHT,
        "alike": ALIKE,
        **fired,
        "stories_of_evidence": len(alert["evidence"]),
        "alert": shown,
    }


def _fired(surging: Surging, notes: Notes) -> dict[str, Any]:
    """Return the score and the threshold of the alarm that has just fired."""
    alarms, topic, windows = surging.alarms, notes.topic, notes.look["windows"]
    ratios = np.array([[row["ln_ratio"]] for row in windows])
    whole = float((np.exp(ratios[:, 0]) * WEIGHTS).sum())
    offset = float(alarms.offset[topic]) - alarms_of.LOUDER  # before it fired
    return {
        "weighed_sum": whole,
        "score": float(surge.mixtures(ratios)[-1, 0]),
        "prior": notes.prior,
        "threshold": float(alarms.threshold[0]) + offset,
        "offset": offset,
        "strongest": int((ratios[:, 0] + np.log(WEIGHTS)).argmax()),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--store", help="a store of the demo of seed 7, instead of running it")
    given = arguments.parse_args()
    received: list[Received] = []
    with tempfile.TemporaryDirectory() as folder:
        url = given.store or show.run(Path(folder), seed=SEED, external_url=PAGES, on_webhook=received.append).store
        found = worked(url)
    assert found["score"] >= found["threshold"], "what was written down is not what fired"
    assert found["bucket_end"] == found["alert"]["fired_at"], "the store was decided by another version"
    group = found["alert"]["group_id"]
    record(
        "worked_example", "python -m benchmarks.worked_example", _rounded(found) | {"webhook": _first(received, group)}
    )


def _first(received: list[Received], incident: str) -> dict[str, Any] | None:
    """Return the body that announced the incident, with the first of its stories; None if nothing was delivered."""
    for body in (webhook.body for webhook in received if webhook.verified and webhook.body):
        data = body["data"]
        if body["type"] == "incident.firing" and data["id"] == incident:
            return {**body, "data": {**data, "stories": data["stories"][:1]}}
    return None


def _rounded(value: Any) -> Any:
    """Return a value with at most six decimals in what was computed; the alert stays as it is."""
    if isinstance(value, dict):
        return {key: inner if key == "alert" else _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
