"""`foreshock replay`: take feed files through scoring, storing, deciding and, if wanted, delivery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.ingest.between import Between
    from foreshock.monitor.closing import AlertNews
    from foreshock.processes.replay import ReplayResult
    from foreshock.settings.models import Settings

Speed = Annotated[
    float | None,
    typer.Option("--speed", metavar="N", min=0.001, help="Replay at N times real time. Default: as fast as possible."),
]
Sort = Annotated[bool, typer.Option("--sort", help="Sort each file by event time first.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Read only stories dated at or after it (ISO 8601, UTC).")
]
To = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Read only stories dated before this time (ISO 8601, UTC).")
]

EVIDENCE_SHOWN = 3


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="JSON, CSV, Parquet or .xlsx; also .gz, .zst and .zip; folders of them; - is standard input.",
        ),
    ],
    store: options.Store = None,
    map_: options.Map = None,
    as_: options.As = None,
    encoding: options.Encoding = None,
    date_format: options.DateFormat = None,
    date_only: options.DateOnly = False,
    sort: Sort = False,
    from_: From = None,
    to: To = None,
    speed: Speed = None,
    deliver: Annotated[
        bool, typer.Option("--deliver", help="Deliver the alerts to the receivers in the settings.")
    ] = False,
    to_kafka: Annotated[
        bool,
        typer.Option("--to-kafka", help="Send the records to the Kafka topic in the settings instead."),
    ] = False,
    no_score_cache: options.NoScoreCache = False,
    switch: Annotated[
        list[str] | None,
        typer.Option(
            "--switch",
            metavar="WEIGHTS@TIME",
            help="Score by other weights from this bucket on, as a feed was whose model was switched. Repeatable.",
        ),
    ] = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Replay feed files: score their stories, decide their buckets and alerts, and keep everything in the store.

    If you run it again, it continues where it stopped; a finished file changes nothing. Without --deliver, its alerts
    are never delivered. With --deliver, it ends once every alert is delivered or parked.

    With --to-kafka it neither scores nor stores. It sends the records unchanged to the Kafka topic, for `run` or
    `worker` to read. With --speed it paces them by their event times.

    With --from or --to it reads a part of each file, which is a source of its own in the store.
    """
    from foreshock.processes.replay import replay as replay_files

    between = options.between(from_, to)
    files = options.feed_files(files)
    settings = options.load(
        config,
        store=store,
        date_only=date_only,
        encoding=encoding,
        date_format=date_format,
        as_=as_,
        no_score_cache=no_score_cache,
    ).settings
    switched = [switched_at(text) for text in switch or ()]
    if to_kafka:
        if store is not None or deliver or switch:
            raise typer.BadParameter(
                "--store, --deliver and --switch belong to the command that reads the topic.", param_hint="--to-kafka"
            )
        mapping = options.mapping(map_, as_)
        send_to_kafka(settings, files, mapping=mapping, sort=sort, between=between, speed=speed, json=json)
        return
    try:
        with output.progress("replay") as advance:
            result = replay_files(
                settings,
                files,
                mapping=options.mapping(map_, as_),
                sort=sort,
                between=between,
                speed=speed,
                deliver=deliver,
                on_progress=lambda progress: advance(progress.share, 1.0, f"{progress.records:,} records"),
                on_alert=None if json else show_alert,
                switched=switched,
            )
    except KeyboardInterrupt:
        output.note("The same command goes on from where this one stopped.")
        raise
    show_result(result, json=json)


def switched_at(text: str) -> tuple[str, int]:
    """Return the weights and the time of `--switch` (microseconds)."""
    weights, _, time = text.rpartition("@")
    at = options.moment(time, "--switch") if weights else None
    if at is None:
        raise typer.BadParameter(f"{text!r} is not WEIGHTS@TIME", param_hint="--switch")
    return weights, round(at.timestamp()) * 1_000_000


def send_to_kafka(
    settings: Settings,
    files: list[Path],
    *,
    mapping: dict[str, str],
    sort: bool,
    between: Between | None,
    speed: float | None,
    json: bool,
) -> None:
    """Send feed files to the Kafka topic and print how many records went there."""
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
            between=between,
            speed=speed,
            on_progress=lambda sending: advance(sending.share, 1.0, words(sending)),
        )
    _show_counts(fed.to_json(), json=json)
    if fed.left_out:
        output.note(f"{fed.left_out} records were left out: they are larger than 1 MiB, or than the broker accepts.")


def show_alert(alert: AlertNews) -> None:
    """Print an alert that fires or resolves; under one that fires, its first evidence. Pending alerts are not shown."""
    if alert.change.event not in {"firing", "resolved"}:
        return
    output.print_text(f"{alert.change.event}: {alert.sentence}")
    if alert.change.event == "firing":
        for story in alert.evidence[:EVIDENCE_SHOWN]:
            output.print_text(f"    {story['published_at']}  {story['source']}  {story['title']}")


def show_result(result: ReplayResult, *, json: bool) -> None:
    """Print the counts of a replay and its notes."""
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
