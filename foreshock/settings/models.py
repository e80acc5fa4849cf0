"""The settings, composed of the rooms' own models, and their reading: a flag before the environment before the file.

The one idea: all layers become one table of values, each with its origin, and are checked together. So an error can say
where the wrong value stands, and `config show` where each value comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from foreshock.ingest.kafka_settings import BrokerSettings
from foreshock.ingest.settings import ParseSettings, check_map
from foreshock.model.settings import ModelSettings
from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings
from foreshock.monitor.settings import (
    SECOND,
    AlertSettings,
    Duration,
    StoreSettings,
    TimeSettings,
    WatchlistSettings,
    format_duration,
    parse_duration,
)
from foreshock.monitor.topics.rules import (
    TopicRule,
    check_distinct,
)
from foreshock.observability.http import MetricsSettings
from foreshock.settings.redact import without_password


class FileSettings(BaseModel):
    """How feed files are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    accept_scores: bool = True
    """Take the scores that a record carries (negative, neutral, positive) instead of scoring its text again."""


class DashboardSettings(BaseModel):
    """The pages."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    external_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Where readers of alerts find the dashboard, such as https://foreshock.example.com: alerts link to it."""


class FeedSettings(BaseModel):
    """A feed that `foreshock run` reads: RSS or Atom, or a file of JSON lines that grows. One table each."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    rss: Annotated[str, PlainSerializer(without_password, when_used="json")] = ""
    """The URL of an RSS or Atom feed."""
    file: Path | None = None
    """Or a file of JSON lines, read on as it grows. A relative path is taken from the settings file's folder."""
    name: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    """An RSS feed's name in the store and in logs, instead of its URL. Changed, it is a new feed."""
    source: str = Field(default="", max_length=200)
    """Who publishes it; without this an item's own source, else the feed's title."""
    every: Duration = parse_duration("2m")
    """How often an RSS feed is asked. Longer than time.lateness, its stories come late."""
    language: str = Field(default="", max_length=35)
    """Language of an RSS feed that names none, or a wrong one: "de"."""
    topics: tuple[str, ...] = ()
    """Topics that all stories of an RSS feed have."""

    @model_validator(mode="after")
    def _is_one_feed(self) -> FeedSettings:
        if bool(self.rss) == (self.file is not None):
            raise ValueError("a feed needs one of rss (a URL) and file (a path)")
        if self.file is not None:
            if given := [name for name in ("name", "source", "every", "language", "topics") if self._says(name)]:
                raise ValueError(f"{given[0]} is for rss; the records of a file say it themselves")
            return self
        try:
            parts = urlsplit(self.rss)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("rss is no URL: expected https://host/path")
        if self.every < 10 * SECOND:
            raise ValueError("every must be 10s or more: be polite to the feed's server")
        return self

    @property
    def partition(self) -> str:
        """Its name in the store. Without password: whoever reads the store need not know it."""
        if self.file is not None:
            return self.file.name
        scheme, _, rest = self.rss.partition("://")
        host, slash, path = rest.partition("/")
        return f"rss:{self.name or scheme + '://' + host.rpartition('@')[2] + slash + path}"

    def _says(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)


class KafkaSettings(BrokerSettings):
    """A Kafka topic of news, which `run` reads beside the feeds, and workers share."""

    map: dict[str, str] = Field(default_factory=dict)
    """Which field of a record is which, where they have other names: { title = "payload.headline" }."""
    idle_after: Duration = parse_duration("2s")
    """A partition that is read to its end counts as idle after this, and time goes on without it."""
    max_wait: Duration = parse_duration("200ms")
    """How long a story may wait for others to be scored with it, while the encoder has nothing to do."""
    accept_scores: bool = False
    """Take the scores that a record carries instead of scoring its text: whoever writes the topic is then believed."""
    session_timeout: Duration = parse_duration("10s")
    """A worker that is not heard of for so long loses its partitions to the others."""

    @field_validator("map")
    @classmethod
    def _fields_exist(cls, value: dict[str, str]) -> dict[str, str]:
        return check_map(value)


class Settings(BaseModel):
    """All settings. One section each; `topics` are rules added to those of the watchlist and the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    store: StoreSettings = Field(default_factory=StoreSettings)
    time: TimeSettings = Field(default_factory=TimeSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    files: FileSettings = Field(default_factory=FileSettings)
    watchlist: WatchlistSettings = Field(default_factory=WatchlistSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    topics: tuple[TopicRule, ...] = ()
    feeds: tuple[FeedSettings, ...] = ()
    kafka: KafkaSettings | None = None
    webhooks: tuple[WebhookSettings, ...] = ()
    messages: tuple[MessageSettings, ...] = ()
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)

    @field_validator("time")
    @classmethod
    def _an_idle_feed_closes_its_last_bucket(cls, time: TimeSettings) -> TimeSettings:
        """While all is idle the clock moves time on for `stall_after`: for less, the last bucket would stay open."""
        least = time.bucket + time.lateness
        if time.stall_after < least:
            raise ValueError(
                f"stall_after must be bucket and lateness together or more ({format_duration(least)}), "
                f"not {format_duration(time.stall_after)}: else the last bucket before a pause would stay open"
            )
        return time

    @field_validator("feeds")
    @classmethod
    def _are_called_differently(cls, feeds: tuple[FeedSettings, ...]) -> tuple[FeedSettings, ...]:
        names = [feed.partition for feed in feeds]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two feeds are called {name}, and its name is a feed's place in the store")
        return feeds

    @field_validator("topics")
    @classmethod
    def _have_distinct_names(cls, rules: tuple[TopicRule, ...]) -> tuple[TopicRule, ...]:
        check_distinct(rules)
        return rules

    @model_validator(mode="after")
    def _receivers_have_distinct_names(self) -> Settings:
        names = [webhook.name for webhook in self.webhooks] + [message.name for message in self.messages]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two receivers (webhooks, messages) are called {twice!r}: rename one")
        return self

    def parsing(self, mapping: Mapping[str, str] | None = None) -> ParseSettings:
        """What reading a feed file needs of the settings; `mapping` is field -> column."""
        return ParseSettings(
            assume_zone=self.time.assume_zone, accept_scores=self.files.accept_scores, mapping=dict(mapping or {})
        )

    def parsing_kafka(self, mapping: Mapping[str, str] | None = None) -> ParseSettings:
        """What reading the Kafka topic's records needs of the settings; `mapping` goes before [kafka] map."""
        kafka = self.kafka
        return ParseSettings(
            assume_zone=self.time.assume_zone,
            accept_scores=kafka is not None and kafka.accept_scores,
            accept_counts_at=False,
            mapping=dict(mapping or (kafka.map if kafka is not None else {})),
        )
