"""Write the worked example, the alert and the webhook that the docs show, from benchmarks/results."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any


def example(r: dict[str, Any]) -> str:
    """Return the worked example: the windows as a table, and the strongest of them step by step."""
    past, pool, prior = r["past"], r["pool"], r["prior"]
    end, first = datetime.fromisoformat(r["bucket_end"]), datetime.fromisoformat(r["alert"]["started_at"])
    lines = [
        f"The demo (seed {r['seed']}): {r['topic']}, {end.day} {end:%B %Y}, the bucket that ends at {end:%H:%M} UTC, "
        f"{(end - first).total_seconds() / 60:.0f} minutes after the start of the first bucket with bad news of its "
        "crisis. "
        f"The topic has had {past['events']:.1f} weighed events in {past['hours']:.0f} hours, with a negative mass of "
        f"{past['negative']:.1f}. The pool has *m* = {pool['mean']:.2f}, *a* = {pool['shape']:.3f} and *q* = "
        f"{_percent(pool['share'])}.",
        "",
        "*n*, *x* and *T* (days) are those of the past without the last four days. *h* is the window's length in "
        "hours, times the profile of its hours and times the market's factor, so μ = rate · *h* / 24. *w* is the share "
        "that the market adds to *b*.",
        "",
        "| window | *N* | *X* | *n* | *x* | *T* | *h* | μ | *w* | *b* | *b*' | ln *L* | weight |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(row) for row in r["windows"]),
        "",
        *_steps(r),
        "",
        *_score(r, prior),
    ]
    return "\n".join(lines)


def _row(w: dict[str, Any]) -> str:
    name = f"{w['closed_hours']} h" if w["closed_hours"] else "last bucket"
    cells = [
        name,
        *(f"{w[key]:.2f}" for key in ("events", "negative", "before", "bad", "past_days", "hours", "expected")),
        *(_percent(w[key]) for key in ("market", "usual", "burst")),
        "says nothing" if w["ln_ratio"] <= -59 else f"{w['ln_ratio']:.2f}",
        f"{w['weight']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _steps(r: dict[str, Any]) -> list[str]:
    w, pool, limits = r["windows"][r["strongest"]], r["pool"], r["limits"]
    share = min(max(w["usual"], limits["least_share"]), limits["most_share"])
    burst = min(max(w["burst"], limits["least_share"]), limits["most_share"])
    held = min(w["negative"], limits["most_share"] * w["events"])
    beyond = max(held - w["events"] * burst, 0) / (1 - burst)
    mean, known = w["expected"] * share, w["known"]
    name = "the last bucket" if not w["closed_hours"] else f"the window of {w['closed_hours']} h"
    terms = []
    for times in r["times"]:
        c = (known + times * mean) / (known + mean)
        terms.append(
            f"*k* = {times:g}: *c* = {c:.4f}, ln = {beyond:.3f} · ln {times:g} - {beyond + known:.2f} · ln *c* = "
            f"{beyond * math.log(times) - (beyond + known) * math.log(c):.2f}"
        )
    prior, weight = pool["shape"], r["share_weight"]
    return [
        f"The strongest is {name}. Its rate is (*a* + *n*) / (*a* / *m* + *T*) = ({prior:.3f} + {w['before']:.2f}) / "
        f"({prior:.3f} / {pool['mean']:.2f} + {w['past_days']:.2f}) = {w['rate']:.2f} events a day, so μ = "
        f"{w['rate']:.2f} · {w['hours']:.2f} / 24 = {w['expected']:.3f}. The usual share is *b* = "
        f"(*x* + {weight:g} *q*) / (*n* + {weight:g}) + *w* = ({w['bad']:.2f} + {weight * pool['share']:.2f}) / "
        f"{w['before'] + weight:.2f} + {w['market']:.4f} = {w['usual']:.4f}, and *b*' = {w['burst']:.4f}. Beyond an "
        f"ordinary burst are *E* = (min({w['negative']:.2f}, {limits['most_share']:g} · {w['events']:.2f}) - "
        f"{w['events']:.2f} · {burst:.4f}) / {1 - burst:.4f} = {beyond:.3f} events. μ *b* = {mean:.4f} are usual, "
        f"known from *r* = *a* + *x* = {known:.2f}:",
        "",
        *(f"* {term}" for term in terms),
        "",
        f"The mean of the {len(terms)} ratios gives ln *L* = {w['ln_ratio']:.2f}.",
    ]


def _score(r: dict[str, Any], prior: dict[str, float]) -> list[str]:
    raw = math.log(r["weighed_sum"])
    folded = f", which is folded to {r['score']:.2f}" if raw > r["limits"]["believed"] else ""
    base = r["threshold"] - r["offset"]
    given = (
        f"ln({prior['alarms_an_event']:g} *e* / rate) less what {prior['shadow_days']:.0f} days of shadows allow is "
        f"{prior['level']:.2f} (*e* = {prior['events_a_day']:.0f} events a day, rate = {prior['surges_a_day']:.4f} "
        "surges a day)"
    )
    by = "that decides" if abs(base - prior["level"]) < 0.005 else "the shadows themselves ask for more"
    added = f", and {r['offset']:.2f} because the topic fired before" if r["offset"] >= 0.005 else ""
    whole = f"{r['weighed_sum']:,.1f}"
    return [
        f"Σ weight · *L* over all windows is {whole}, and ln {whole} = {raw:.2f}{folded}. The "
        f"threshold was {r['threshold']:.2f}: {given}; {by}{added}. So the alert fired."
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def alert(r: dict[str, Any]) -> str:
    """Return README's sample alert, with its scores on one line each."""
    return (
        f"> {r['alert']['sentence']}\n\n"
        "This is an alert of the demo. `foreshock alerts list --store sqlite:///foreshock-demo.db --json` prints it as "
        f"a program reads it; {len(r['alert']['evidence'])} of its {r['stories_of_evidence']} stories of evidence are "
        f"shown here:\n\n{_block(r['alert'])}"
    )


def webhook(r: dict[str, Any]) -> str:
    """Return the body of docs/webhooks.md: what the demo's receiver got first of the incident of that alert."""
    return f"The demo's receiver got this body. One of its stories is shown.\n\n{_block(r['webhook'])}"


def _block(shown: dict[str, Any]) -> str:
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    text = re.sub(
        r"\{\s+(\"(?:negative|events)\"[^{}]*?)\s+\}", lambda m: "{ " + re.sub(r"\s*\n\s*", " ", m[1]) + " }", text
    )
    return f"```json\n{text}\n```\n"
