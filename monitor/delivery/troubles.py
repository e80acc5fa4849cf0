"""What keeps the threads of a sender from delivering, so that health can say it and nobody waits for ever.

A store that is busy or away for a moment is no trouble: what was not committed is tried again. It is one after
`LASTING_SECONDS`. An error that does not pass, such as a full disk or a missing right, is one at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import OperationalError

from foreshock.ingest.redaction import without_secrets
from foreshock.monitor.errors import Overtaken, StoreUnavailable

LASTING_SECONDS = 60.0
"""A store that was away for this long is said to be."""


class Troubles:
    """The errors of a sender's threads, each since the thread's last good turn.

    `on_change` is called with the reason why nothing, or not everything, is delivered; "": all is well again.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._errors: dict[str, tuple[Exception, float]] = {}
        self._said = ""

    def failed(self, thread: str, error: Exception) -> None:
        """Note that a thread's turn failed."""
        with self._lock:
            before = self._errors.get(thread)
            if before is None:
                _log().warning("delivery cannot use the store and will retry", thread=thread, error=_said(error))
            self._errors[thread] = error, time.monotonic() if before is None else before[1]
        self._tell()

    def well(self, thread: str) -> None:
        """Note that a thread's turn went well."""
        with self._lock:
            known = self._errors.pop(thread, None)
        if known is not None:
            _log().info("delivery goes on", thread=thread, waited=f"{time.monotonic() - known[1]:.0f} s")
            self._tell()

    def lasting(self) -> Exception | None:
        """Return an error that does not pass, or has lasted for `LASTING_SECONDS`."""
        with self._lock:
            found = list(self._errors.values())
        now = time.monotonic()
        return next((error for error, since in found if not _passes(error) or now - since >= LASTING_SECONDS), None)

    def _tell(self) -> None:
        error = self.lasting()
        said = "" if error is None else _said(error)
        if said != self._said:
            self._said = said
            self._on_change(said)


def _passes(error: Exception) -> bool:
    """Return whether an error may be over soon. SQLite is locked while another program writes."""
    locked = isinstance(error, OperationalError) and "locked" in str(error.orig)
    return locked or isinstance(error, (StoreUnavailable, Overtaken))


def _said(error: Exception) -> str:
    return without_secrets(str(error.args[0] if error.args else type(error).__name__).strip())


def _log() -> Any:
    import structlog

    return structlog.get_logger()
