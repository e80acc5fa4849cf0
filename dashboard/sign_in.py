"""Who may read the pages and who may act, by what an identity provider says of a person who signed in (OpenID Connect).

    person = judged(settings, claims, now=time.time())

Streamlit runs the sign-in itself and gives the claims of the ID token. This file decides what they allow. It reads no
clock and no session, so each rule can be tested alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from foreshock.monitor.delivery.headers import from_environment, read
from foreshock.monitor.settings import Duration, parse_duration
from foreshock.monitor.units import SECOND

EVERYONE = "*"
SKEW_SECONDS = 120
"""How far a provider's clock may be ahead of this machine's."""
NAME_LENGTH = 120
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _metadata(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or "@" in parts.netloc or any(c.isspace() for c in value):
        raise ValueError("expected the URL of the provider's metadata, which ends in /.well-known/openid-configuration")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ValueError("expected https://: whoever can change the metadata on its way can sign in as anyone")
    return value


class SignInSettings(BaseModel):
    """Sign-in to the dashboard by OpenID Connect, and what each role may do. It is off without `metadata_url`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    metadata_url: Annotated[str, AfterValidator(_metadata)] | None = None
    """The provider's metadata, such as https://login.example.com/.well-known/openid-configuration."""
    client_id: str = ""
    """The name under which the provider knows this dashboard."""
    client_secret: SecretStr | None = None
    """The secret that the provider gave this dashboard. ${NAME} is the environment variable NAME."""
    client_secret_file: Path | None = None
    """Or a file that holds it. A relative path is taken from the settings file's folder."""
    scope: str = "openid profile email"
    """What is asked of the provider. Some give roles or groups only if a scope asks for them."""
    name_claim: str = "name"
    """The claim that names a person in the record of who did what."""
    roles_claim: str = "roles"
    """The claim with a person's roles or groups: a text or a list. realm_access.roles is a claim within another. With
    "email", the lists below hold addresses."""
    viewers: tuple[str, ...] = (EVERYONE,)
    """Roles that may read. "*" is everyone whom the provider lets sign in."""
    operators: tuple[str, ...] = ()
    """Roles that may read, acknowledge, silence and judge. "*" is everyone whom the provider lets sign in."""
    read_without_sign_in: bool = False
    """Let everyone read who reaches the pages. To act, a person signs in."""
    lasts: Duration = parse_duration("12h")
    """How long a sign-in lasts. A role that the provider takes away holds until then."""

    @property
    def on(self) -> bool:
        """Whether people sign in."""
        return self.metadata_url is not None

    def check(self, external_url: str | None, *, anonymous_actions: bool) -> None:
        """Raise ValueError if these settings cannot be used together, or with those of `[dashboard]`."""
        given = (self.client_secret is not None) + (self.client_secret_file is not None)
        if not self.on:
            if self.client_id or given:
                raise ValueError("sign_in needs metadata_url, the address of the provider's metadata")
            return
        if not self.client_id or given != 1:
            raise ValueError("sign_in needs client_id, and one of client_secret and client_secret_file")
        if external_url is None:
            raise ValueError("sign_in needs [dashboard] external_url: the provider sends people back to it")
        if anonymous_actions:
            raise ValueError("sign_in and [dashboard] allow_anonymous_actions exclude each other; remove one of them")
        if "openid" not in self.scope.split():
            raise ValueError("sign_in.scope needs openid: without it, the provider names nobody")

    def secret(self) -> str:
        """Return the client's secret. Raises ValueError, which never repeats it."""
        if self.client_secret is not None:
            return from_environment(self.client_secret.get_secret_value().strip(), "sign_in.client_secret")
        found = "" if self.client_secret_file is None else read(self.client_secret_file).strip()
        if not found:
            raise ValueError("sign_in has no secret: set client_secret or client_secret_file")
        return found


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person before a page."""

    name: str | None
    """Who it is, for the record; None without a sign-in."""
    may_read: bool
    may_act: bool


def judged(settings: SignInSettings, claims: Mapping[str, Any], *, now: float) -> Visitor:
    """Return what the claims of an ID token allow. Without a sign-in that holds, they allow what everyone may.

    `now`: seconds since 1970. An operator is a viewer too.
    """
    name = named(settings, claims)
    if not claims.get("is_logged_in") or name is None or not _is_fresh(settings, claims, now):
        return Visitor(None, settings.read_without_sign_in, False)
    roles = {EVERYONE, *roles_of(settings, claims)}
    acts = bool(roles & set(settings.operators))
    return Visitor(name, acts or settings.read_without_sign_in or bool(roles & set(settings.viewers)), acts)


def named(settings: SignInSettings, claims: Mapping[str, Any]) -> str | None:
    """Return how a person is written down: `Ada Byron (ada@desk.example)`. None if the claims name nobody.

    A name alone can be that of two people, and at many providers a person can change it. So what identifies the person
    stands behind it: a verified address, or the provider's own number for the account.
    """
    subject = _text(claims.get("sub"))
    if not subject:
        return None
    address = "" if claims.get("email_verified") is False else _text(claims.get("email"))
    who = address or subject
    name = _text(_claim(claims, settings.name_claim))
    if not name or name == who:
        return who[:NAME_LENGTH]
    return f"{name[: NAME_LENGTH // 2]} ({who[: NAME_LENGTH // 2]})"


def roles_of(settings: SignInSettings, claims: Mapping[str, Any]) -> frozenset[str]:
    """Return a person's roles. An address that the provider has not verified is none."""
    if settings.roles_claim == "email" and claims.get("email_verified") is False:
        return frozenset()
    found = _claim(claims, settings.roles_claim)
    given = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return frozenset(role for role in given if isinstance(role, str) and role != EVERYONE)


def _is_fresh(settings: SignInSettings, claims: Mapping[str, Any], now: float) -> bool:
    at = claims.get("iat")
    if isinstance(at, bool) or not isinstance(at, (int, float)):
        return False
    return -SKEW_SECONDS <= now - at < settings.lasts / SECOND


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by its path. Some providers use names with dots in them: `https://desk/roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
