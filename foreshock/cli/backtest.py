"""`foreshock backtest`: what the monitor would have told of a feed's past."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.analysis.backtest import BacktestResult


Detector = Literal["page-hinkley", "adwin", "kswin"]


def backtest(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A feed file, a store's URL, or a SQLite file that is one.")
    ],
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="CSV of what should have been found: topic, start, end."),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option("--curve", metavar="FILE.svg", help="Sweep over budgets, and draw what each would have told."),
    ] = None,
    compare: Annotated[
        Detector | None, typer.Option("--compare", help="Another detector to run beside, on hourly negative shares.")
    ] = None,
    map_: options.Map = None,
    sort: Annotated[bool, typer.Option("--sort", help="Order a feed file by event time first.")] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Decide the past again under the settings' budget: alerts, false-alarm rate, delay, precision and recall.

    Reads decided buckets as they were known then; scores, stores and delivers nothing. A feed file is replayed first,
    into a store that is thrown away. With --curve also under an eighth to eight times the budget.
    """
    from foreshock.analysis import backtest as past
    from foreshock.analysis.sweep_svg import draw

    if curve is not None and (curve.suffix != ".svg" or not curve.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{curve} must end in .svg, and its folder must exist", param_hint="--curve")
    settings = options.load(config).settings
    with output.progress("backtest") as advance:
        result = past.backtest(
            settings,
            source,
            events=events,
            sweep=curve is not None,
            compare=compare,
            mapping=options.mapping(map_),
            sort=sort,
            on_progress=lambda share: advance(share, 1.0, ""),
        )
    if curve is not None and result.watched_days:
        curve.write_text(draw(result), encoding="utf-8")
    if json:
        output.print_json(result.to_json())
    else:
        _print(result)
    for sentence in result.notes:
        output.note(sentence)


def _print(result: BacktestResult) -> None:
    shown = result.to_json()
    output.print_table(("fired", "kind", "alert"), [(a["fired_at"], a["kind"], a["sentence"]) for a in shown["alerts"]])
    chance = shown["chance_gives"]
    output.print_text(
        f"{len(result.fired)} alerts in {result.watched_days:,.0f} watched days ({shown['start']} to {shown['end']}, "
        f"{result.topics:,} topics). Chance alone, at this budget, gives {result.allowed:.1f} "
        f"({chance['low']} to {chance['high']})."
    )
    if (judged := shown["events"]) is not None:
        delay = judged["median_delay_hours"]
        after = "" if delay is None else f", the median one {delay:.1f} h after its start"
        output.print_text(f"{judged['found']} of {judged['events']} events were found{after}.")
        output.print_text(
            f"{len(result.fired) - judged['false_alarms']} of {len(result.fired)} alerts had an event; "
            f"{judged['false_alarms']} had none, {_times(judged['false_alarms_over_budget'])} the budget."
        )
    if (other := shown["compared"]) is not None:
        found = "" if other["events"] is None else f" It found {other['events']['found']} of the events."
        output.print_text(f"{other['detector']}, which knows no budget, would have told {other['fired']}.{found}")
    if shown["sweep"]:
        output.print_table(
            ("budget a week", "chance gives", "fired", "recall", "precision"),
            [
                [_short(s[key]) for key in ("false_alarms_a_week", "chance_gives", "fired", "recall", "precision")]
                for s in shown["sweep"]
            ],
            right=("budget a week", "chance gives", "fired", "recall", "precision"),
        )


def _times(value: float | None) -> str:
    return "of" if value is None else f"{value:.2f} times"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
