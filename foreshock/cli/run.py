"""`foreshock run`: live feeds, until it is stopped."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output
from foreshock.cli.replay import show_alert

if TYPE_CHECKING:
    from types import FrameType

UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Read each feed to where it ends now, decide what that closes, and stop.")
]


def run(
    until_end: UntilEnd = False,
    store: options.Store = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Read the feeds of the settings, score their stories, and raise alerts, until it is stopped.

    Ctrl-C and SIGTERM finish the batch in hand; a second Ctrl-C ends at once, and loses nothing either.
    """
    from foreshock import running

    settings = options.load(config, store=store).settings
    stop = running.Stop()
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
        result = running.run(settings, until_end=until_end, stop=stop, on_alert=None if json else show_alert)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if json:
        output.print_json(result.counts)
    if interrupted:
        raise KeyboardInterrupt
