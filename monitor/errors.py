"""All errors of the monitor. Each message says what happened, where, and what to do."""

from __future__ import annotations

from typing import ClassVar

from foreshock.ingest.redaction import without_secrets


class MonitorError(Exception):
    """Base of all errors of the monitor. Its text is a sentence for the operator."""

    exit_code: ClassVar[int] = 1
    """Exit code of a command that this error ends. 1: the command failed. 2: its arguments or the configuration are
    wrong."""


class StoreError(MonitorError):
    """The store cannot be opened, read or written."""


class StoreMissing(StoreError):
    """A command that only reads was given a store that does not exist."""

    exit_code = 2


class SchemaMismatch(StoreError):
    """The store was written by a newer version of Foreshock, or is not a Foreshock store."""


class StoreUnavailable(StoreError):
    """The store does not answer, or the connection broke. It may be back soon.

    A transaction that was interrupted may or may not have been committed. Read the store's rows before you continue.
    """


class LeaseHeld(MonitorError):
    """Another process holds the lease of this store."""


class Overtaken(MonitorError):
    """A compare-and-set found another value: another process wrote in between. The caller reloads and continues."""


class SettingsDiffer(MonitorError):
    """The store was created with other settings, and these settings cannot change."""

    exit_code = 2


class LateFile(MonitorError):
    """A new file contains only stories from before "decided until"."""

    exit_code = 2


class Misconfigured(MonitorError):
    """Nearly all records of a source became dead letters for one reason: a setting is wrong, not the records."""


class SourceMismatch(MonitorError):
    """A source is not the one that the store knows by its name: it shrank or changed, or two sources share the name."""


class Undelivered(MonitorError):
    """An attempt to deliver failed. The text contains the receiver's answer.

    `receiver_down`: any alert would have failed (no answer, a time-out, or a request to wait), so other messages to
    this receiver need not be tried now. `untried`: the receiver did not look at the message (no connection, or a
    request to wait), so the delivery has lost no attempt. `retry_after`: how long the receiver asked to wait, in
    microseconds. `final`: the receiver does not accept further attempts.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        receiver_down: bool = False,
        untried: bool = False,
        retry_after: int = 0,
        final: bool = False,
    ) -> None:
        # A receiver's answer, or a library's log line, may repeat the URL that was asked.
        super().__init__(without_secrets(message))
        self.status = status
        self.receiver_down = receiver_down
        self.untried = untried
        self.retry_after = retry_after
        self.final = final


class NoSuchAlert(MonitorError):
    """The store does not contain the alert that was asked for."""

    exit_code = 2


class NoSuchIncident(MonitorError):
    """The store does not contain the incident that was asked for, or several that it may be."""

    exit_code = 2


class NoSuchReceiver(MonitorError):
    """The settings do not contain the receiver that was asked for."""

    exit_code = 2


class NoSuchSource(MonitorError):
    """The store does not contain the source that was asked for, or the source cannot leave."""

    exit_code = 2


class NoSuchNote(MonitorError):
    """The store does not contain the note that was to be taken back, or it was taken back before."""

    exit_code = 2


class NoSuchStory(MonitorError):
    """The store does not contain the story that was asked for."""

    exit_code = 2
