"""Remember the secrets of the settings, so that no error, log or page shows one. `foreshock.ingest.redaction` hides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from foreshock.ingest.redaction import redacted, remember, remember_value, without_secrets

__all__ = ["redacted", "remember_given", "remember_settings", "without_secrets"]

_URLS = ("url", "resolved_url", "rss", "apprise_url", "proxy", "sasl_oauth_token_url")
_VALUES = (
    "key",
    "headers",
    "password",
    "secret",
    "secrets",
    "token",
    "ssl_password",
    "sasl_plain_password",
    "sasl_oauth_client_secret",
    "client_secret",
)


_ABOUT_ACCESS = re.compile("auth|token|key|secret|cookie|pass|session|signature", re.IGNORECASE)
LONG = 12
"""Letters from which on any value of a header is taken for a secret."""


def remember_given(sections: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Remember the secrets in values as they were given, before they are checked: the error may repeat them."""
    for name in names:
        for key, value in _leaves(sections.get(name)):
            if key in _URLS:
                remember(value)
            elif key in _VALUES and "${" not in value:  # a variable's value is remembered once it has been read
                _remember_header(value)


def remember_settings(settings: Any) -> None:
    """Remember the secrets that came from files. Those that cannot be read are reported where they are used."""
    remember(settings.store.url)
    for message in settings.messages:
        remember(message.target)
    for webhook in settings.webhooks:
        if webhook.secrets_file is not None:
            for line in webhook.secrets_file.read_text(encoding="utf-8").splitlines():
                remember_value(line)
    for receiver in (*settings.webhooks, *settings.receivers, settings.heartbeat, settings.traces):
        for name, value in receiver.sent_headers.items():
            _remember_header(value, name)
    for receiver in settings.receivers:
        remember_value(receiver.secret)
    for key in settings.api_keys:
        remember_value(key.secret())
    if settings.sign_in.on:
        with suppress(ValueError):
            remember_value(settings.sign_in.secret())
    if settings.kafka is not None:
        for name in ("ssl_password", "sasl_plain_password", "sasl_oauth_client_secret"):
            file = getattr(settings.kafka, f"{name}_file")
            if file is not None:
                try:
                    remember_value(file.read_text(encoding="utf-8"))
                except (OSError, UnicodeDecodeError):
                    continue


def _remember_header(value: str, name: str = "") -> None:
    """Remember a value, and what follows a scheme in it, as in `Bearer TOKEN`.

    A short word of a header that is not about access, such as `X-Team: desk`, is no secret. Hidden everywhere, it would
    make logs unreadable.
    """
    for part in (value.strip(), value.strip().rpartition(" ")[2]):
        if _ABOUT_ACCESS.search(name) or len(part) >= LONG or any(letter.isdigit() for letter in part):
            remember_value(part)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, key if key == "headers" else str(name).lower())
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner, key)
    elif isinstance(value, str):
        yield key, value
