"""The settings that shape rows and decisions. The store keeps each version of them under a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreshock.model.settings import ModelSettings
from foreshock.monitor.settings import TimeSettings, WatchlistSettings
from foreshock.monitor.topics.rules import TopicRule, default_rules, default_watchlist, load_watchlist
from foreshock.settings.models import FileSettings, KafkaSettings, Settings

LIVE_ONLY = {"silent_after", "max_ahead"}
"""Settings of [time] that say how a process reads live. What they decided is in the rows, so they may change."""


def topic_rules(settings: Settings) -> list[TopicRule]:
    """Return the rules in force: the defaults, then the watchlist, then the settings' own.

    Where several rules have one name, the last one counts. Raises `WatchlistError` for a watchlist file that cannot be
    read.
    """
    watchlist = settings.watchlist
    rules = [*default_rules(), *default_watchlist()] if watchlist.defaults else []
    if watchlist.file is not None:
        rules += load_watchlist(watchlist.file)
    return list({rule.name: rule for rule in (*rules, *settings.topics)}.values())


def shaping(settings: Settings) -> dict[str, Any]:
    """Return the settings that shape rows and decisions, as values for JSON.

    Two stores with the same ones decide the same.
    """
    kafka = settings.kafka
    return {
        "time": settings.time.model_dump(mode="json", exclude=LIVE_ONLY),
        "files": settings.files.model_dump(mode="json"),
        **({} if kafka is None else {"kafka": {"accept_scores": kafka.accept_scores, "map": kafka.map}}),
        "model": {"weights": str(settings.model.weights)},
        "alerts": settings.alerts.model_dump(mode="json"),
        "topics": [rule.model_dump(mode="json") for rule in topic_rules(settings)],
    }


def in_force(settings: Settings, body: Mapping[str, Any]) -> Settings:
    """Return these settings with the part that shapes rows replaced by `body`, which `shaping` wrote."""
    kafka = settings.kafka
    if kafka is not None and "kafka" in body:
        kafka = KafkaSettings.model_validate({**kafka.model_dump(), **body["kafka"]})
    return settings.model_copy(
        update={
            "time": TimeSettings.model_validate(
                {**settings.time.model_dump(mode="json", include=LIVE_ONLY), **body["time"]}
            ),
            "files": FileSettings.model_validate(body["files"]),
            "kafka": kafka,
            "model": settings.model.model_copy(update={"weights": ModelSettings(**body["model"]).weights}),
            "watchlist": WatchlistSettings(defaults=False),
            "topics": tuple(TopicRule.model_validate(rule) for rule in body["topics"]),
        }
    )
