"""Define the settings of deliveries. A receiver's secrets, and URLs that may hold tokens, are never shown."""

from __future__ import annotations

import base64
import binascii
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, model_validator

from foreshock.ingest import redaction
from foreshock.ingest.addresses import literal_refusal
from foreshock.monitor.delivery.headers import headers_of, read

SECRET_BYTES = range(24, 65)
"""The length of a secret in bytes, as the Standard Webhooks specification requires."""

MESSAGE_SCHEMES = {"slack": "Slack", "workflow": "Teams", "workflows": "Teams", "mailto": "e-mail", "mailtos": "e-mail"}
"""The service of each scheme that an apprise URL may have."""

TEAMS_HOSTS = (".logic.azure.com", ".logic.azure.us", ".powerplatform.com", ".powerplatform.us", ".webhook.office.com")
"""The hosts at which Teams accepts messages. apprise resolves names itself, so other hosts are refused."""

SLACK_HOST = "hooks.slack.com"
"""The host of Slack's incoming webhooks."""
_OF_SLACK = re.compile(r"(?i)https://hooks\.slack\.com/services/(\w{8,})/(\w{8,})/(\w{20,})/?")

Url = Annotated[SecretStr, PlainSerializer(lambda url: redaction.site(url.get_secret_value()), when_used="json")]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class WebhookSettings(BaseModel):
    """A receiver of alerts as signed JSON (docs/webhooks.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    name: Name
    """What this receiver is called in lists and errors."""
    url: Url
    """Where alerts are posted, http or https."""
    secrets: Secrets = ()
    """What bodies are signed with: base64 of 24 to 64 bytes, with or without whsec_ before it. Several while you change
    to a new one: each signs."""
    secrets_file: Path | None = None
    """Or a file with one secret a line. A relative path is taken from the settings file's folder."""
    version: Literal[1, 2] = 2
    """2: one message for each change of an incident. 1: one for each alert, as before incidents."""
    allow_private: bool = False
    """Send even to addresses of your own network, or of this machine."""
    proxy: Url | None = None
    """An HTTP proxy (http://proxy:3128) to go through: it resolves the name, and may have a private address."""
    headers: dict[str, SecretStr] = {}
    """More headers, such as a gateway's token. ${NAME} in a value is the environment variable NAME."""
    headers_file: Path | None = None
    """Or a file with one "Name: value" a line. A relative path is taken from the settings file's folder."""

    @model_validator(mode="after")
    def _can_be_used(self) -> WebhookSettings:
        try:
            host = check_posted(self, self.url.get_secret_value(), "url")
            if host == SLACK_HOST:
                raise ValueError(f"url: {host} takes no webhooks of Foreshock; write it as apprise_url of [[messages]]")
            _ = self.sent_headers
            if not self.keys:
                raise ValueError("has no secret: set secrets or secrets_file")
        except ValueError as error:
            raise ValueError(f"webhook {self.name!r}: {error}") from None
        return self

    @cached_property
    def keys(self) -> list[bytes]:
        """The secrets as bytes, read once: what was checked is what signs, in a `model_copy` too. Raises ValueError."""
        texts = [(secret.get_secret_value(), f"secret {n}") for n, secret in enumerate(self.secrets, 1)]
        if self.secrets_file is not None:
            lines = read(self.secrets_file).splitlines()
            texts += [(line, f"{self.secrets_file}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
        return [_key(text.strip(), where) for text, where in texts]

    @cached_property
    def sent_headers(self) -> dict[str, str]:
        """The headers that are added to each request, read once. Raises ValueError."""
        return headers_of(self.headers, self.headers_file)


class MessageSettings(BaseModel):
    """A receiver of alerts as messages for people: Slack, Teams or e-mail, named by an apprise URL."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    name: Name
    """What this receiver is called in lists and errors."""
    apprise_url: SecretStr | None = None
    """slack://..., https://hooks.slack.com/services/..., workflows://... (Teams), mailto://... or mailtos://...; see
    apprise's documentation."""
    apprise_url_file: Path | None = None
    """Or a file that holds it. A relative path is taken from the settings file's folder."""

    @model_validator(mode="after")
    def _can_be_used(self) -> MessageSettings:
        try:
            if (self.apprise_url is None) == (self.apprise_url_file is None):
                raise ValueError("needs one of apprise_url and apprise_url_file")
            _check_message_url(self.target)
        except ValueError as error:
            raise ValueError(f"message {self.name!r}: {error}") from None
        return self

    @cached_property
    def target(self) -> str:
        """The apprise URL, read once. Raises ValueError."""
        if self.apprise_url is not None:
            return _of_a_service(self.apprise_url.get_secret_value().strip())
        assert self.apprise_url_file is not None
        return _of_a_service(read(self.apprise_url_file).strip())


def _of_a_service(url: str) -> str:
    """Return the apprise URL of the address that Slack itself shows for an incoming webhook; others as they are."""
    found = _OF_SLACK.fullmatch(url)
    return url if found is None else f"slack://{found[1]}/{found[2]}/{found[3]}"


def _check_message_url(url: str) -> None:
    scheme, sign, rest = url.partition("://")
    if rest.lower().partition("/")[0] == SLACK_HOST:
        raise ValueError(f"apprise_url: expected https://{SLACK_HOST}/services/ and three parts, as Slack shows it")
    if not sign or scheme.lower() not in MESSAGE_SCHEMES:
        known = ", ".join(f"{scheme}:// ({what})" for scheme, what in MESSAGE_SCHEMES.items() if scheme != "workflow")
        # Without a scheme, its beginning is a token. Show only what is surely the name of a service.
        begins = f"begins with {scheme!r}" if sign and re.fullmatch("[a-z]{2,10}", scheme) else "has no service"
        raise ValueError(f"apprise_url {begins}: expected one of {known}")
    parts = urlsplit(url)
    if re.search(r"(?i)[?&]\s*(template|redirects?)\s*=", unquote(url)):
        raise ValueError("apprise_url: templates and redirects are not allowed; remove them")
    host = (parts.hostname or "").lower()
    if MESSAGE_SCHEMES[scheme.lower()] == "Teams" and not host.endswith(TEAMS_HOSTS):
        raise ValueError(
            f"apprise_url: {host!r} is not a host of Teams ({', '.join('*' + end for end in TEAMS_HOSTS)}); "
            "for other receivers use [[webhooks]]"
        )


class Posted(Protocol):
    """What the settings of everything that is posted to have in common."""

    @property
    def allow_private(self) -> bool: ...
    @property
    def proxy(self) -> SecretStr | None: ...
    @property
    def sent_headers(self) -> dict[str, str]: ...


def check_posted(settings: Posted, url: str, key: str) -> str:
    """Check a URL that is posted to, and the proxy. Return the URL's host. Raises ValueError."""
    parts = _parsed(url, ("http", "https"), key)
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise ValueError(
            f"{key}: a user or password in the URL is not sent; remove it and use headers or the signature"
        )
    if not settings.allow_private and (kind := literal_refusal(host)):
        raise ValueError(f"{key}: {host} is {kind}; to allow it, set allow_private = true")
    if settings.proxy is not None:
        _parsed(settings.proxy.get_secret_value(), ("http",), "proxy")
    return host.lower()


def _parsed(url: str, schemes: tuple[str, ...], key: str) -> SplitResult:
    import httpx  # the sender uses its parser, so it must accept the URL too

    try:
        parts = urlsplit(url)
        port = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise ValueError(f"{key}: cannot be read as a URL") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(f"{key}: expected {' or '.join(scheme + '://' for scheme in schemes)} and a host")
    return parts


def _key(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where} is not base64; to create one, run: openssl rand -base64 32") from None
    if len(key) not in SECRET_BYTES:
        raise ValueError(
            f"{where} has {len(key)} bytes, and needs {SECRET_BYTES[0]} to {SECRET_BYTES[-1]}; to create one, run: "
            "openssl rand -base64 32"
        )
    return key
