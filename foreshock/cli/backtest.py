"""`foreshock backtest`: show which alerts would have fired in a feed's past."""

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
        str, typer.Argument(metavar="SOURCE", help="A feed file, the URL of a store, or a SQLite store.")
    ],
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="CSV of events that should be found: topic, start, end."),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option("--curve", metavar="FILE.svg", help="Try several budgets and draw their alerts."),
    ] = None,
    compare: Annotated[
        Detector | None, typer.Option("--compare", help="Also run this detector on hourly negative shares.")
    ] = None,
    map_: options.Map = None,
    as_: options.As = None,
    encoding: options.Encoding = None,
    date_format: options.DateFormat = None,
    date_only: options.DateOnly = False,
    sort: Annotated[bool, typer.Option("--sort", help="Sort a feed file by event time first.")] = False,
    no_score_cache: options.NoScoreCache = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Decide the past again under the budget in the settings: alerts, false alarms, delay, precision and recall.

    The past is decided as it was known then. Nothing is scored again, stored or delivered. A feed file is first
    replayed into a temporary store. With --curve the past is also decided under an eighth to eight times the budget.
    """
    from foreshock.analysis.backtest import backtest as decide_again
    from foreshock.analysis.sweep_svg import draw

    if curve is not None and (curve.suffix != ".svg" or not curve.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{curve} must end in .svg, and its folder must exist", param_hint="--curve")
    settings = options.load(
        config,
        date_only=date_only,
        encoding=encoding,
        date_format=date_format,
        as_=as_,
        no_score_cache=no_score_cache,
    ).settings
    with output.progress("backtest") as advance:
        result = decide_again(
            settings,
            source,
            events=events,
            sweep=curve is not None,
            compare=compare,
            mapping=options.mapping(map_, as_),
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
        after = "" if delay is None else f", after {delay:.1f} h in the median"
        output.print_text(f"{judged['found']} of {judged['events']} events were found{after}.")
        output.print_text(
            f"{len(result.fired) - judged['false_alarms']} of {len(result.fired)} alerts had an event; "
            f"{judged['false_alarms']} had none, {_times(judged['false_alarms_over_budget'])} the budget."
        )
    if (other := shown["compared"]) is not None:
        found = "" if other["events"] is None else f" It found {other['events']['found']} of the events."
        output.print_text(
            f"{other['detector']}, which has no budget, would have raised {other['fired']} alarms.{found}"
        )
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
