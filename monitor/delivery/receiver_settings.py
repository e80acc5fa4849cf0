"""Define the settings of on-call services and of other receivers that expect JSON of their own: `[[receivers]]`."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Literal

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from foreshock.monitor.delivery.headers import from_environment, headers_of, read
from foreshock.monitor.delivery.settings import Name, Url, check_posted
from foreshock.monitor.delivery.template import Template, fill_url

Kind = Literal["pagerduty", "opsgenie", "alertmanager", "json"]

PUBLIC_URLS = {
    "pagerduty": "https://events.pagerduty.com/v2/enqueue",
    "opsgenie": "https://api.opsgenie.com/v2/alerts",
}
"""Where services are that have one address for all. The European ones have another, which `url` names."""

SAMPLE_INCIDENT = "00000000-0000-0000-0000-000000000000"


class ReceiverSettings(BaseModel):
    """A receiver that expects JSON of its own: PagerDuty, Opsgenie, Alertmanager, or JSON by a template."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    name: Name
    """What this receiver is called in lists and errors."""
    kind: Kind
    """pagerduty (Events API v2), opsgenie (and compatible), alertmanager (/api/v2/alerts), or json (by template)."""
    url: Url | None = None
    """Where it is, http or https. PagerDuty and Opsgenie need it only if it is not the public address. With json,
    {incident} stands for the incident's id."""
    key: SecretStr | None = None
    """PagerDuty's integration key, or Opsgenie's API key. ${NAME} is the environment variable NAME."""
    key_file: Path | None = None
    """Or a file that holds it. A relative path is taken from the settings file's folder."""
    template: str = ""
    """The JSON that is sent to a receiver of kind json, with fields of the alert in braces: {"text": "{sentence}"}."""
    template_file: Path | None = None
    """Or a file that holds it."""
    resolved_url: Url | None = None
    """Where json is posted when an alert resolves. Default: url."""
    resolved_template: str = ""
    """The JSON that is sent when an alert resolves. Default: template."""
    headers: dict[str, SecretStr] = {}
    """More headers, such as a gateway's token. ${NAME} in a value is the environment variable NAME."""
    headers_file: Path | None = None
    """Or a file with one "Name: value" a line. A relative path is taken from the settings file's folder."""
    allow_private: bool = False
    """Send even to addresses of your own network, or of this machine."""
    proxy: Url | None = None
    """An HTTP proxy (http://proxy:3128) to go through: it resolves the name, and may have a private address."""

    @model_validator(mode="after")
    def _can_be_used(self) -> ReceiverSettings:
        try:
            for name, key in ((self.address(), "url"), (self.resolved_address(), "resolved_url")):
                check_posted(self, fill_url(name, SAMPLE_INCIDENT), key)
            _ = self.sent_headers
            self._check_key()
            self._check_templates()
        except ValueError as error:
            raise ValueError(f"receiver {self.name!r}: {error}") from None
        return self

    def address(self) -> str:
        """Return the URL. Raises ValueError."""
        if self.url is not None:
            return self.url.get_secret_value()
        if self.kind in PUBLIC_URLS:
            return PUBLIC_URLS[self.kind]
        raise ValueError(f"needs a url: {'http://alertmanager:9093' if self.kind == 'alertmanager' else 'https://...'}")

    def resolved_address(self) -> str:
        """Return the URL to which the end of an alert is posted, as far as the settings say it. Raises ValueError."""
        return self.address() if self.resolved_url is None else self.resolved_url.get_secret_value()

    @cached_property
    def secret(self) -> str:
        """The key, or an empty text, read once. Raises ValueError."""
        if self.key is not None:
            return from_environment(self.key.get_secret_value().strip(), "key")
        return "" if self.key_file is None else read(self.key_file).strip()

    @cached_property
    def sent_headers(self) -> dict[str, str]:
        """The headers that are added to each request, read once. Raises ValueError."""
        return headers_of(self.headers, self.headers_file)

    @cached_property
    def firing_template(self) -> Template:
        """The template for everything but the end, read once. Raises ValueError."""
        if self.template_file is not None:
            return Template(read(self.template_file), f"template_file {self.template_file}")
        return Template(self.template, "template")

    @cached_property
    def ending_template(self) -> Template:
        """The template for the end of an alert. Raises ValueError."""
        return Template(self.resolved_template, "resolved_template") if self.resolved_template else self.firing_template

    def _check_key(self) -> None:
        needed = self.kind in ("pagerduty", "opsgenie")
        given = (self.key is not None) + (self.key_file is not None)
        if not needed:
            if given:
                raise ValueError(f"key: {self.kind} has none; a token belongs in headers")
            return
        if given != 1:
            raise ValueError("needs one of key and key_file")
        secret, where = self.secret, "key" if self.key is not None else f"key_file {self.key_file}"
        if self.kind == "pagerduty" and not re.fullmatch(r"[A-Za-z0-9]{32}", secret):
            raise ValueError(
                f"{where}: a PagerDuty integration key has 32 letters and digits, and this has {len(secret)} characters"
            )
        if self.kind == "opsgenie" and not re.fullmatch(r"[\x21-\x7e]{16,200}", secret):
            raise ValueError(f"{where}: an API key of Opsgenie has 36 characters, and this has {len(secret)}")

    def _check_templates(self) -> None:
        given = [
            name for name in ("template", "template_file", "resolved_template", "resolved_url") if self._says(name)
        ]
        if self.kind != "json":
            if given:
                raise ValueError(f"{given[0]}: is for kind json only")
            return
        if self._says("template") == self._says("template_file"):
            raise ValueError("kind json needs one of template and template_file")
        _ = self.firing_template, self.ending_template

    def _says(self, name: str) -> bool:
        return bool(getattr(self, name))


def service_url(address: str, path: str) -> httpx.URL:
    """Return an address with a path below it, without its query. `path` is quoted already."""
    url = httpx.URL(address)
    return url.copy_with(raw_path=url.raw_path.partition(b"?")[0].rstrip(b"/") + path.encode("ascii"))
