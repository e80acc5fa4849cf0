"""The settings, composed of the rooms' own models, and their reading: a flag before the environment before the file.

The one idea: all layers become one table of values, each with its origin, and are checked together. So an error can say
where the wrong value stands, and `config show` where each value comes from.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, field_validator, model_validator

from foreshock.ingest.brokers import BrokerSettings
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
    default_rules,
    default_watchlist,
    load_watchlist,
)
from foreshock.serving import MetricsSettings

DEFAULT_FILE = Path("foreshock.toml")
PREFIX = "FORESHOCK_"
LISTS = ("topics", "feeds", "webhooks", "messages")
"""Sections of which there may be several: `[[topics]]`."""
_BESIDE_THE_FILE = (
    ("store", "password_file", ()),
    ("watchlist", "file", ()),
    ("model", "weights", ("default", "permissive")),
    ("feeds", "file", ()),
    *(("kafka", f"{name}file", ()) for name in ("ssl_ca", "ssl_cert", "ssl_key", "ssl_crl", "ssl_password_")),
    *(
        ("kafka", f"{name}_file", ())
        for name in ("sasl_plain_password", "sasl_oauth_token", "sasl_oauth_client_secret")
    ),
    ("webhooks", "secrets_file", ()),
    ("messages", "apprise_url_file", ()),
)
"""Paths that lie beside the settings file, and the texts in their place that are none."""
_SECRET = ("store", "feeds", "kafka", "webhooks", "messages")
"""Sections whose values may hold secrets: an error never repeats them."""
_NOT_SETTINGS = {"FORESHOCK_TRACEBACK"}


class SettingsError(Exception):
    """The settings cannot be read or make no sense; the text names the file or variable, the key and the remedy."""

    exit_code: ClassVar[int] = 2


class FileSettings(BaseModel):
    """How feed files are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accept_scores: bool = True
    """Take the scores that a record carries (negative, neutral, positive) instead of scoring its text again."""


class DashboardSettings(BaseModel):
    """The pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    external_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Where readers of alerts find the dashboard, such as https://foreshock.example.com: alerts link to it."""


def _without_password(url: str) -> str:
    return redacted(url)


class FeedSettings(BaseModel):
    """A feed that `foreshock run` reads: RSS or Atom, or a file of JSON lines that grows. One table each."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rss: Annotated[str, PlainSerializer(_without_password, when_used="json")] = ""
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

    model_config = ConfigDict(extra="forbid", frozen=True)

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


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each dotted key that somebody set, who: `foreshock.toml`, `FORESHOCK_STORE__URL`, `--store`."""

    settings: Settings
    origins: dict[str, str]
    file: Path | None


def load(
    file: Path | None = None, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Loaded:
    """Read and check the settings.

    `file`: a settings file that must exist; None takes ./foreshock.toml if it is there. `flags`: values by dotted key,
    such as `{"store.url": ...}`; None means not given. Raises `SettingsError`.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    if file is not None:
        values = _read_file(file)
        origins = dict.fromkeys(_leaves(values), str(file))
    for name, value in sorted((os.environ if environ is None else environ).items()):
        if (key := _key_of_variable(name)) is not None and value.strip():
            _put(values, origins, key, _value_of_variable(name, value), name)
    for key, value in (flags or {}).items():
        if value is not None:
            _put(values, origins, key, value, "--" + key.partition(".")[0])
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(values, origins, item) for item in error.errors())) from None
    return Loaded(settings, origins, file)


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


def redacted(url: str) -> str:
    """The URL without its password, for showing."""
    scheme, sign, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        return url  # a file: an @ or : in it is part of its name
    # A password may hold an unescaped @ or /: the last @ before the query ends it.
    place, question, query = rest.partition("?")
    user, at, host = place.rpartition("@")
    if at and ":" in user:
        user = user.partition(":")[0] + ":***"
    query = re.sub(r"(?i)((?:^|&)[^=&]*password=)[^&]*", r"\1***", query)
    return f"{scheme}{sign}{user}{at}{host}{question}{query}"


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section's name and model, those that are lists of tables (`LISTS`) among them."""
    for name in Settings.model_fields:
        model = _model_at((name,))
        assert model is not None
        yield name, model


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file. Write one with: foreshock config init {file}") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 (byte {error.start}).") from None
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+)", str(error))
        what = re.sub(r"\s*\(at [^)]*\)", "", str(error))
        raise SettingsError(f"{file}{', line ' + where[1] if where else ''}: not TOML: {what}.") from None
    # What a file names lies beside it, wherever the command is run.
    for section, key, names in _BESIDE_THE_FILE:
        found = values.get(section)
        for table in found if isinstance(found, list) else [found]:
            if isinstance(table, dict) and isinstance(table.get(key), str) and table[key] not in names:
                table[key] = str(file.parent / Path(table[key]).expanduser())
    return values


def _key_of_variable(name: str) -> str | None:
    """The dotted key that a variable sets; None if it is no setting."""
    if not name.upper().startswith(PREFIX) or name.upper() in _NOT_SETTINGS:
        return None
    rest = name[len(PREFIX) :].lower()
    if "__" in rest or rest in Settings.model_fields:
        return rest.replace("__", ".")
    section, _, key = rest.partition("_")
    if section in Settings.model_fields:
        raise SettingsError(f"{name} is no setting; did you mean {PREFIX}{section.upper()}__{key.upper()}?")
    return None


def _value_of_variable(name: str, value: str) -> Any:
    if value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise SettingsError(f"{name}: begins like JSON, but is none: {error}.") from None


def _put(values: dict[str, Any], origins: dict[str, str], key: str, value: Any, origin: str) -> None:
    *parents, last = key.split(".")
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{origin}: {parent} holds a value elsewhere and cannot have settings below it.")
    table[last] = value
    origins[key] = origin


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _sentence(values: Mapping[str, Any], origins: Mapping[str, str], error: Any) -> str:
    path: tuple[str | int, ...] = error["loc"]
    key = _dotted(path)
    origin = _origin(path, origins)
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        model = _model_at(path[:-1])
        known = list(model.model_fields) if model else []
        near = get_close_matches(str(path[-1]), known, 1)
        if not near and len(path) == 1:
            # A key that was written above the sections belongs into one of them.
            near = [f"{name}.{path[0]}" for name, section in sections() if path[0] in section.model_fields]
        meant = f"did you mean {_dotted((*path[:-1], near[0]))}?" if near else f"Known here: {', '.join(known)}."
        return f"{origin}: unknown setting {key}; {meant}"
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    secret = path[:1] and path[0] in _SECRET
    shown = "" if secret or isinstance(error["input"], (dict, list)) else f" = {error['input']!r}"
    return f"{origin}: {key}{shown}: {message}." if key else f"{origin}: {message}."


def _dotted(path: tuple[str | int, ...]) -> str:
    """`topics[2].names`, counting from 1 as people do."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _origin(path: tuple[str | int, ...], origins: Mapping[str, str]) -> str:
    names = [part for part in path if isinstance(part, str)]
    for length in range(len(names), 0, -1):
        key = ".".join(names[:length])
        for candidate, origin in origins.items():
            if candidate == key or candidate.startswith(key + "."):
                return origin
    return "settings"


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] = Settings
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        found = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)]
        if not found:
            return None
        model = found[0]
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
