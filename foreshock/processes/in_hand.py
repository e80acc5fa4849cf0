"""The records that a loop has taken and not committed yet: one batch that fills, and those in flight behind it.

Batches leave in the order in which they were taken. A second thread does the encoder's part of a batch, while the loop
fills the next one, makes the rows of the one before, and commits it.

Invariant: while more records wait than batches hold, the encoder has its next batch before it is done with one. When
the loop begins to commit a batch, `IN_FLIGHT` - 1 others have been submitted: one is with the encoder, one waits for
it. So the encoder waits for parsing or the store only if one commit takes longer than two batches.

If fewer records come than would fill a batch while the encoder works, what has come by then is its next batch. If its
first story has waited for `linger_seconds` by then, the encoder gets it before the batch that is done is committed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from foreshock.monitor.store.progress import Batch
from foreshock.processes.batches import Worker
from foreshock.processes.rows import Encoded, Taken
from foreshock.sources.live import Source

IN_FLIGHT = 3
"""Batches in flight at most: one that is committed, one with the encoder, and one that waits for it."""


class InHand:
    """Batches between taking and committing.

    `linger_seconds`: how long a story may wait for others while the encoder is free.
    """

    def __init__(self, worker: Worker, *, linger_seconds: float) -> None:
        self.worker = worker
        """What makes the rows of what is taken from now on."""
        self._linger_seconds = linger_seconds
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._in_flight: deque[tuple[Taken, Worker, Future[Encoded] | None]] = deque()
        self._filling = Taken()
        self._filling_since = 0.0

    @property
    def empty(self) -> bool:
        return not self._in_flight and not len(self._filling)

    @property
    def fills(self) -> bool:
        """Whether a batch has begun to fill."""
        return len(self._filling) > 0

    @property
    def in_flight(self) -> int:
        """Batches that wait to be committed."""
        return len(self._in_flight)

    def take(self, sources: Sequence[Source]) -> bool:
        """Take records, and submit them once the batch is full or there are no more. Return whether it was full."""
        before = len(self._filling)
        self._filling = self.worker.take(sources, self._filling)
        if not len(self._filling):
            return False
        if not before:
            self._filling_since = time.monotonic()
        full = self.worker.is_full(self._filling)
        if full:
            self.submit()
        else:
            self.submit_if_due()
        return full

    def submit_if_due(self) -> None:
        """Give the batch that fills to the encoder if that is free, and the first story has waited for long enough."""
        if any(encoded is not None and not encoded.done() for *_, encoded in self._in_flight):
            return
        if time.monotonic() - self._filling_since >= self._linger_seconds:
            self.submit()

    def made(self, seconds: float | None) -> bool:
        """Wait until the oldest batch is encoded, for `seconds` at most (None: for as long as it takes). Return
        whether it is."""
        *_, encoded = self._in_flight[0]
        return encoded is None or bool(wait([encoded], seconds).done)

    def submit(self) -> None:
        """Give the batch that fills to the encoder, and begin another."""
        if not len(self._filling):
            return
        taken, self._filling = self._filling, Taken()
        taken.stamps.read_until = time.time_ns()
        # Without texts to encode, a second thread would only compete with this one for the interpreter.
        encoded = self._encoder.submit(self.worker.encode, taken) if taken.to_encode else None
        self._in_flight.append((taken, self.worker, encoded))

    def oldest(self) -> tuple[Taken, Batch]:
        """Return the batch to commit next, once it is encoded. It stays in flight until `committed`."""
        taken, worker, encoded = self._in_flight[0]
        return taken, worker.rows(taken) if encoded is None else worker.make(taken, encoded.result())

    def committed(self) -> None:
        """Drop the oldest batch. Not before it is committed: those behind it must not be committed without it."""
        self._in_flight.popleft()

    def holds(self, source: Source) -> bool:
        """Return whether records of the source are in hand."""
        name = source.partition.name
        return name in self._filling.partitions or any(name in taken.partitions for taken, *_ in self._in_flight)

    def ends_in_oldest(self, source: Source) -> bool:
        """Return whether the batch to commit next holds the last records that were taken of the source."""
        name = source.partition.name
        first, *others = [taken.partitions for taken, *_ in self._in_flight]
        return name in first and not any(name in partitions for partitions in (self._filling.partitions, *others))

    def drop_what_fills(self) -> None:
        """Drop the batch that fills: its records are read again."""
        self._filling = Taken()

    def drop(self) -> None:
        """Drop everything: all sources are read again from where the store is.

        It waits for the batch that is with the encoder: whoever asks the encoder next may do so from another thread.
        """
        wait([encoded for *_, encoded in self._in_flight if encoded is not None and not encoded.cancel()])
        self._in_flight.clear()
        self._filling = Taken()
        self.worker.forget()

    def work_with(self, worker: Worker) -> None:
        """Make the rows of what is taken from now on with another worker."""
        self._filling = Taken()
        self.worker = worker

    def stop(self) -> None:
        """Release the encoder's thread."""
        self._encoder.shutdown(wait=False, cancel_futures=True)
