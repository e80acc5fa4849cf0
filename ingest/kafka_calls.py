"""Keep Kafka's client from holding up a process: each call has a limit, and an error that lasts has a sentence.

A call of kafka-python can fail to return: after a batch that it cannot unpack, its next `poll` spins for ever. So calls
run in a thread of their own, and the caller waits for a limited time. The signal handlers of the process run meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from gzip import BadGzipFile
from typing import Any, TypeVar

from foreshock.ingest.errors import IngestError

CALL_SECONDS = 30.0
"""How long a call may take beyond the time that it was given to wait. Nothing that works takes as long."""

_Value = TypeVar("_Value")


class ClientCalls:
    """Runs the calls of one client in one daemon thread, one after another."""

    def __init__(self, limit: float = CALL_SECONDS) -> None:
        self._limit = limit
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: Future[Any] | None = None

    @property
    def stuck(self) -> bool:
        """Whether the last call has not returned."""
        return self._last is not None and not self._last.done()

    def run(self, call: Callable[[], _Value], seconds: float = 0.0) -> _Value:
        """Return or raise what `call` does. `seconds`: how long it waits by itself.

        Raises:
            IngestError: it did not return in time. Nothing more can be asked of this client.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="kafka-calls", daemon=True)
            self._thread.start()
        if not self.stuck:
            future: Future[_Value] = Future()
            self._last = future
            self._work.put((future, call))
            try:
                return future.result(seconds + self._limit)
            except NotInTime:
                if future.done():  # the call itself timed out
                    raise
        raise IngestError(
            f"Kafka's client did not answer within {self._limit:.0f} s and cannot be asked again. Start the command "
            "again: it resumes from the store. If this repeats, please report it with the client's log."
        )

    def end(self) -> None:
        """Let the thread end."""
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del future, call, work


def refusal(error: BaseException, servers: str, where: str = "") -> IngestError | None:
    """Return the sentence for an error that stays until someone acts; None for one that passes.

    `where`: the partition and offset that were being read, if known.
    """
    from kafka import errors as k

    at = f" at {where}" if where else ""
    if isinstance(error, k.UnsupportedCodecError | k.UnsupportedCompressionTypeError):
        return IngestError(
            f"Kafka's records{at} are compressed in a way that this installation cannot read: {error}. Install lz4, "
            "python-snappy and zstandard, which Foreshock requires: pip install --upgrade foreshock"
        )
    # What the codecs raise for a damaged batch has no common class; gzip's is an OSError.
    if isinstance(error, k.CorruptRecordError | BadGzipFile) or not isinstance(error, k.KafkaError | OSError):
        return IngestError(
            f"Kafka's records{at} are damaged and cannot be unpacked: {type(error).__name__}: {error}. Restore the "
            "partition from a replica, or delete its records up to the damaged batch with kafka-delete-records; "
            "Foreshock then reports a gap and goes on."
        )
    if isinstance(error, k.SaslAuthenticationFailedError | k.UnsupportedSaslMechanismError | k.IllegalSaslStateError):
        return IngestError(
            f"Kafka at {servers} does not accept the login: {error}. Check sasl_mechanism, user and password "
            "in [kafka]."
        )
    if isinstance(error, k.AuthorizationError):
        return IngestError(
            f"Kafka at {servers} refuses access: {error}. The user needs permission to read and describe the topic, "
            "and to read the group."
        )
    if isinstance(error, _lasting()):
        return IngestError(f"Kafka at {servers} refuses the connection: {error}. Check [kafka] in the settings.")
    return None


def _lasting() -> tuple[type[BaseException], ...]:
    from kafka import errors as k

    return (
        k.KafkaConfigurationError,
        k.UnsupportedVersionError,
        k.SecurityDisabledError,
        k.InvalidGroupIdError,
        k.InvalidSessionTimeoutError,
        k.InconsistentGroupProtocolError,
        k.GroupMaxSizeReachedError,
        k.InvalidTopicError,
        k.RecordListTooLargeError,
    )
