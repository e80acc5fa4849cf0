"""Handle Ctrl-C and SIGTERM in commands that run until they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from foreshock.processes.stop import Stop

if TYPE_CHECKING:
    from types import FrameType


@contextmanager
def stopping() -> Iterator[Stop]:
    """Yield a `Stop` that either signal sets. A second Ctrl-C ends at once.

    After Ctrl-C, raises KeyboardInterrupt at the end, so that the exit code is 130.
    """
    stop = Stop()
    interrupted = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if number == signal.SIGINT:
            if interrupted:
                raise KeyboardInterrupt
            interrupted = True
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise KeyboardInterrupt
