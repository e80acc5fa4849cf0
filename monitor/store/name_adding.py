"""Put a name that no topic has on the watchlist, and record who did."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, func, select

from foreshock.monitor.errors import MonitorError
from foreshock.monitor.store import desk_actions, evidence, schema, topic_labels
from foreshock.monitor.topics import watchlist_file
from foreshock.monitor.topics.names import distinct_forms
from foreshock.monitor.topics.rules import TopicRule, WatchlistError
from foreshock.monitor.units import NEW, shown

FORMS = 5
"""The most forms of a name that its rule has: the most frequent ones."""
ACTION = "watch"


def rule_of(connection: Connection, name: str) -> TopicRule:
    """Return the rule of a topic for a name, with the forms that the stored stories have. A cashtag is a ticker.

    Raises MonitorError if no topic can have the name.
    """
    n, topic = schema.story_names.c, NEW + shown(name.strip())
    query = select(n.written).where(n.name == evidence.key(topic)).group_by(n.written)
    seen = connection.execute(query.order_by(func.count().desc(), n.written).limit(FORMS)).scalars().all()
    name = shown(topic)
    tickers = [form[1:] for form in (name, *seen) if form.startswith("$")]
    names = distinct_forms(form for form in (name, *seen) if not form.startswith("$"))
    try:
        return TopicRule(name=name.removeprefix("$"), tickers=list(dict.fromkeys(tickers)), names=names)
    except ValueError:
        raise MonitorError(f"{name!r} cannot be a topic: give a name with a letter or a digit, or $TICKER") from None


def add(connection: Connection, file: Path | None, name: str, *, by: str, note: str = "", now: int) -> TopicRule:
    """Add a name to the watchlist file, and record who did. `file`: `[watchlist] file`. Return the rule.

    Raises:
        MonitorError: no topic can have the name, or one of the settings has it, which the new one would replace.
        WatchlistError: there is no file, it cannot be written, or it has the topic already.
    """
    rule = rule_of(connection, name)
    if file is None:
        raise WatchlistError(
            f'There is no watchlist file to add {rule.name} to. Set [watchlist] file = "watchlist.csv" in the settings.'
        )
    if rule.name in topic_labels.load(connection):
        raise MonitorError(
            f"{rule.name} is a topic already, and a line in the watchlist file would replace it; change its own rule."
        )
    # Recorded first: if the file cannot be written, nothing is.
    desk_actions.append(connection, ACTION, now, by, note, topic=NEW + shown(name.strip()))
    watchlist_file.add(file, rule)
    return rule


def added_by(connection: Connection, topic: str) -> str | None:
    """Return who put a name on the watchlist last, or None."""
    d = schema.desk_actions.c
    mine = select(d.by).where(d.topic == topic, d.action == ACTION).order_by(d.number.desc()).limit(1)
    return connection.execute(mine).scalar()
