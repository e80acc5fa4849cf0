"""Join a sentiment series with an index, and ask whether it says anything about the next session. With a placebo.

    foreshock replay reuters_2018_2020.jsonl.gz --store sqlite:///research.db
    python examples/sentiment_and_market.py sqlite:///research.db sp500_vix_daily.csv --column sp500_close

The CSV has a column `date` and one of closing prices. What makes the join honest:

* A row of a session holds only what was known shortly before its close (`exchange="XNYS", day_ends="close"`), and is
  joined with the return from this close to the next one. The return of the session itself is shown beside it. It is no
  forecast: news and prices of one day explain each other.
* The same correlation is computed for the series shifted in time by hundreds of other distances (the placebo). Such a
  series keeps its own ups and downs, and can know nothing. So the share of shifts that correlate as strongly is how
  easily chance alone does it.
* A model that was trained on texts of these years knows more than anyone did. `series _all --certify` says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from foreshock import open_store

LEAST_SHIFT = 20
"""Sessions by which the placebo shifts at least: its mood is then no longer that of the day."""


def joined(url: str, topic: str, exchange: str, prices: pd.Series) -> pd.DataFrame:
    """Return, by session: polarity known at its close, its own return, and that to the next close."""
    panel = open_store(url).panel(topic, exchange=exchange, day_ends="close", fields=["polarity", "events"])
    frame = panel.droplevel("known_at")
    returns = np.log(prices).diff()
    found = pd.DataFrame(
        {
            "polarity": frame["polarity", topic],
            "same": returns.reindex(frame.index),
            "next": returns.shift(-1).reindex(frame.index),
        }
    )
    return found[frame["events", topic] > 0].dropna()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation (Spearman): one crash must not decide it."""
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))


def placebo(polarity: np.ndarray, returns: np.ndarray) -> list[float]:
    """Return the correlation of the returns with the polarity shifted in a circle, by every distance."""
    shifts = range(LEAST_SHIFT, len(polarity) - LEAST_SHIFT)
    return [correlation(np.roll(polarity, shift), returns) for shift in shifts]


def measure(frame: pd.DataFrame) -> dict[str, Any]:
    """Return both correlations, each with the share of placebos that are as far from 0."""
    found: dict[str, Any] = {"sessions": len(frame)}
    if len(frame) < 4 * LEAST_SHIFT:
        return found
    polarity = frame["polarity"].to_numpy()
    for name in ("same", "next"):
        returns = frame[name].to_numpy()
        real, shifted = correlation(polarity, returns), placebo(polarity, returns)
        found[name] = {
            "correlation": round(real, 3),
            "placebos": len(shifted),
            "placebos_as_strong": round(float(np.mean(np.abs(shifted) >= abs(real))), 3),
            "placebo_95_percent": round(float(np.quantile(np.abs(shifted), 0.95)), 3),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the arguments, print the result, and return it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", help="sqlite:///foreshock.db or postgresql://...")
    parser.add_argument("prices", type=Path, help="a CSV with a column date and closing prices")
    parser.add_argument("--column", default="close")
    parser.add_argument("--topic", default="_all")
    parser.add_argument("--exchange", default="XNYS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    prices = pd.read_csv(options.prices, parse_dates=["date"], index_col="date")[options.column].dropna()
    found = measure(joined(options.store, options.topic, options.exchange, prices))
    if options.json:
        print(json.dumps(found))
        return found
    print(f"{found['sessions']} sessions with news of {options.topic}")
    for name, said in (("same", "the same session (no forecast)"), ("next", "the next session")):
        if name in found:
            one = found[name]
            print(
                f"{said}: rank correlation {one['correlation']:+.3f}; {100 * one['placebos_as_strong']:.0f} % of "
                f"{one['placebos']} placebos are as strong"
            )
    return found


if __name__ == "__main__":
    main()
