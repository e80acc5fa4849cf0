"""What to do when a database fails: wait while it is away; else say what it said, with the remedy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from foreshock.monitor.errors import StoreError, StoreUnavailable
from foreshock.monitor.store.database import shown
from foreshock.observability import metrics
from foreshock.observability.log import log

T = TypeVar("T")
SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 5.0
"""Between two tries, while the store is away."""
PATIENCE_SECONDS = 60.0
"""At a start: a database that starts too is waited for; a wrong address is told."""

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


class Outage:
    """The store is away: said once, waited for ever longer with `wait` (seconds), and said once when it is back."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._wait = wait
        self._since: float | None = None
        self._tries = 0

    def wait(self, error: StoreUnavailable) -> None:
        metrics.lost("store", str(error))
        if self._since is None:
            self._since = time.monotonic()
            log().warning("the store does not answer: trying again until it does", because=str(error))
        seconds = min(LONGEST_WAIT_SECONDS, SHORTEST_WAIT_SECONDS * 2**self._tries) * random.uniform(0.5, 1.0)
        self._tries += 1
        self._wait(seconds)

    def over(self) -> None:
        metrics.reached("store")
        if self._since is not None:
            log().info("the store answers again", after_seconds=round(time.monotonic() - self._since, 1))
        self._since, self._tries = None, 0


def patiently(act: Callable[[], T], wait: Callable[[float], None], wanted: Callable[[], bool]) -> T:
    """Do what a process starts with, again while the store does not answer, for a minute and while it is `wanted`."""
    until, outage = time.monotonic() + PATIENCE_SECONDS, Outage(wait)
    while True:
        try:
            found = act()
        except StoreUnavailable as error:
            if time.monotonic() >= until or not wanted():
                raise
            outage.wait(error)
        else:
            outage.over()
            return found
