"""`foreshock run` and `foreshock worker`: live feeds, until they are stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output
from foreshock.cli.replay import show_alert

UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Read each feed to where it ends now, decide what that closes, and stop.")
]
WorkUntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Stop once all partitions are read to where they end now, by any worker.")
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
    from foreshock.cli.stopping import stopping
    from foreshock.processes import run as processes_run

    settings = options.load(config, store=store).settings
    with stopping() as stop:
        result = processes_run.run(settings, until_end=until_end, stop=stop, on_alert=None if json else show_alert)
        if json:
            output.print_json(result.counts)


def worker(
    until_end: WorkUntilEnd = False,
    store: options.Store = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Read a share of the Kafka topic and score its stories, until it is stopped; `foreshock monitor` decides.

    Start as many as are needed, at most one a partition: they share the topic's partitions among them. Ctrl-C and
    SIGTERM finish the batch in hand, and another worker goes on from there.
    """
    from foreshock.cli.stopping import stopping
    from foreshock.processes import work

    settings = options.load(config, store=store).settings
    with stopping() as stop:
        records = work.work(settings, until_end=until_end, stop=stop)
        if json:
            output.print_json({"records": records})
