"""Hide secrets wherever settings are shown."""

from __future__ import annotations

import re


def redacted(url: str) -> str:
    """Return the URL without its password."""
    scheme, sign, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        return url  # a file, whose name may contain @ and :
    # A password may contain an unescaped @ or /. The last @ before the query ends it.
    place, question, query = rest.partition("?")
    user, at, host = place.rpartition("@")
    if at and ":" in user:
        user = user.partition(":")[0] + ":***"
    query = re.sub(r"(?i)((?:^|&)[^=&]*password=)[^&]*", r"\1***", query)
    return f"{scheme}{sign}{user}{at}{host}{question}{query}"
