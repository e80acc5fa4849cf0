"""Sort records by event time in bounded memory: write sorted runs to temporary files and merge them.

The order is (event time, number in the file). A dead letter has no time and stays behind the record before it.
"""

from __future__ import annotations

import heapq
import marshal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import IO

from foreshock.ingest.formats import RawRecord

RUN_BYTES = 64 << 20
"""Bytes of records in a run, which is sorted in memory. 500 runs (32 GB) need 500 open files to merge."""

_Keyed = tuple[int, int, tuple[bytes, str, int, tuple[str, str] | None]]


def sort_records(
    records: Iterable[RawRecord], time_of: Callable[[RawRecord], int | None], run_bytes: int = RUN_BYTES
) -> Iterator[tuple[int, RawRecord]]:
    """Yield all records, each with its number in the file, by event time (`time_of`; None for a dead letter).

    About `run_bytes` stay in memory.
    """
    with ExitStack() as files:
        runs: list[Iterable[_Keyed]] = []
        run: list[_Keyed] = []
        held, time = 0, -(2**63)
        for number, record in enumerate(records):
            own = time_of(record)
            time = time if own is None else own
            run.append((time, number, tuple(record)))  # type: ignore[arg-type]
            held += len(record.data) + 200  # the tuple and its parts need about this much more
            if held >= run_bytes:
                runs.append(_spilled(sorted(run), files))
                run, held = [], 0
        runs.append(sorted(run))
        for _, number, (data, digest, size, flaw) in heapq.merge(*runs):
            yield number, RawRecord(data, digest, size, flaw)


def _spilled(run: list[_Keyed], files: ExitStack) -> Iterator[_Keyed]:
    file = files.enter_context(tempfile.TemporaryFile(prefix="foreshock-sort-"))  # noqa: SIM115 - the stack closes it
    for item in run:
        packed = marshal.dumps(item)  # only this process reads it
        file.write(len(packed).to_bytes(4, "little") + packed)
    file.seek(0)
    return _read_back(file)


def _read_back(file: IO[bytes]) -> Iterator[_Keyed]:
    while size := file.read(4):
        # This process wrote the file, and it has no name that another could open.
        yield marshal.loads(file.read(int.from_bytes(size, "little")))  # noqa: S302
