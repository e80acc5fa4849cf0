"""What a database says when a write fails for good, as a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from foreshock.monitor.errors import StoreError
from foreshock.monitor.store.database import shown

_REMEDIES = {
    "locked": "Another program holds the file for longer than 30 s: end it.",
    "full": "Make room on its disk.",
    "no space": "Make room on its disk.",
    "read-only": "It is a standby server, or was made read-only: name the primary, or let this user write.",
    "readonly": "Let this user write it and its folder.",
    "disk i/o": "Look at its disk.",
    "malformed": "The file is damaged: restore it from a backup.",
    "permission": "Give this user the right to it.",
    "connection": "Is the server up?",
}


@contextmanager
def said_clearly(url: str, command: str) -> Iterator[None]:
    """Raises `StoreError` for what the store's database raised; `command` goes on from there, once it is mended."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in text.lower()), "See the server's log.")
        raise StoreError(
            f"The store {shown(url)} failed: {text.strip()}. {remedy} Nothing that was read is lost: the next "
            f"`foreshock {command}` goes on from here."
        ) from error
