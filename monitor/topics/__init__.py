"""Find the topics of stories: `rules` defines topics, `matching` applies them."""

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
