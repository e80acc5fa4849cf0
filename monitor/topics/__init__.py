"""Find the topics of stories: `rules` defines topics, `matching` applies them."""

from foreshock.monitor.topics.matching import BODY_CHARACTERS, Matched, Matcher, matches
from foreshock.monitor.topics.rules import (
    TopicRule,
    WatchlistError,
    check_distinct,
    default_rules,
    default_watchlist,
    load_watchlist,
)
from foreshock.monitor.units import ALL

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
