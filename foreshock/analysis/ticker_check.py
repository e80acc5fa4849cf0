"""Say which tickers of a feed file are understood, for `foreshock check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from foreshock.ingest.tickers import read_tickers

_HELD = 10_000
"""Distinct notations that are counted."""
_SHOWN = 5


class TickerTally:
    """Counts the tickers of records one after another."""

    def __init__(self) -> None:
        self.understood = 0
        self.unknown: Counter[str] = Counter()
        """Notation that was not understood, in capitals -> how often."""

    def add(self, value: Any) -> None:
        """Count the tickers in a record's field."""
        if value is None or isinstance(value, dict) or (isinstance(value, list) and not all(map(_is_plain, value))):
            return
        for ticker, understood in read_tickers(value):
            shown = ticker[:60]
            if understood:
                self.understood += 1
            elif shown in self.unknown or len(self.unknown) < _HELD:
                self.unknown[shown] += 1


def ticker_words(understood: int, unknown: Mapping[str, int]) -> str:
    """Return the counts in words. `unknown`: notation -> how often, the most frequent first."""
    words = f"{understood:,} understood"
    if not unknown:
        return words
    shown = ", ".join(f"{ticker!r} ({count:,})" for ticker, count in islice(unknown.items(), _SHOWN))
    more = f", and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
    return f"{words}, {sum(unknown.values()):,} not: {shown}{more}"


def ticker_advice(tally: TickerTally) -> list[str]:
    """Return a sentence if tickers were not understood."""
    if not tally.unknown:
        return []
    return [
        f"{sum(tally.unknown.values()):,} tickers are in no known notation. They are kept as written, in capitals, and "
        "match only a topic that names them so. If the column holds something else, map another one to tickers."
    ]


def _is_plain(item: Any) -> bool:
    return item is None or isinstance(item, str | int | float)
