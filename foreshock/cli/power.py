"""`foreshock power`: what the desk would miss of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.analysis.power import Power


def power(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="As `foreshock topics list` writes it.")],
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="A feed file or SQLite file, instead of the store.")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", metavar="DURATION", help="How long a change stands and may be noticed.")
    ] = "7d",
    plants: Annotated[
        int, typer.Option("--plants", metavar="N", min=1, max=1000, help="Moments at which each change is tried.")
    ] = 10,
    map_: options.Map = None,
    sort: Annotated[bool, typer.Option("--sort", help="Order a feed file by event time first.")] = False,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """What would be missed of a topic: plants changes of known size into its past, and counts which are noticed.

    The negative share rises by 10, 20 and 40 points, events double, come four times or stop, at moments of its past.
    That is decided again with each, under the settings' budget; nothing is stored. A topic that is still learning
    says until when.
    """
    from foreshock.analysis import power as planted

    settings = options.load(config, store=store).settings
    length = options.duration(within, "--within")
    if not length:
        raise typer.BadParameter("a change must stand for some time", param_hint="--within")
    with output.progress("power") as advance:
        result = planted.power(
            settings,
            settings.store.url if source is None else source,
            topic,
            within=length,
            plants=plants,
            mapping=options.mapping(map_),
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
