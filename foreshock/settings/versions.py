"""The settings that shape rows and decisions, as the store numbers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreshock.model.settings import ModelSettings
from foreshock.monitor.settings import (
    TimeSettings,
    WatchlistSettings,
)
from foreshock.monitor.topics.rules import (
    TopicRule,
    default_rules,
    default_watchlist,
    load_watchlist,
)
from foreshock.settings.models import FileSettings, KafkaSettings, Settings


def topic_rules(settings: Settings) -> list[TopicRule]:
    """The rules in force: the defaults', the watchlist's, the settings' own; of one name the last of them stands.

    Raises `WatchlistError` for a watchlist file that cannot be read.
    """
    watchlist = settings.watchlist
    rules = [*default_rules(), *default_watchlist()] if watchlist.defaults else []
    if watchlist.file is not None:
        rules += load_watchlist(watchlist.file)
    return list({rule.name: rule for rule in (*rules, *settings.topics)}.values())


def shaping(settings: Settings) -> dict[str, Any]:
    """The settings that shape rows and decisions, as JSON-able values: two stores with the same ones decide alike."""
    kafka = settings.kafka
    return {
        "time": settings.time.model_dump(mode="json"),
        "files": settings.files.model_dump(mode="json"),
        **({} if kafka is None else {"kafka": {"accept_scores": kafka.accept_scores, "map": kafka.map}}),
        "model": {"weights": str(settings.model.weights)},
        "alerts": settings.alerts.model_dump(mode="json"),
        "topics": [rule.model_dump(mode="json") for rule in topic_rules(settings)],
    }


def in_force(settings: Settings, body: Mapping[str, Any]) -> Settings:
    """These settings, but for what shapes rows, which is taken from a version that `shaping` wrote."""
    kafka = settings.kafka
    if kafka is not None and "kafka" in body:
        kafka = KafkaSettings.model_validate({**kafka.model_dump(), **body["kafka"]})
    return settings.model_copy(
        update={
            "time": TimeSettings.model_validate(body["time"]),
            "files": FileSettings.model_validate(body["files"]),
            "kafka": kafka,
            "model": settings.model.model_copy(update={"weights": ModelSettings(**body["model"]).weights}),
            "watchlist": WatchlistSettings(defaults=False),
            "topics": tuple(TopicRule.model_validate(rule) for rule in body["topics"]),
        }
    )
