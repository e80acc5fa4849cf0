"""The worked example of docs/detection.md: a reader who follows the formulas by hand gets the numbers that it gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.worked_example import worked
from foreshock.monitor.store import open_store

RESULT = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "worked_example.json").read_text())


def ln_ratio(w: dict[str, Any], r: dict[str, Any]) -> float:
    """Return ln L by the formulas of docs/detection.md#the-score, from the numbers of a window alone."""
    least, most = r["limits"]["least_share"], r["limits"]["most_share"]
    share, burst = (min(max(w[name], least), most) for name in ("usual", "burst"))
    beyond = max(min(w["negative"], most * w["events"]) - w["events"] * burst, 0) / (1 - burst)
    usual, known = w["expected"] * share, w["known"]
    ratios = []
    for k in r["times"]:
        c = (known + k * usual) / (known + usual)
        ratios.append(k**beyond / c ** (beyond + known))
    return math.log(sum(ratios) / len(ratios))


@pytest.mark.parametrize("window", RESULT["windows"], ids=lambda w: f"{w['closed_hours']} h")
def test_each_window_follows_from_its_numbers(window: dict[str, Any]) -> None:
    """Invariant: μ, b, b' and ln L of each window follow from n, x, T, h, w, N, X and the pool, to three digits."""
    pool, r = RESULT["pool"], RESULT
    rate = (pool["shape"] + window["before"]) / (pool["shape"] / pool["mean"] + window["past_days"])
    assert window["expected"] == pytest.approx(rate * window["hours"] / 24, rel=1e-3)
    weight = r["share_weight"]
    usual = (window["bad"] + weight * pool["share"]) / (window["before"] + weight) + window["market"]
    assert window["usual"] == pytest.approx(usual, rel=1e-3)
    spread = math.sqrt(usual * (1 - usual) * (1 / (window["before"] + weight) + 1 / r["alike"]))
    assert window["burst"] == pytest.approx(usual + spread / 2, rel=1e-3)
    assert window["known"] == pytest.approx(pool["shape"] + window["bad"], rel=1e-3)
    if window["events"] < 2 or window["negative"] < 1.5:
        assert window["ln_ratio"] <= -59
    else:
        assert window["ln_ratio"] == pytest.approx(ln_ratio(window, r), abs=2e-3)


def test_the_score_follows_from_the_windows_and_passes_the_threshold() -> None:
    whole = sum(w["weight"] * math.exp(w["ln_ratio"]) for w in RESULT["windows"])
    raw = math.log(whole)
    believed = RESULT["limits"]["believed"]
    folded = believed + believed * math.log(raw / believed) if raw > believed else raw
    assert RESULT["weighed_sum"] == pytest.approx(whole, rel=1e-3)
    assert RESULT["score"] == pytest.approx(folded, abs=1e-3)
    assert RESULT["score"] >= RESULT["threshold"] >= RESULT["prior"]["level"]


@pytest.mark.slow
def test_what_is_written_down_is_what_fires(crisis_store: Path) -> None:
    url = f"sqlite:///{crisis_store}"
    found = worked(url)
    store = open_store(url)
    alert = next(a for a in store.alerts() if a["topic"] == found["topic"] and a["kind"] == "negativity_spike")
    store.close()
    assert found["bucket_end"] == alert["fired_at"]
    assert found["score"] >= found["threshold"]
