"""Hide secrets wherever settings are shown."""

from __future__ import annotations

import re


def without_password(url: str) -> str:
    return redacted(url)


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
