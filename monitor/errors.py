"""Everything that can go wrong in the monitor's room, in one place. Messages say what happened, where, and what to
do."""

from __future__ import annotations

from typing import ClassVar


class MonitorError(Exception):
    """Base of this room's errors; its text is a sentence for a person.

    `exit_code`: of a command that it ends. 1: failed; 2: a matter of what was asked for, or of the configuration.
    """

    exit_code: ClassVar[int] = 1


class StoreError(MonitorError):
    """The store cannot be opened, read or written."""


class StoreMissing(StoreError):
    """A command that only reads was pointed at a store that does not exist."""

    exit_code = 2


class SchemaMismatch(StoreError):
    """The store's schema is newer than this version of Foreshock, or is no Foreshock store at all."""


class StoreUnavailable(StoreError):
    """Nobody answers at the store, or the connection broke, and it may be back soon. A transaction that it broke into
    may have been committed or not: whoever goes on reads the store's rows first."""


class LeaseHeld(MonitorError):
    """Another process writes this store."""


class Overtaken(MonitorError):
    """A compare-and-set found another value: someone else wrote since. The caller reloads and goes on from there."""


class SettingsDiffer(MonitorError):
    """The store was begun with other settings than these, and they cannot change here."""

    exit_code = 2


class LateFile(MonitorError):
    """A file that the store does not know lies wholly before what is decided."""

    exit_code = 2


class Misconfigured(MonitorError):
    """Nearly all records of a source die for one reason: that is a setting, not poison."""


class SourceMismatch(MonitorError):
    """A source is not what the store remembers under its name: it shrank, changed, or two share one name."""


class AddressRefused(MonitorError):
    """A receiver's URL leads to an address that nothing is sent to."""


class Undelivered(MonitorError):
    """An attempt to deliver failed; the text says what came back.

    `receiver_down`: it would have failed with any alert (nobody answers, or not in time, or asks to wait), so what
    else is due need not be tried now. `retry_after`: microseconds that the receiver asked to be left alone. `final`:
    it wants no further attempt.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        receiver_down: bool = False,
        retry_after: int = 0,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.receiver_down = receiver_down
        self.retry_after = retry_after
        self.final = final


class NoSuchAlert(MonitorError):
    """An alert was named that the store does not hold."""

    exit_code = 2


class NoSuchReceiver(MonitorError):
    """A receiver was named that the settings do not have."""

    exit_code = 2


class NoSuchSource(MonitorError):
    """A source was named that the store does not hold, or does not let go of."""

    exit_code = 2
