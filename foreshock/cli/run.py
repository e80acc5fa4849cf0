"""`foreshock run` and `foreshock worker`: read live feeds until stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output
from foreshock.cli.replay import show_alert

UntilEnd = Annotated[
    bool,
    typer.Option(
        "--until-end", help="Read each feed to its current end, decide the buckets that this closes, and stop."
    ),
]
WorkUntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Stop once the workers have read every partition to its current end.")
]


def run(
    until_end: UntilEnd = False,
    store: options.Store = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Read the feeds in the settings, score their stories and raise alerts, until stopped.

    Changes in the settings file apply from the next bucket; changed feeds need a restart. Ctrl-C and SIGTERM finish the
    current batch first. A second Ctrl-C ends at once; no story is lost.
    """
    from foreshock.cli.stopping import stopping
    from foreshock.processes.reload import SettingsFile
    from foreshock.processes.run import run as read_feeds

    loaded = options.load(config, store=store)
    with stopping() as stop:
        result = read_feeds(
            loaded.settings,
            file=SettingsFile(lambda: options.load(config, store=store), loaded),
            until_end=until_end,
            stop=stop,
            on_alert=None if json else show_alert,
            options=options.repeated(config, store),
        )
        if json:
            output.print_json(result.counts)


def worker(
    until_end: WorkUntilEnd = False,
    store: options.Store = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Read some partitions of the Kafka topic and score their stories, until stopped. `foreshock monitor` decides.

    Workers share the partitions of the topic; start as many as you need, up to one for each partition. Ctrl-C and
    SIGTERM finish the current batch first, and another worker continues from there.
    """
    from foreshock.cli.stopping import stopping
    from foreshock.processes.work import work

    settings = options.load(config, store=store).settings
    with stopping() as stop:
        records = work(settings, until_end=until_end, stop=stop)
        if json:
            output.print_json({"records": records})
