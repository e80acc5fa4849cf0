"""Know who asks: compare a request's key with those of the settings.

Keys are long and random, so one SHA-256 is enough: nobody can try 2^256 keys, and a slow hash would only let anyone
keep the server busy.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from foreshock.serving.settings import KeySettings, Scope

ANYONE = "anyone"
"""The name of whoever asks a server without keys."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by the name of the key, and what they may ask."""

    name: str
    scopes: frozenset[Scope]


class Keyring:
    """The keys of one server. Without any, everyone may ask everything.

    >>> ring = Keyring([KeySettings(name="desk", sha256=hashed("k" * 32), scopes=("read",))])
    >>> ring.caller("k" * 32).name, ring.caller("another")
    ('desk', None)
    """

    def __init__(self, keys: Iterable[KeySettings]) -> None:
        self._known = [(key.digest(), Caller(key.name, frozenset(key.scopes))) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._known)

    def may(self, scope: Scope) -> bool:
        """Return whether anyone may ask for this."""
        return not self._known or any(scope in caller.scopes for _, caller in self._known)

    def caller(self, key: str | None) -> Caller | None:
        """Return who has this key; None if nobody.

        The time it takes depends neither on the key nor on which one it is.
        """
        if not self._known:
            return Caller(ANYONE, frozenset(("score", "read")))
        given = hashlib.sha256((key or "").encode("utf-8", "surrogateescape")).digest()
        found = None
        for digest, caller in self._known:
            if hmac.compare_digest(given, digest):
                found = caller
        return found


def new_key() -> str:
    """Return a new random key, of 256 bits."""
    return f"fsk_{secrets.token_urlsafe(32)}"


def hashed(key: str) -> str:
    """Return the SHA-256 of a key, as the settings hold it."""
    return hashlib.sha256(key.encode()).hexdigest()
