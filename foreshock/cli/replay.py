"""`foreshock replay`: feed files through the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.monitor.closing import Told
    from foreshock.processes.replay import ReplayResult
    from foreshock.settings.models import Settings

Speed = Annotated[
    float | None,
    typer.Option("--speed", metavar="N", min=0.001, help="N times real time. Without it: as fast as it can."),
]
Sort = Annotated[bool, typer.Option("--sort", help="Order each file by event time first.")]


EVIDENCE_SHOWN = 3


def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="JSON lines, CSV or Parquet; .gz and .zst as they are.")
    ],
    store: options.Store = None,
    map_: options.Map = None,
    sort: Sort = False,
    speed: Speed = None,
    deliver: Annotated[
        bool, typer.Option("--deliver", help="Send its alerts to the receivers in the settings.")
    ] = False,
    to_kafka: Annotated[
        bool,
        typer.Option("--to-kafka", help="Send the records to the topic in the settings instead, to be read there."),
    ] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Replay feed files: score them, close their buckets, decide their alerts, keep all in the store.

    Run again, it goes on where it stopped; a file that is done changes nothing. Nothing is delivered without
    --deliver, not even later; with it, it ends once every alert is delivered or parked.

    With --to-kafka nothing is scored or stored here: the records go to the Kafka topic as they are, for `run` or
    `worker` to read, at the --speed of their event times.
    """
    from foreshock.processes import replay as processes_replay

    settings = options.load(config, store=store).settings
    if to_kafka:
        if store is not None or deliver:
            raise typer.BadParameter("--store and --deliver are for whoever reads the topic.", param_hint="--to-kafka")
        send_to_kafka(settings, files, mapping=options.mapping(map_), sort=sort, speed=speed, json=json)
        return
    with output.progress("replay") as advance:
        result = processes_replay.replay(
            settings,
            files,
            mapping=options.mapping(map_),
            sort=sort,
            speed=speed,
            deliver=deliver,
            on_progress=lambda progress: advance(progress.share, 1.0, f"{progress.records:,} records"),
            on_alert=None if json else show_alert,
        )
    show_result(result, json=json)


def send_to_kafka(
    settings: Settings, files: list[Path], *, mapping: dict[str, str], sort: bool, speed: float | None, json: bool
) -> None:
    from foreshock.monitor.store.times import iso
    from foreshock.processes import produce

    def words(sending: produce.Sending) -> str:
        at = "" if sending.event_time is None else f", at {iso(sending.event_time)}"
        return f"{sending.records:,} records{at}"

    with output.progress("to kafka") as advance:
        fed = produce.feed(
            settings,
            files,
            mapping=mapping,
            sort=sort,
            speed=speed,
            on_progress=lambda sending: advance(sending.share, 1.0, words(sending)),
        )
    _show_counts(fed.to_json(), json=json)
    if fed.left_out:
        output.note(f"{fed.left_out} records are larger than 1 MiB, or than the broker takes, and were left out.")


def show_alert(told: Told) -> None:
    """A line for an alert that fires or is over; with one that fires its first evidence. Pending ones are not news."""
    if told.change.event not in {"firing", "resolved"}:
        return
    output.print_text(f"{told.change.event}: {told.sentence}")
    if told.change.event == "firing":
        for story in told.evidence[:EVIDENCE_SHOWN]:
            output.print_text(f"    {story['published_at']}  {story['source']}  {story['title']}")


def show_result(result: ReplayResult, *, json: bool) -> None:
    _show_counts(result.to_json(), json=json)
    for sentence in result.notes:
        output.note(sentence)


def _show_counts(counts: dict[str, int | float], *, json: bool) -> None:
    if json:
        output.print_json(counts)
    else:
        output.print_table(
            ("count", ""), ((key.replace("_", " "), _number(value)) for key, value in counts.items()), right=("",)
        )


def _number(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
