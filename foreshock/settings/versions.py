"""The settings that shape rows and decisions. The store keeps each version of them under a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from foreshock.ingest.settings import IngestSettings
from foreshock.model.settings import ModelSettings
from foreshock.monitor.delivery.routes import Routing
from foreshock.monitor.settings import (
    AlertSettings,
    AlertShares,
    LimitSettings,
    SourceSettings,
    TimeSettings,
    WatchlistSettings,
)
from foreshock.monitor.store.topic_labels import Labels
from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.monitor.topics.rules import TopicRule, default_rules, default_watchlist
from foreshock.settings.load import SettingsError
from foreshock.settings.models import FileSettings, KafkaSettings, Settings

OF_MODEL = {"weights", "per_company", "labels", "languages", "also"}
"""Settings of [model] that shape rows. The others say where and how fast it computes."""

OF_KAFKA = {"accept_scores", "map"}
"""Settings of [kafka] that shape rows. The others say where and how fast a worker reads."""

LIVE_ONLY = {"silent_after", "max_ahead"}
"""Settings of [time] that say how a process reads live. What they decided is in the rows, so they may change."""


def topic_rules(settings: Settings) -> list[TopicRule]:
    """Return the rules in force: the defaults, then the watchlist, then the settings' own.

    Where several rules have one name, the last one counts. Raises `WatchlistError` for a watchlist file that cannot be
    read.
    """
    watchlist = settings.watchlist
    rules = [*default_rules(), *default_watchlist()] if watchlist.defaults else []
    return list({rule.name: rule for rule in (*rules, *watchlist.rules, *settings.topics)}.values())


def topic_labels(settings: Settings) -> dict[str, Labels]:
    """Return what routes may ask of each topic with a rule: its tags, and where it is defined last.

    Raises `WatchlistError` for a watchlist file that cannot be read.
    """
    watchlist = settings.watchlist
    defined = [("defaults", (*default_rules(), *default_watchlist()) if watchlist.defaults else ())]
    defined += [("file", watchlist.rules), ("topics", settings.topics)]
    return {rule.name: Labels(frozenset(rule.tags), where) for where, rules in defined for rule in rules}


def routing(settings: Settings) -> Routing:
    """Return who hears of what by the settings. Raises `WatchlistError`."""
    asks = any(route.tags or route.watchlists for route in settings.routes)
    intervals = [interval.interval() for interval in settings.time_intervals]
    labels = topic_labels(settings) if asks else {}
    return Routing.of(settings.routes, settings.quiet_hours, intervals, settings.receiver_names, labels)


def shaping(settings: Settings) -> dict[str, Any]:
    """Return the settings that shape rows and decisions, as values for JSON.

    Two stores with the same ones decide the same.
    """
    kafka, per_company = settings.kafka, settings.model.per_company
    # Only what was set: stores that were begun before a setting existed keep their version.
    of_hf = settings.model.model_dump(mode="json", include={"labels", "languages", "also"}, exclude_defaults=True)
    return {
        "time": settings.time.model_dump(mode="json", exclude=LIVE_ONLY),
        **({"ingest": given} if (given := settings.ingest.model_dump(mode="json", exclude_defaults=True)) else {}),
        "files": settings.files.model_dump(mode="json"),
        **({} if kafka is None else {"kafka": kafka.model_dump(include=OF_KAFKA)}),
        # Versions from before companies were scored have no `per_company`, and scored none.
        "model": {"weights": str(settings.model.weights), **({"per_company": True} if per_company else {}), **of_hf},
        # `critical_stories` decides nothing. Pages read it here, where it was set.
        "alerts": {
            # Versions from before new names have no `new_names`, and watched for none.
            **settings.alerts.model_dump(mode="json", exclude={"critical_stories", "new_names"}),
            **({"new_names": settings.alerts.new_names} if settings.alerts.new_names else {}),
            **settings.alerts.model_dump(mode="json", include={"critical_stories"}, exclude_defaults=True),
        },
        "topics": [_rule(rule, per_company=per_company) for rule in topic_rules(settings)],
        # Versions from before critical stories have no `critical`, and watched for none.
        **({"critical": tables} if (tables := [_written_out(rule) for rule in settings.critical]) else {}),
        # Only what differs from the defaults, so that a store of an older version goes on with its settings.
        **({"limits": limits} if (limits := settings.limits.model_dump(exclude_defaults=True)) else {}),
        **({"sources": [source.model_dump() for source in settings.sources]} if settings.sources else {}),
    }


def _written_out(rule: CriticalRule) -> dict[str, Any]:
    return rule.resolved().model_dump(mode="json")


def _rule(rule: TopicRule, *, per_company: bool) -> dict[str, Any]:
    """Return what a rule says of rows. Whether a topic is a company says something only where companies are scored."""
    shapes = per_company and rule.company is not None
    return rule.model_dump(mode="json", exclude={"tags"} if shapes else {"tags", "company"})


def in_force(settings: Settings, body: Mapping[str, Any]) -> Settings:
    """Return these settings with the part that shapes rows replaced by `body`, which `shaping` wrote.

    What `body` does not name has its default, whatever these settings say. That also holds for `[kafka] map`: two
    workers with different files must make the same rows.

    Raises SettingsError if `body` holds what only a newer version knows, and what may shape rows.
    """
    kafka = settings.kafka
    if kafka is not None:
        given = _section(KafkaSettings, "kafka", body.get("kafka", {}))
        kafka = kafka.model_copy(update=given.model_dump(include=OF_KAFKA))
    model = _section(ModelSettings, "model", {"per_company": False, **body["model"]})
    time = {**settings.time.model_dump(mode="json", include=LIVE_ONLY), **body["time"]}
    return settings.model_copy(
        update={
            "time": _section(TimeSettings, "time", time),
            "ingest": _section(IngestSettings, "ingest", body.get("ingest", {})),
            "files": _section(FileSettings, "files", body["files"]),
            "kafka": kafka,
            "model": settings.model.model_copy(update=model.model_dump(include=OF_MODEL)),
            "watchlist": WatchlistSettings(defaults=False),
            "sources": _sections(SourceSettings, "sources", body.get("sources", ())),
            "limits": _section(LimitSettings, "limits", body.get("limits", {})),
            "alerts": _section(AlertSettings, "alerts", _known_alerts(body)),
            "topics": _sections(TopicRule, "topics", body["topics"]),
            "critical": _sections(CriticalRule, "critical", body.get("critical", ())),
        }
    )


def unknown_alerts(body: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of the alert settings that only a newer version knows.

    They say what a monitor decides, and shape no row, so a worker goes on without them.
    """
    given = body.get("alerts", {})
    shares = given.get("shares", {})
    return [
        *(f"alerts.{key}" for key in sorted(given.keys() - AlertSettings.model_fields.keys())),
        *(f"alerts.shares.{key}" for key in sorted(shares.keys() - AlertShares.model_fields.keys())),
    ]


def _known_alerts(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("alerts", {})
    found = {key: given[key] for key in AlertSettings.model_fields.keys() & given.keys()}
    if "shares" in found:
        found["shares"] = {
            key: found["shares"][key] for key in AlertShares.model_fields.keys() & found["shares"].keys()
        }
    return found


Section = TypeVar("Section", bound=BaseModel)


def _section(model: type[Section], name: str, given: Any) -> Section:
    """Return a section of a stored version. Raises SettingsError for what a newer version has written."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        keys = sorted({".".join((name, *map(str, item["loc"]))) for item in error.errors()})
        raise SettingsError(
            f"The settings in force in the store were written by another version of Foreshock; this one does not know "
            f"{', '.join(keys)}. Install the version of the monitor here, too."
        ) from None


def _sections(model: type[Section], name: str, tables: Sequence[Any]) -> tuple[Section, ...]:
    return tuple(_section(model, f"{name}[{place}]", table) for place, table in enumerate(tables, 1))
