"""The options that several commands share, and what they turn into."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from foreshock.settings.load import Loaded

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file (./foreshock.toml if it is there).", dir_okay=False),
]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Store, such as sqlite:///foreshock.db or postgresql://host/name."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Map = Annotated[
    str | None,
    typer.Option("--map", metavar="FIELD=COLUMN,...", help="Which column holds what: title=Headline,id=Key."),
]
FeedFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, CSV or Parquet; .gz and .zst as they are.")]
Weights = Annotated[str | None, typer.Option("--weights", help="default, permissive, or a folder of weights.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Start = Annotated[str | None, typer.Option("--start", metavar="TIME", help="From this time on (ISO 8601, UTC).")]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Before this time (ISO 8601, UTC).")]


def load(
    config: Path | None, *, store: str | None = None, weights: str | None = None, device: str | None = None
) -> Loaded:
    """The settings, with what the flags say on top."""
    from foreshock.settings.load import load as load_settings

    flags: dict[str, Any] = {"store.url": store, "model.weights": weights, "model.device": device}
    return load_settings(config, flags=flags)


def mapping(text: str | None) -> dict[str, str]:
    from foreshock.ingest.settings import read_map

    return read_map(text) if text else {}


def moment(text: str | None, option: str) -> datetime | None:
    """A time on the command line, aware, in UTC; a bare day is its midnight."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), tzinfo=UTC)
    except ValueError:
        pass
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2024-05-01 or 2024-05-01T14:30Z", param_hint=option
        ) from None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


def duration(text: str | None, option: str) -> int | None:
    """Microseconds of a duration on the command line."""
    from foreshock.monitor.settings import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
