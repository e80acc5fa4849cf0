"""The settings that shape rows and decisions, as numbered versions: rows carry the number of the one in force."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from foreshock.monitor.errors import SettingsDiffer
from foreshock.monitor.settings import TimeSettings
from foreshock.monitor.store import schema

FIXED = ("time", "model")
"""Sections that a store keeps for life: its buckets and scores would not be comparable."""
READING = "time.assume_zone"
"""The exception: how dates are read, which shapes only what is read from now on, dead letters fed again among it."""


def adopt(connection: Connection, shaping: dict[str, Any], *, resuming: str | None) -> int:
    """The number of the version that these settings are; a new one, in force from what is decided, if they are new.

    Who is deciding at this moment by the version before is overtaken, as by a partition that joins: no bucket is
    decided by a version that is not in force for it.

    `resuming` names a source that was begun and not finished: it must go on with the settings it was begun with.

    Raises:
        SettingsDiffer: they differ where they cannot.
    """
    table = schema.settings_versions
    newest = connection.execute(select(table).order_by(table.c.number.desc()).limit(1)).first()
    body = json.dumps(shaping, sort_keys=True, ensure_ascii=False)
    if newest is not None and newest.body == body:
        return int(newest.number)
    if newest is not None:
        different = differences(json.loads(newest.body), shaping)
        if resuming is not None:
            raise SettingsDiffer(
                f"{resuming} was begun with other settings and is not finished: {_listed(different)}. "
                "Go on with those, or use another store."
            )
        _refuse_other(different)
    number = 1 if newest is None else newest.number + 1
    feed = schema.feed
    connection.execute(update(feed).values(members_version=feed.c.members_version + 1))
    decided_until = connection.execute(select(feed.c.decided_until)).scalar()
    connection.execute(insert(table).values(number=number, in_force_from=decided_until, body=body))
    return int(number)


def refuse_other(connection: Connection, shaping: dict[str, Any]) -> None:
    """Raise `SettingsDiffer` if a store cannot go on with these settings."""
    before = newest(connection)
    if before is not None:
        _refuse_other(differences(before[1], shaping))


def in_force(connection: Connection) -> int | None:
    """The number of the version in force; None in a store that nobody gave any yet."""
    number: int | None = connection.execute(select(func.max(schema.settings_versions.c.number))).scalar()
    return number


def newest(connection: Connection) -> tuple[int, dict[str, Any]] | None:
    """The version in force, its number and settings; None in a store that nobody gave any yet."""
    table = schema.settings_versions
    row = connection.execute(select(table).order_by(table.c.number.desc()).limit(1)).first()
    return None if row is None else (int(row.number), json.loads(row.body))


def time_settings(connection: Connection) -> TimeSettings:
    """Return the store's [time], which it keeps for life; the defaults in a store that has no settings yet."""
    body = connection.execute(select(schema.settings_versions.c.body).limit(1)).scalar()
    return TimeSettings() if body is None else TimeSettings.model_validate(json.loads(body)["time"])


def in_order(connection: Connection) -> list[tuple[int | None, dict[str, Any]]]:
    """All versions: from which bucket on each is in force (None: from the first), and the settings."""
    table = schema.settings_versions
    rows = connection.execute(select(table.c.in_force_from, table.c.body).order_by(table.c.number))
    return [(row.in_force_from, json.loads(row.body)) for row in rows]


def adopt_model(connection: Connection, identity: str) -> None:
    """Bind the store to the model that scores its stories: all of a store's scores come from one.

    Raises:
        SettingsDiffer: its stories were scored by another.
    """
    feed = schema.feed
    connection.execute(update(feed).where(feed.c.model.is_(None)).values(model=identity))
    bound = connection.execute(select(feed.c.model)).scalar()
    if bound != identity:
        raise SettingsDiffer(
            f"The store's stories were scored by {bound}; this installation's model is {identity} "
            "(weights, precision or runtime differ), and scores of two models are not comparable. "
            "Use the installation that made the store, or a new store."
        )


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Dotted names of what differs, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            d
            for key in sorted(old.keys() | new.keys())
            for d in differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    if old == new:
        return []
    if isinstance(old, list) and isinstance(new, list):
        before, after = (
            {str(rule.get("name")): rule for rule in rules if isinstance(rule, dict)} for rules in (old, new)
        )
        return [
            f"{path} ({name})" for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)
        ] or [path]
    return [f"{path} (was {old}, is {new})"]


def _refuse_other(different: list[str]) -> None:
    if fixed := [d for d in different if d.partition(".")[0] in FIXED and not d.startswith(READING)]:
        raise SettingsDiffer(
            f"The store was begun with other settings, which it keeps: {_listed(fixed)}. Use another store for these."
        )


def _listed(different: list[str], shown: int = 5) -> str:
    more = len(different) - shown
    return ", ".join(different[:shown]) + (f" and {more} more" if more > 0 else "")
