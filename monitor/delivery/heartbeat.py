"""A dead man's switch: post to a URL while all is well. Whoever waits for the posts raises the alarm when none comes.

What watches Foreshock must not depend on it: a machine without power sends no alert. Services such as healthchecks.io,
Dead Man's Snitch and Opsgenie's heartbeats take such posts, and so does any receiver of your own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, field_validator, model_validator

from foreshock.ingest.connection import Resolver, resolve
from foreshock.monitor.delivery.headers import headers_of
from foreshock.monitor.delivery.notice import Receipt
from foreshock.monitor.delivery.post import SECONDS, Poster
from foreshock.monitor.delivery.settings import Url, check_posted
from foreshock.monitor.settings import Duration
from foreshock.monitor.units import SECOND

LEAST = 10 * SECOND


class HeartbeatSettings(BaseModel):
    """Where the process that decides posts while all is well (docs/metrics.md#heartbeat)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    url: Url | None = None
    """Where to post, http or https. Nothing is posted without one."""
    every: Duration = 60 * SECOND
    """How often, at least 10s. Let the receiver raise the alarm after three times as long."""
    headers: dict[str, SecretStr] = {}
    """More headers, such as an API key. ${NAME} in a value is the environment variable NAME."""
    headers_file: Path | None = None
    """Or a file with one "Name: value" a line. A relative path is taken from the settings file's folder."""
    allow_private: bool = False
    """Post even to addresses of your own network, or of this machine."""
    proxy: Url | None = None
    """An HTTP proxy (http://proxy:3128) to go through: it resolves the name, and may have a private address."""

    @field_validator("every")
    @classmethod
    def _is_not_a_flood(cls, every: int) -> int:
        if every < LEAST:
            raise ValueError("every must be at least 10s")
        return every

    @model_validator(mode="after")
    def _can_be_used(self) -> HeartbeatSettings:
        if self.url is not None:
            check_posted(self, self.url.get_secret_value(), "url")
        _ = self.sent_headers
        return self

    @cached_property
    def sent_headers(self) -> dict[str, str]:
        """The headers that are added to each request, read once. Raises ValueError."""
        return headers_of(self.headers, self.headers_file)


class Heartbeat:
    """Posts to the settings' URL. `resolver`: how names are resolved; tests replace it."""

    def __init__(self, settings: HeartbeatSettings, *, seconds: float = SECONDS, resolver: Resolver = resolve) -> None:
        if settings.url is None:
            raise ValueError("a heartbeat needs a url")
        self._url = httpx.URL(settings.url.get_secret_value())
        self._poster = Poster(settings, seconds=seconds, resolver=resolver)

    def beat(self, said: Mapping[str, Any]) -> Receipt:
        """Post `said` as JSON. Raises Undelivered where the answer is not a 2xx, or not there in time."""
        return self._poster.post(self._url, json.dumps(said, ensure_ascii=False).encode(), {})
