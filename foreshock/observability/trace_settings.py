"""The settings of tracing. They are read by every command, so this file imports nothing of OpenTelemetry."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from foreshock.monitor.delivery.headers import headers_of
from foreshock.monitor.delivery.settings import Url


class TraceSettings(BaseModel):
    """Where `run`, `worker` and `monitor` send OpenTelemetry spans of stories (docs/tracing.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    url: Url | None = None
    """A collector that takes OTLP over HTTP, with its path: http://localhost:4318/v1/traces. Nothing is sent without
    one. It needs the extra `otel`."""
    share: float = Field(default=1.0, ge=0.0, le=1.0)
    """The share of stories that are traced, 0 to 1. All processes choose the same ones."""
    headers: dict[str, SecretStr] = {}
    """Headers of each request, such as an API key. ${NAME} in a value is the environment variable NAME."""
    headers_file: Path | None = None
    """Or a file with one "Name: value" a line. A relative path is taken from the settings file's folder."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url.get_secret_value())
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("expected http://host:4318/v1/traces")
        if "@" in parts.netloc:
            raise ValueError("a user or password in the URL is not sent; use headers")
        if parts.path in {"", "/"}:
            raise ValueError("the path is missing; most collectors take spans at /v1/traces")
        return url

    @model_validator(mode="after")
    def _can_be_used(self) -> TraceSettings:
        _ = self.sent_headers
        return self

    @cached_property
    def sent_headers(self) -> dict[str, str]:
        """The headers that are added to each request, read once. Raises ValueError."""
        return headers_of(self.headers, self.headers_file)
