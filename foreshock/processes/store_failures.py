"""What to do when the store's database fails: wait while it may come back, else say what it said, with the remedy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from foreshock.ingest.redaction import without_secrets
from foreshock.monitor.errors import Overtaken, StoreError, StoreUnavailable
from foreshock.monitor.store.database import shown
from foreshock.observability.outage import Outage
from foreshock.processes.stop import Stop

T = TypeVar("T")
PATIENCE_SECONDS = 60.0
"""At a start: long enough for a database that starts at the same time, short enough for a wrong address."""
TRIES = 20
"""If several processes write the same rows at once, one is first and the others try again."""

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
    """Turn an error of the database into a `StoreError` with a remedy. `command`: what to run once it is mended."""
    try:
        yield
    except DBAPIError as error:
        text = without_secrets(str(error.orig))
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in text.lower()), "See the server's log.")
        raise StoreError(
            f"The store {shown(url)} failed: {text.strip()}. {remedy} Nothing that was read is lost: the next "
            f"`foreshock {command}` goes on from here."
        ) from error


def outage_of_the_store() -> Outage:
    """Return the back-off of a process that does nothing else while it waits: tries are close together."""
    return Outage("store", shortest=0.25, longest=5.0)


def patiently(act: Callable[[], T], stop: Stop) -> T:
    """Do what a process starts with. While the store does not answer, try again for a minute, or until a stop."""
    until, outage = time.monotonic() + PATIENCE_SECONDS, outage_of_the_store()
    while True:
        try:
            found = act()
        except StoreUnavailable as error:
            if time.monotonic() >= until or stop.wanted:
                raise
            stop.wait(outage.failed(error))
        else:
            outage.over()
            return found


def tried_again(act: Callable[[], T]) -> T:
    """Do a part of a command that ends by itself: as `patiently` does, and again if another process wrote meanwhile.

    `act` is one transaction, or can be repeated after a part of it was written.
    """

    def do() -> T:
        for _ in range(TRIES - 1):
            try:
                return act()
            except Overtaken:
                time.sleep(random.uniform(0.01, 0.1))
        return act()

    return patiently(do, Stop())
