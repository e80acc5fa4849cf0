"""The models of the settings, one for each section. `foreshock.settings.load` reads them.

The docstring under a field is the documentation of the setting: `config init` and docs/settings.md show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, field_validator, model_validator

from foreshock.dashboard.settings import DashboardSettings
from foreshock.dashboard.sign_in import SignInSettings
from foreshock.ingest.addresses import literal_refusal
from foreshock.ingest.kafka_settings import BrokerSettings
from foreshock.ingest.settings import IngestSettings, ParseSettings, check_map
from foreshock.model.settings import ModelSettings
from foreshock.monitor.delivery.heartbeat import HeartbeatSettings
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
from foreshock.monitor.delivery.route_settings import DigestSettings, QuietHoursSettings, RouteSettings, check_names
from foreshock.monitor.delivery.settings import MessageSettings, Url, WebhookSettings
from foreshock.monitor.delivery.time_intervals import TimeIntervalSettings
from foreshock.monitor.settings import (
    AlertSettings,
    Duration,
    LimitSettings,
    SourceSettings,
    StoreSettings,
    TimeSettings,
    WatchlistSettings,
    format_duration,
    parse_duration,
)
from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.monitor.topics.rules import TopicRule, check_distinct
from foreshock.monitor.units import SECOND
from foreshock.observability.http import MetricsSettings
from foreshock.observability.log import LogSettings
from foreshock.observability.trace_settings import TraceSettings
from foreshock.serving.settings import KeySettings, ServeSettings
from foreshock.settings.redact import redacted


class FileSettings(BaseModel):
    """How Foreshock reads feed files."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    accept_scores: bool = True
    """Use the scores that a record carries (negative, neutral, positive) instead of scoring its text."""


class FeedSettings(BaseModel):
    """A feed that `foreshock run` reads: RSS or Atom, or a growing file of JSON lines. One table for each feed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    rss: Annotated[str, PlainSerializer(redacted, when_used="json")] = Field(default="", repr=False)
    """The URL of an RSS or Atom feed."""
    file: Path | None = None
    """Or a file of JSON lines, read as it grows. A relative path starts from the folder of the settings file."""
    name: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    """The name of an RSS feed in the store and in logs, instead of its URL. A feed with a new name is a new feed."""
    source: str = Field(default="", max_length=200)
    """Who publishes the feed. Without it: the source that an item names, otherwise the feed's title."""
    every: Duration = parse_duration("2m")
    """How often to ask an RSS feed. If this is longer than time.lateness, stories of the feed come late."""
    language: str = Field(default="", max_length=35)
    """The language of an RSS feed that names none or a wrong one, such as "de"."""
    topics: tuple[str, ...] = ()
    """Topics that every story of an RSS feed gets."""
    allow_private: bool = False
    """Ask an RSS feed even at addresses of your own network, or of this machine."""
    user_agent: str = Field(default="", max_length=300, pattern=r"^[\x20-\x7e]*$")
    """What an RSS feed's server sees as User-Agent. Some ask for a contact: "Example Desk desk@example.com"."""
    headers: dict[str, SecretStr] = {}
    """More headers for an RSS feed, such as an API key. They are not sent to other servers after a redirect."""
    proxy: Url | None = None
    """An HTTP proxy (http://proxy:3128) for an RSS feed: it resolves the name, and may have a private address."""

    @model_validator(mode="after")
    def _is_one_feed(self) -> FeedSettings:
        if bool(self.rss) == (self.file is not None):
            raise ValueError("a feed needs one of rss (a URL) and file (a path)")
        if self.file is not None:
            if given := [
                name
                for name in (
                    "name",
                    "source",
                    "every",
                    "language",
                    "topics",
                    "allow_private",
                    "proxy",
                    "user_agent",
                    "headers",
                )
                if self._says(name)
            ]:
                raise ValueError(f"{given[0]} is for rss feeds only; the records of a file carry their own")
            return self
        try:
            parts = urlsplit(self.rss)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("rss is not a URL: expected https://host/path")
        if not self.allow_private and self.proxy is None and (kind := literal_refusal(parts.hostname or "")):
            raise ValueError(f"rss: {parts.hostname} is {kind}; to allow it, set allow_private = true")
        if self.proxy is not None and not re.match(r"http://[^/?#]+", self.proxy.get_secret_value()):
            raise ValueError("proxy: expected http:// and a host")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e]+", value.get_secret_value()):
                raise ValueError(f"headers: {name[:60]!r} is not a header: write a name and one line of ASCII text")
            if name.lower() in {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}:
                raise ValueError(f"headers: {name} is set by Foreshock; leave it out")
        if self.every < 10 * SECOND:
            raise ValueError("every must be 10s or more: be polite to the feed's server")
        return self

    @property
    def partition(self) -> str:
        """The feed's name in the store, without passwords and tokens: readers of the store need not know them."""
        if self.file is not None:
            return self.file.name
        return f"rss:{self.name or redacted(self.rss).replace('://***@', '://')}"

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers of `user_agent` and `headers`."""
        sent = {name: value.get_secret_value() for name, value in self.headers.items()}
        return sent | ({"User-Agent": self.user_agent} if self.user_agent else {})

    def _says(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)


class KafkaSettings(BrokerSettings):
    """A Kafka topic of news. `run` reads it beside the feeds; workers share its partitions."""

    map: dict[str, str] = Field(default_factory=dict)
    """Where records name their fields differently: { title = "payload.headline" }."""
    idle_after: Duration = parse_duration("2s")
    """How long a partition must be at its end to count as idle. Event time does not wait for an idle partition."""
    max_wait: Duration = parse_duration("200ms")
    """How long an idle encoder waits for more stories, to score them in one batch."""
    accept_scores: bool = False
    """Use the scores that a record carries instead of scoring its text: everyone who writes the topic is trusted."""
    session_timeout: Duration = parse_duration("10s")
    """How long a worker may stay silent before other workers take over its partitions."""

    @field_validator("map")
    @classmethod
    def _fields_exist(cls, value: dict[str, str]) -> dict[str, str]:
        return check_map(value)


class Settings(BaseModel):
    """All settings, one field for each section of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    store: StoreSettings = Field(default_factory=StoreSettings)
    time: TimeSettings = Field(default_factory=TimeSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    files: FileSettings = Field(default_factory=FileSettings)
    watchlist: WatchlistSettings = Field(default_factory=WatchlistSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    sign_in: SignInSettings = Field(default_factory=SignInSettings)
    topics: tuple[TopicRule, ...] = ()
    critical: tuple[CriticalRule, ...] = (CriticalRule(),)
    sources: tuple[SourceSettings, ...] = ()
    feeds: tuple[FeedSettings, ...] = ()
    kafka: KafkaSettings | None = None
    webhooks: tuple[WebhookSettings, ...] = ()
    messages: tuple[MessageSettings, ...] = ()
    receivers: tuple[ReceiverSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    time_intervals: tuple[TimeIntervalSettings, ...] = ()
    quiet_hours: tuple[QuietHoursSettings, ...] = ()
    digests: tuple[DigestSettings, ...] = ()
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    heartbeat: HeartbeatSettings = Field(default_factory=HeartbeatSettings)
    logs: LogSettings = Field(default_factory=LogSettings)
    traces: TraceSettings = Field(default_factory=TraceSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    api_keys: tuple[KeySettings, ...] = ()

    @field_validator("time")
    @classmethod
    def _an_idle_feed_closes_its_last_bucket(cls, time: TimeSettings) -> TimeSettings:
        """While every source is idle, the clock moves time on for `stall_after`. That must close the last bucket."""
        least = time.bucket + time.lateness
        if time.stall_after < least:
            raise ValueError(
                f"stall_after must be at least bucket plus lateness ({format_duration(least)}), "
                f"not {format_duration(time.stall_after)}; otherwise the last bucket before a pause stays open"
            )
        return time

    @field_validator("feeds")
    @classmethod
    def _are_called_differently(cls, feeds: tuple[FeedSettings, ...]) -> tuple[FeedSettings, ...]:
        names = [feed.partition for feed in feeds]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two feeds are called {name}; each feed needs its own name in the store")
        return feeds

    @field_validator("sources")
    @classmethod
    def _are_named_once(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        names = [source.name for source in sources]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the source {twice!r} has two tables; keep one of them")
        return sources

    @field_validator("topics")
    @classmethod
    def _have_distinct_names(cls, rules: tuple[TopicRule, ...]) -> tuple[TopicRule, ...]:
        check_distinct(rules)
        return rules

    @model_validator(mode="after")
    def _receivers_have_distinct_names(self) -> Settings:
        names = self.receiver_names
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two receivers (webhooks, messages, receivers) are called {twice!r}; rename one")
        return self

    @model_validator(mode="after")
    def _routes_name_what_there_is(self) -> Settings:
        old = [webhook.name for webhook in self.webhooks if webhook.version == 1]
        services = [receiver.name for receiver in self.receivers]
        check_names(
            *(self.routes, self.quiet_hours, self.digests),
            intervals=[interval.interval() for interval in self.time_intervals],
            receivers=self.receiver_names,
            digest_receivers=[name for name in self.receiver_names if name not in {*old, *services}],
            old=old,
        )
        return self

    @model_validator(mode="after")
    def _sign_in_can_be_used(self) -> Settings:
        acts = self.dashboard.allow_anonymous_actions
        self.sign_in.check(self.dashboard.external_url, anonymous_actions=acts)
        return self

    @property
    def receiver_names(self) -> list[str]:
        """The names of everything that alerts are sent to."""
        names = [webhook.name for webhook in self.webhooks] + [message.name for message in self.messages]
        return names + [receiver.name for receiver in self.receivers]

    def parsing(self, mapping: Mapping[str, str] | None = None) -> ParseSettings:
        """Return the settings for reading a feed file. `mapping`: field -> column."""
        return ParseSettings(
            assume_zone=self.time.assume_zone,
            encoding=self.ingest.encoding,
            date_format=self.ingest.date_format,
            date_only=self.ingest.date_only,
            accept_scores=self.files.accept_scores,
            source_bytes=self.limits.source_bytes,
            guess_language=self.ingest.guess_language,
            mapping=dict(mapping or {}),
        )

    def parsing_kafka(self, mapping: Mapping[str, str] | None = None) -> ParseSettings:
        """Return the settings for reading the Kafka topic. `mapping` replaces `[kafka] map`."""
        kafka = self.kafka
        return ParseSettings(
            assume_zone=self.time.assume_zone,
            date_format=self.ingest.date_format,
            date_only=self.ingest.date_only,
            accept_scores=kafka is not None and kafka.accept_scores,
            accept_counts_at=False,
            feed="" if kafka is None else kafka.topic,
            source_bytes=self.limits.source_bytes,
            guess_language=self.ingest.guess_language,
            mapping=dict(mapping or (kafka.map if kafka is not None else {})),
        )
