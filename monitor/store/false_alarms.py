"""Compare the incidents that fired lately with the number that chance alone would raise at the current budget."""

from __future__ import annotations

from sqlalchemy import Connection, exists, func, select

from foreshock.monitor import odds
from foreshock.monitor.budget import CRITICAL_STORIES, BudgetReport, detection_rules, names_share, parse_expected
from foreshock.monitor.kinds import CRITICAL
from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY, OTHER
from foreshock.monitor.watermark import TimeRules

DAYS = 28
"""How many days before "decided until" are counted."""
LEARNING_DAYS = 14
"""How many days of the feed pass before the first topic is watched."""


def standing(connection: Connection) -> BudgetReport:
    """Return the incidents and the expected false alarms of the last 28 days before "decided until".

    Only days count on which the feed ran and topics were watched.
    """
    until = connection.execute(select(schema.feed.c.decided_until)).scalar() or 0
    since = until - DAYS * DAY
    day, a, t, i = schema.daily_state.c.day, schema.alerts.c, schema.topics.c, schema.incidents.c
    ran = connection.execute(select(day).order_by(day)).scalars().all()
    days, critical_days = (sum(since <= d < until for d in some) for some in (ran[LEARNING_DAYS:], ran))
    # An incident that was merged is part of another, and an alert from before incidents stands for itself.
    began = select(func.count()).select_from(schema.incidents)
    began = began.where(i.fired_at > since, i.fired_at <= until, i.merged_into.is_(None))
    # Chance has no part in a critical story. An incident of nothing else is counted apart.
    by_chance = exists().where(a.group_id == i.id, a.kind != CRITICAL, a.inhibited_by.is_(None))
    began = began.where(by_chance)
    first = select(a.group_id).where(a.kind == CRITICAL, a.fired_at <= until).group_by(a.group_id)
    critical = select(func.count()).select_from(first.having(func.min(a.fired_at) > since).subquery())
    alone = select(func.count()).select_from(schema.alerts)
    alone = alone.where(a.fired_at > since, a.fired_at <= until, a.group_id.is_(None))
    topics = connection.execute(select(t.topic, t.learning_until).where(t.topic != OTHER)).all()
    learning = [row.learning_until for row in topics if row.learning_until is not None]
    newest = settings_versions.newest(connection)
    body = None if newest is None else newest[1]
    expected = CRITICAL_STORIES if body is None else body.get("alerts", {}).get("critical_stories", CRITICAL_STORIES)
    if body is None or not body.get("critical"):
        critical_days = 0  # critical stories are off
    rules = detection_rules(body, TimeRules())
    weights = dict(rules.weights)
    watched = sum(weights.get(row.topic, 1.0) for row in topics if row.learning_until is None)
    names = names_share(body)
    shares = rules.bad_news + rules.better + rules.volume + rules.silence + names / (1 - names)
    whole = rules.false_alarms * (watched if rules.per_topic else 1.0) * shares
    return BudgetReport(
        incidents=connection.execute(began).scalar_one() + connection.execute(alone).scalar_one(),
        days=days,
        expected=whole * days,
        learning=len(learning),
        critical=connection.execute(critical).scalar_one(),
        critical_days=critical_days,
        critical_expected=parse_expected(expected) * critical_days,
        topics=len(topics),
        learning_until=min((estimate for estimate in learning if estimate > until), default=None),
    )


def days_between(connection: Connection, alert: AlertRow) -> float | None:
    """Return in how many days chance alone gives one alert of this kind that is as sure; None if that is not known.

    The budget is that of the settings by which the alert was decided. Alerts from before incidents have no statistic.
    """
    if alert.statistic is None or alert.threshold is None:
        return None
    at = alert.fired_at or alert.pending_at
    body = settings_versions.in_force_before(connection, at)
    rules = detection_rules(body, TimeRules())
    topics = 0.0
    if rules.per_topic:
        t, weights = schema.topics.c, dict(rules.weights)
        watched = connection.execute(select(t.topic).where(t.learning_until.is_(None), t.topic != OTHER)).scalars()
        topics = sum(weights.get(topic, 1.0) for topic in watched)
    how = alert.kind, alert.direction, alert.statistic, alert.threshold, rules, topics
    return odds.days_between(*how, names=names_share(body))
