"""Ctrl-C and SIGTERM, for commands that go on until they are stopped."""

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
    """A `Stop` that either signal sets; a second Ctrl-C ends at once. After Ctrl-C, KeyboardInterrupt at the end."""
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
