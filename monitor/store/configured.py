"""The topics that the settings name and that no story has yet: pages and commands show them from the first minute.

The store keeps the settings in force, so a reader needs no settings file. A built-in topic that nobody changed is only
counted: there are hundreds, and a desk did not ask for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, select

from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.topics.rules import default_rules, default_watchlist
from foreshock.monitor.units import ALL

NO_STORY, UNDECIDED = "no_story", "undecided"
WORDS = {NO_STORY: "no story yet", UNDECIDED: "first story not decided yet"}
"""The states of a topic without a series, in words. `undecided`: all its stories lie in open buckets."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """The configured topics without a series, in bytewise order."""

    own: dict[str, str]
    """Those that the desk wrote itself (settings, watchlist file), with their states."""
    built_in: tuple[str, ...]


def unseen(connection: Connection) -> Unseen:
    """Return the topics of the settings in force that have no decided bucket."""
    found = settings_versions.newest(connection)
    if found is None:
        return Unseen({}, ())
    series = set(connection.execute(select(schema.topics.c.topic)).scalars())
    rules = {str(rule["name"]): rule for rule in found[1].get("topics", []) if rule["name"] not in series}
    default = _built_in()
    # A rule is stored without what does not shape rows.
    own = sorted(name for name, rule in rules.items() if not _is_part(rule, default.get(name)))
    t = schema.story_topics.c.topic
    read = set(connection.execute(select(t).where(t.in_(own)).distinct()).scalars()) if own else set()
    return Unseen(
        {name: UNDECIDED if name in read else NO_STORY for name in own},
        tuple(sorted(rules.keys() - set(own))),
    )


def topic_names(connection: Connection) -> list[str]:
    """Return all topics with a series and all that are configured: `_all` first, the others in bytewise order."""
    found = settings_versions.newest(connection)
    configured = () if found is None else (str(rule["name"]) for rule in found[1].get("topics", []))
    names = {*connection.execute(select(schema.topics.c.topic)).scalars(), *configured}
    return [ALL, *sorted(names - {ALL}, key=str.encode)]


def _is_part(rule: dict[str, Any], whole: dict[str, Any] | None) -> bool:
    return whole is not None and all(whole.get(key) == value for key, value in rule.items())


@cache
def _built_in() -> dict[str, dict[str, Any]]:
    return {rule.name: rule.model_dump(mode="json") for rule in (*default_rules(), *default_watchlist())}
