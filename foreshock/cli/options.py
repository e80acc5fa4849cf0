"""Options that several commands share, and the functions that read their values."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from foreshock.settings.load import Loaded

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings file. Default: ./foreshock.toml, if it exists.", dir_okay=False
    ),
]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Store: sqlite:///foreshock.db, a file, or postgresql://host/name."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Map = Annotated[
    str | None,
    typer.Option("--map", metavar="FIELD=COLUMN,...", help="Columns with other names: title=Headline,id=Key."),
]
FeedFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, CSV or Parquet; also .gz and .zst.")]
Weights = Annotated[str | None, typer.Option("--weights", help="default, permissive, or a folder of weights.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Start = Annotated[str | None, typer.Option("--start", metavar="TIME", help="Start at this time (ISO 8601, UTC).")]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="End before this time (ISO 8601, UTC).")]


def load(
    config: Path | None, *, store: str | None = None, weights: str | None = None, device: str | None = None
) -> Loaded:
    """Read the settings; the flags override them."""
    from foreshock.settings.load import load as load_settings

    flags: dict[str, Any] = {"store.url": store_url(store), "model.weights": weights, "model.device": device}
    return load_settings(config, flags=flags)


def store_url(store: str | None) -> str | None:
    """Return the URL of `--store`, which may also be the path of a SQLite file."""
    return f"sqlite:///{store}" if store and "://" not in store else store


def topic_names(incomplete: str) -> list[str]:
    """Return the topics that begin so, for the completion of the shell: of the store, or else of the settings."""
    try:
        from foreshock.monitor.store import open_store
        from foreshock.settings.versions import topic_rules

        settings = load(None).settings
        names = {rule.name for rule in topic_rules(settings)} | {"_all"}
        with contextlib.suppress(Exception):
            names |= set(open_store(settings.store.url).topic_names())
    except Exception:  # a shell that completes must not print a traceback
        return []
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


def mapping(text: str | None) -> dict[str, str]:
    """Return the field -> column mapping of `--map`."""
    from foreshock.ingest.settings import read_map

    return read_map(text) if text else {}


def moment(text: str | None, option: str) -> datetime | None:
    """Return a time from the command line as an aware UTC datetime. A bare day means its midnight."""
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
            f"{text!r} is not a time; write 2024-05-01 or 2024-05-01T14:30Z", param_hint=option
        ) from None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


def duration(text: str | None, option: str) -> int | None:
    """Return a duration from the command line in microseconds."""
    from foreshock.monitor.settings import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
