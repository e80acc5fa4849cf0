"""`foreshock power`: measure which changes on a topic would be missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.analysis.power import Power


def power(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC", help="The name in `foreshock topics list`.", autocompletion=options.topic_names
        ),
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="A feed file or SQLite file to use instead of the store.")
    ] = None,
    within: Annotated[
        str,
        typer.Option(
            "--within", metavar="DURATION", help="How long each change lasts, and how soon it must be noticed."
        ),
    ] = "7d",
    plants: Annotated[
        int,
        typer.Option(
            "--plants", metavar="N", min=1, max=1000, help="The number of moments at which to try each change."
        ),
    ] = 10,
    map_: options.Map = None,
    as_: options.As = None,
    encoding: options.Encoding = None,
    date_format: options.DateFormat = None,
    date_only: options.DateOnly = False,
    sort: Annotated[bool, typer.Option("--sort", help="Sort a feed file by event time first.")] = False,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Measure which changes on a topic would be missed: plant changes of known size into its past and count alerts.

    At several moments of the past, the negative share rises by 10, 20 or 40 points, or the events double, quadruple or
    stop. Each changed past is decided again under the budget in the settings. Nothing is stored. For a topic that is
    still learning, the command prints until when.
    """
    from foreshock.analysis.power import power as measure

    settings = options.load(
        config, store=store, date_only=date_only, encoding=encoding, date_format=date_format, as_=as_
    ).settings
    length = options.duration(within, "--within")
    if not length:
        raise typer.BadParameter("a change must last for some time", param_hint="--within")
    with output.progress("power") as advance:
        result = measure(
            settings,
            settings.store.url if source is None else source,
            topic,
            within=length,
            plants=plants,
            mapping=options.mapping(map_, as_),
            sort=sort,
            on_progress=lambda share: advance(share, 1.0, ""),
        )
    if json:
        output.print_json(result.to_json())
    else:
        _print(result)
    for sentence in result.notes:
        output.note(sentence)


def _print(result: Power) -> None:
    from foreshock.monitor.store.times import iso

    share = "" if result.share is None else f", {100 * result.share:.0f} % negative"
    output.print_text(
        f"{result.topic}: {result.events_a_day:.1f} events a day{share}. Budget: {result.budget}. "
        f"{len(result.moments)} moments from {iso(result.moments[0])} to {iso(result.moments[-1])}."
    )
    for change in result.changes:
        output.print_text(f"{result.sentence(change)}.")
