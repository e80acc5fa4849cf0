"""Measure what default settings detect in the demo's feed, for the users' seed and three others, with the real encoder.

    python -m benchmarks.demo

For each seed: did the crisis alert within 24 hours, did both decoys stay quiet (volume may fire on the busy day), and
what else fired. Only this benchmark and the tests read `truth`.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.demo import generator, show
from foreshock.monitor.store import open_store
from foreshock.processes.wiring import MakeScorer

SEEDS = (7, 1, 2, 3)
MARGIN = timedelta(days=2)
"""Alerts on a decoy's topic count from the decoy's start until this long after its end."""


def judge(alerts: list[dict[str, Any]], truth: generator.Truth) -> dict[str, Any]:
    """Compare the alerts that fired with the changes that were planted."""
    fired = [(alert, datetime.fromisoformat(alert["fired_at"])) for alert in alerts]

    def found(planted: generator.Planted, kinds: set[str]) -> list[datetime]:
        end = planted.end + timedelta(days=14)
        return [
            at
            for alert, at in fired
            if alert["topic"] == planted.topic and alert["kind"] in kinds and planted.start <= at <= end
        ]

    crisis = found(truth.crisis, {"negativity_spike"})
    drift = found(truth.drift, {"drift", "negativity_spike"})
    silence = found(truth.outage, {"silence"})
    decoys = [
        f"{alert['kind']} of {alert['topic']}"
        for decoy in (truth.repost, truth.busy)
        for alert, at in fired
        if alert["topic"] == decoy.topic
        and decoy.start <= at <= decoy.end + MARGIN
        # The busy day is a day of much news, so volume may fire on it.
        and (decoy is not truth.busy or alert["kind"] != "volume")
    ]
    planted = {truth.crisis.topic, truth.drift.topic, truth.outage.topic}
    others = [(f"{alert['kind']} of {alert['topic']}", at) for alert, at in fired if alert["topic"] not in planted]
    # A change of a company also fires in its themes and in the series of all stories, and a busy day as volume.
    spans = [(p.start, p.end + MARGIN) for p in (truth.crisis, truth.repost, truth.busy)]
    echoes = [name for name, at in others if any(start <= at <= end for start, end in spans)]
    beyond = [name for name, at in others if not any(start <= at <= end for start, end in spans)]
    groups: dict[str, list[str]] = {}
    for alert, _ in fired:
        groups.setdefault(alert["group_id"], []).append(f"{alert['kind']} of {alert['topic']}")
    wanted = [
        {f"{kind} of {planted.topic}" for kind in kinds}
        for planted, kinds in (
            (truth.crisis, {"negativity_spike"}),
            (truth.drift, {"drift", "negativity_spike"}),
            (truth.outage, {"silence"}),
        )
    ]
    of_each = [[group for group, names in groups.items() if names_wanted & {*names}] for names_wanted in wanted]
    hours = (crisis[0] - truth.crisis.start).total_seconds() / 3600 if crisis else None
    return {
        "crisis_after_hours": None if hours is None else round(hours, 1),
        "drift_found": bool(drift),
        "silence_found": bool(silence),
        "decoys_that_alerted": decoys,
        "alerts": len(fired),
        "incidents": len(groups),
        "incidents_of_crisis_drift_silence": [len(some) for some in of_each],
        "they_are_apart": len({group for some in of_each for group in some}) == sum(map(len, of_each)),
        "further_incidents": [
            names[0] for group, names in groups.items() if not any(group in some for some in of_each)
        ],
        "at_the_time_of_what_was_planted": echoes,
        "beyond_crisis_drift_silence": beyond,
    }


def run(seed: int, scorer: MakeScorer | None = None) -> dict[str, Any]:
    """Replay the demo with one seed and judge its alerts. Default scorer: the real one."""
    with tempfile.TemporaryDirectory() as folder:
        done = show.run(Path(folder), seed=seed, scorer=scorer)
        store = open_store(done.store)
        verdict = judge(list(store.alerts()), generator.truth(seed))
        store.close()
        return {"seed": seed, **verdict, "seconds": round(done.result.seconds, 1)}


def measure() -> dict[str, Any]:
    """Judge all seeds."""
    return {"seeds": [run(seed) for seed in SEEDS]}


if __name__ == "__main__":
    parser(__doc__).parse_args()
    print(json.dumps(record("demo", "python -m benchmarks.demo", measure()), indent=2))
