"""The settings of one dashboard. `serve` passes them to the server's process in one environment variable.

A command line would show the store's password to every user of the machine. Only its owner sees an environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from foreshock.dashboard.sign_in import SignInSettings
from foreshock.ingest.settings import zone
from foreshock.model.settings import ModelSettings

VARIABLE = "FORESHOCK_DASHBOARD"
PORT = 8501
BROWSER = "browser"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names that the dashboard always answers to: no other site can have them."""
_PATH = re.compile(r"(/[A-Za-z0-9_-]{1,100}){0,5}/?")
"""The path of `external_url`. It becomes part of a script in the page, so nothing else is admitted."""
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def _host(value: str) -> str:
    name = value.strip().strip("[]").lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{value!r} is not the name or address of a host: write it without http://, port and path, such as "
                "foreshock.example.com; name each host, because a * would admit every site"
            ) from None
    return name


def _url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or any(c.isspace() for c in value):
        raise ValueError("expected http:// or https:// and a host, without a user, such as https://desk.example.com")
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        raise ValueError(
            "expected a path of letters, digits, - and _ or none, such as https://example.com/foreshock, and nothing "
            "behind it"
        )
    _host(parts.hostname or "")
    return value


def _timezone(value: str) -> str:
    return value if value == BROWSER else (zone(value), value)[1]


class DashboardSettings(BaseModel):
    """The dashboard: under which names it is reached, and whether a visitor may act."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    external_url: Annotated[str | None, AfterValidator(_url)] = None
    """The dashboard's public URL, such as https://foreshock.example.com or https://example.com/foreshock. Alerts link
    to it, and the dashboard answers to its name, below its path."""
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(default=(), max_length=100)
    """Further names and addresses under which browsers reach the dashboard, without port. It answers to no others,
    except to localhost, 127.0.0.1, ::1, and an address given with --host."""
    allow_anonymous_actions: bool = False
    """Let anyone who reaches the pages acknowledge alerts and silence topics, although other machines can reach them.
    Without it, such pages are read-only. Set it where a proxy with a login stands before the dashboard. With
    [sign_in], the dashboard itself knows who acts."""
    timezone: Annotated[str, AfterValidator(_timezone)] = BROWSER
    """The zone in which pages show times, by its IANA name, such as Europe/Berlin. "browser" is that of each viewer."""
    exchange: str | None = None
    """The stock exchange whose sessions and holidays the charts show, by its code: XNYS, XLON, XETR, XTKS ..."""


class ServeSettings(DashboardSettings):
    """One dashboard: the store it reads, where it listens, and the settings of `[dashboard]`."""

    store: str = Field(repr=False)
    """URL of the store."""
    host: str = "127.0.0.1"
    port: int = PORT
    model: ModelSettings = ModelSettings()
    """`[model]`: the weights that say which words matter, and whose card and licence *Health* shows."""
    watchlist_file: Path | None = None
    """`[watchlist] file`, to which a new name is added; None: there is none."""
    sign_in: SignInSettings = SignInSettings()
    sign_in_secret: str = Field(default="", repr=False)
    """The secret of `[sign_in]`, already read."""

    @property
    def prefix(self) -> str:
        """The path of `external_url`, below which everything is served: `/foreshock`. Empty if it has none."""
        return urlsplit(self.external_url or "").path.rstrip("/")

    def handed_on(self) -> str:
        """Return the settings as JSON for the server's process. It holds secrets."""
        return self.model_dump_json(exclude={"sign_in": {"client_secret", "client_secret_file"}})

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses that the dashboard answers to, lower case."""
        named = [*LOOPBACK, *self.allowed_hosts]
        if self.external_url is not None:
            named.append(_host(urlsplit(self.external_url).hostname or ""))
        if self.host and not _is_any(self.host):
            named.append(_host(self.host))
        return tuple(dict.fromkeys(named))

    @property
    def listens_widely(self) -> bool:
        """Whether the address that the dashboard binds to can be reached from other machines."""
        return not is_loopback(self.host)

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the dashboard, directly or, as its further names say, through a proxy."""
        return self.listens_widely or any(not is_loopback(name) for name in self.hosts)

    @property
    def may_act(self) -> bool:
        """Whether a visitor who has not signed in may acknowledge and silence. `access.visitor` knows the others."""
        return not self.sign_in.on and (self.allow_anonymous_actions or not self.exposed)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def served() -> ServeSettings:
    """Return the settings of this server process."""
    return _parsed(os.environ[VARIABLE])


@lru_cache(maxsize=4)
def _parsed(text: str) -> ServeSettings:
    return ServeSettings.model_validate_json(text)
