"""Topics by rules: what they are (`rules`), and which a story belongs to (`matching`)."""

from foreshock.monitor.topics.matching import BODY_CHARACTERS, Matched, Matcher, matches
from foreshock.monitor.topics.rules import (
    ALL,
    TopicRule,
    WatchlistError,
    check_distinct,
    default_rules,
    default_watchlist,
    load_watchlist,
)

__all__ = [
    "ALL",
    "BODY_CHARACTERS",
    "Matched",
    "Matcher",
    "TopicRule",
    "WatchlistError",
    "check_distinct",
    "default_rules",
    "default_watchlist",
    "load_watchlist",
    "matches",
]
