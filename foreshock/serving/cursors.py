"""Write the place after a page as a cursor, and read it back.

A cursor holds the sort key of the last row that was given. The next page begins after it, so rows that are added
meanwhile neither shift a page nor repeat a row.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from foreshock.serving.errors import Refused

_LARGEST = 1 << 63


def write(of: str, *key: str | int) -> str:
    """Return the cursor of a sort key.

    >>> read(write("alerts", 5, "a"), "alerts", int, str)
    (5, 'a')
    """
    return base64.urlsafe_b64encode(orjson.dumps([of, *key])).decode().rstrip("=")


def read(cursor: str | None, of: str, *kinds: type) -> Any:
    """Return the sort key in a cursor of such a list; None without a cursor. Raises `Refused` (422)."""
    if cursor is None:
        return None
    try:
        found = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if (
        not isinstance(found, list)
        or found[:1] != [of]
        or [type(part) for part in found[1:]] != list(kinds)
        or any(isinstance(part, int) and not -_LARGEST <= part < _LARGEST for part in found)
        or any(isinstance(part, str) and "\0" in part for part in found)
    ):
        raise Refused(422, f"cursor: not a cursor of /{of}; give next of the page before, unchanged.")
    return tuple(found[1:])
