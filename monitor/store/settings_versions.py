"""Store the settings that shape rows and decisions, as numbered versions (docs/design.md#11-settings-that-shape-rows).

Each row carries the number of the version that was in force.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from foreshock.monitor.errors import SettingsDiffer
from foreshock.monitor.settings import TimeSettings
from foreshock.monitor.store import fills, schema, switches
from foreshock.monitor.watermark import TimeRules

FIXED = ("time", "model")
"""Sections that never change in a store, because its buckets and scores would no longer be comparable."""
READING = ("time.assume_zone", "model.per_company")
"""The exceptions: they affect only records that are read from now on, including dead letters that are replayed."""
OF_COMPANIES = {"per_company"}
"""Settings of [model] that say nothing of the weights."""


def adopt(connection: Connection, shaping: dict[str, Any], *, resuming: str | None) -> int:
    """Return the version number of these settings. New settings get a new version, in force from "decided until".

    A monitor that is deciding by the previous version is overtaken, as it is when a partition joins. So each bucket is
    decided by the version that is in force for it. Topics that are new or have another rule are then filled from the
    stored stories (`store.fills`).

    `resuming`: the name of an unfinished source. It must continue with the settings that it started with.

    Raises:
        SettingsDiffer: a setting changed that cannot change here.
    """
    table = schema.settings_versions
    newest = connection.execute(select(table).order_by(table.c.number.desc()).limit(1)).first()
    if newest is not None:
        shaping = as_begun(connection, json.loads(newest.body), shaping)
    body = json.dumps(shaping, sort_keys=True, ensure_ascii=False)
    if newest is not None and newest.body == body:
        return int(newest.number)
    if newest is not None:
        different = differences(json.loads(newest.body), shaping)
        if resuming is not None:
            raise SettingsDiffer(
                f"{resuming} is unfinished and was started with other settings: {_listed(different)}. "
                "Continue with those settings, or use another store."
            )
        _refuse_other(different)
    number = 1 if newest is None else newest.number + 1
    feed = schema.feed
    connection.execute(update(feed).values(members_version=feed.c.members_version + 1))
    decided_until = connection.execute(select(feed.c.decided_until)).scalar()
    connection.execute(insert(table).values(number=number, in_force_from=decided_until, body=body))
    if newest is not None:
        fills.plan(connection, number, json.loads(newest.body), shaping)
    return int(number)


def refuse_other(connection: Connection, shaping: dict[str, Any]) -> None:
    """Raise `SettingsDiffer` if the store cannot continue with these settings."""
    before = newest(connection)
    if before is not None:
        _refuse_other(differences(before[1], as_begun(connection, before[1], shaping)))


def as_begun(connection: Connection, begun: Mapping[str, Any], shaping: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the model that the store was begun with, if theirs is one that it has switched to.

    `begun`: an earlier version of the store. Which model scores is recorded with the switches (`store.switches`), so a
    settings file may name any of the store's models.
    """
    mine, first = dict(shaping.get("model", {})), begun.get("model", {})
    known = [_weights_of(switch.settings) for switch in switches.timeline(connection)]
    if _weights_of(mine) not in known or _weights_of(mine) == _weights_of(first):
        return dict(shaping)
    companies = {key: mine[key] for key in OF_COMPANIES if key in mine}
    return {**shaping, "model": {**_weights_of(first), **companies}}


def model_now(connection: Connection) -> dict[str, Any] | None:
    """Return the section [model] of the newest model of the store, also of one to come; None: the store has none yet.

    Whether companies are scored is not in it.
    """
    recorded = switches.timeline(connection)
    before = newest(connection)
    if recorded:
        return _weights_of(recorded[-1].settings)
    return None if before is None else _weights_of(before[1].get("model", {}))


def models(connection: Connection) -> set[str]:
    """Return the identities of all models that have scored stories of the store."""
    recorded = switches.timeline(connection)
    now = connection.execute(select(schema.feed.c.model)).scalar()
    return {identity for s in recorded for identity in (s.before, s.model) if identity} | ({now} if now else set())


def model_begun(connection: Connection) -> dict[str, Any] | None:
    """Return the section [model] that the store was begun with, as `model_now` does."""
    before = newest(connection)
    return None if before is None else _weights_of(before[1].get("model", {}))


def _weights_of(model: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key not in OF_COMPANIES}


def in_force(connection: Connection) -> int | None:
    """Return the number of the version in force, or None if the store has no settings yet."""
    number: int | None = connection.execute(_IN_FORCE).scalar()
    return number


_IN_FORCE = select(func.max(schema.settings_versions.c.number))
"""Each closing runs this statement. It is built once, because building it takes longer than running it."""


def newest(connection: Connection) -> tuple[int, dict[str, Any]] | None:
    """Return the version in force, as its number and settings, or None if the store has none yet."""
    table = schema.settings_versions
    row = connection.execute(select(table).order_by(table.c.number.desc()).limit(1)).first()
    return None if row is None else (int(row.number), _parsed(row.body))


def body_of(connection: Connection, number: int) -> dict[str, Any] | None:
    """Return the settings of a version, or None if the store does not have it."""
    table = schema.settings_versions
    body = connection.execute(select(table.c.body).where(table.c.number == number)).scalar()
    return None if body is None else _parsed(body)


def time_settings(connection: Connection) -> TimeSettings:
    """Return the store's [time] section, which never changes, or the defaults if the store has no settings yet."""
    body = connection.execute(select(schema.settings_versions.c.body).limit(1)).scalar()
    return TimeSettings() if body is None else TimeSettings.model_validate(_parsed(body)["time"])


def time_rules(connection: Connection) -> TimeRules:
    """Return the store's rules of time (`time_settings`)."""
    t = time_settings(connection)
    return TimeRules(bucket=t.bucket, lateness=t.lateness, max_staleness=t.max_staleness, stall_after=t.stall_after)


def in_order(connection: Connection) -> list[tuple[int | None, dict[str, Any]]]:
    """Return all versions in order: the bucket from which each is in force (None: the first), and the settings."""
    table = schema.settings_versions
    rows = connection.execute(select(table.c.in_force_from, table.c.body).order_by(table.c.number))
    return [(row.in_force_from, json.loads(row.body)) for row in rows]


def in_force_before(connection: Connection, time: int) -> dict[str, Any] | None:
    """Return the settings by which the bucket that ends at `time` was decided, or None if the store had none yet."""
    v = schema.settings_versions.c
    query = select(v.body).where(v.in_force_from.is_(None) | (v.in_force_from < time))
    body = connection.execute(query.order_by(v.number.desc()).limit(1)).scalar()
    return None if body is None else _parsed(body)


def adopt_model(
    connection: Connection,
    identity: str,
    switch: switches.Switch | None = None,
    reference: Mapping[str, Any] | None = None,
) -> None:
    """Bind the store to the model that scores its stories. `switch`: the one that put it in force; None: the first.

    `reference`: what its card says is usual (`foreshock.model.reference`), which the store keeps by model.

    Raises:
        SettingsDiffer: another model scored its stories.
    """
    feed = schema.feed
    changed = switches.done(connection)
    if switch is not None:
        bound: str | None = switch.model
    elif changed:
        bound = changed[0].before
    else:
        connection.execute(update(feed).where(feed.c.model.is_(None)).values(model=identity))
        bound = connection.execute(select(feed.c.model)).scalar()
    if bound != identity:
        raise SettingsDiffer(
            f"The store's stories were scored by {bound}; this installation's model is {identity} "
            "(weights, precision or runtime differ). Scores of two models are not comparable. "
            "Use the installation that created the store, or a new store, or change the model: "
            "foreshock model switch WEIGHTS"
        )
    if reference is not None:
        said = connection.execute(select(feed.c.reference)).scalar()
        cards = {} if said is None else json.loads(said)
        if cards.get(identity) != reference:
            body = json.dumps({**cards, identity: reference}, sort_keys=True)
            connection.execute(update(feed).values(reference=body))


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the dotted names of the settings that differ, each with both values."""
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


@lru_cache(maxsize=4)
def _parsed(body: str) -> dict[str, Any]:
    """Return a version's settings. A body may hold thousands of rules, and each page reads it; nobody changes it."""
    settings: dict[str, Any] = json.loads(body)
    return settings


def _refuse_other(different: list[str]) -> None:
    if fixed := [d for d in different if d.partition(".")[0] in FIXED and not d.startswith(READING)]:
        raise SettingsDiffer(
            f"The store was created with other settings, which cannot change: {_listed(fixed)}. "
            f"Set them as before, or use another store.{_remedy(fixed)}"
        )


def _remedy(different: list[str]) -> str:
    of_model = any(d.startswith("model.") for d in different)
    return " To change the model of a store: foreshock model switch WEIGHTS" if of_model else ""


def _listed(different: list[str], shown: int = 5) -> str:
    more = len(different) - shown
    return ", ".join(different[:shown]) + (f" and {more} more" if more > 0 else "")
