"""Options that several commands share, and the functions that read their values."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.ingest.presets import PRESETS, preset

if TYPE_CHECKING:
    from foreshock.ingest.between import Between
    from foreshock.monitor.store.api import Store as Reader
    from foreshock.settings.load import Loaded
    from foreshock.settings.models import Settings

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
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="Only what was known at this time (ISO 8601, UTC)."),
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Map = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN,...",
        help="Columns with other names: title=Headline,source=publisher.name,tickers=symbols[].symbol.",
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="SERVICE",
        help="Take the fields of a news service: newsapi, finnhub, alpaca, polygon, alphavantage, stocktwits, gdelt, "
        "eventregistry or edgar. --map adds to it.",
    ),
]
DateOnly = Annotated[
    bool, typer.Option("--date-only", help="Take times of exactly 00:00:00 as days, which count at their end.")
]
DateFormat = Annotated[
    str | None,
    typer.Option(
        "--date-format",
        metavar="FORM",
        help="Form of dates such as 31.12.2023: dayfirst, monthfirst, excel, or strptime's %d.%m.%Y.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Encoding of the text, if it is not UTF-8: cp1252, utf-16, ..."),
]
NoScoreCache = Annotated[
    bool,
    typer.Option("--no-score-cache", help="Encode all texts, also those whose scores are in the file of scores."),
]
FeedFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="JSON, CSV, Parquet or .xlsx; also .gz, .zst and .zip. - is standard input."),
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help="default, permissive, chinese, a folder of weights, an adapted file, or hf:FOLDER."),
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Start = Annotated[str | None, typer.Option("--start", metavar="TIME", help="Start at this time (ISO 8601, UTC).")]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="End before this time (ISO 8601, UTC).")]


def load(
    config: Path | None,
    *,
    store: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    date_only: bool = False,
    date_format: str | None = None,
    encoding: str | None = None,
    as_: str | None = None,
    no_score_cache: bool = False,
) -> Loaded:
    """Read the settings; the flags override them. `as_`: a preset, whose zone counts where the settings assume none.

    `weights` stand alone, without `[model] also`.
    """
    from foreshock.settings.load import load as load_settings

    flags: dict[str, Any] = {"store.url": store_url(store), "model.weights": weights, "model.device": device}
    flags |= {"model.also": None if weights is None else (), "model.score_cache": "off" if no_score_cache else None}
    flags |= {"ingest.date_only": date_only or None, "ingest.date_format": date_format, "ingest.encoding": encoding}
    loaded = load_settings(config, flags=flags)
    if as_ is not None and not loaded.settings.time.assume_zone and (zone := preset(as_).zone):
        loaded = load_settings(config, flags={**flags, "time.assume_zone": zone})
    return loaded


def preset_name(as_: str | None) -> str | None:
    """Return the name of the preset that `--as` names, however it is written."""
    return None if as_ is None else next(name for name, known in PRESETS.items() if known is preset(as_))


def store_url(store: str | None) -> str | None:
    """Return the URL of `--store`, which may also be the path of a SQLite file."""
    return f"sqlite:///{store}" if store and "://" not in store else store


def repeated(config: Path | None, store: str | None) -> list[str]:
    """Return the options that give another command the same settings and store."""
    return [*([] if config is None else ["--config", str(config)]), *([] if store is None else ["--store", store])]


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


def known_topics(reader: Reader, settings: Settings) -> set[str]:
    """Return the topics of the store and of the settings, also those without a story yet, and `_all`."""
    from foreshock.monitor.units import ALL
    from foreshock.settings.versions import topic_rules

    unseen = reader.unseen_topics()
    rules = (rule.name for rule in topic_rules(settings))
    return {*reader.topic_names(), ALL, *unseen.own, *unseen.built_in, *rules}


def mapping(text: str | None, as_: str | None = None) -> dict[str, str]:
    """Return the field -> column mapping of `--as` and `--map`. The latter overrides."""
    from foreshock.ingest.settings import read_map

    return {**(preset(as_).mapping if as_ is not None else {}), **(read_map(text) if text else {})}


def feed_file(path: Path) -> Path:
    """Return a feed file. For `-`, copy standard input to a file whose name follows from its content.

    So a run can resume, and the same input is the same partition of a store. The copy goes when the process ends.
    """
    if str(path) != "-":
        return path
    folder = Path(tempfile.mkdtemp(prefix="foreshock-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    hasher, copy = sha256(), folder / "stdin"
    with copy.open("wb") as out:
        while chunk := sys.stdin.buffer.read(1 << 20):
            hasher.update(chunk)
            out.write(chunk)
    return copy.rename(folder / f"stdin-{hasher.hexdigest()[:16]}")


def feed_files(paths: Iterable[Path]) -> list[Path]:
    """Return the feed files that paths name: files, standard input (`-`), and all feed files directly in a folder."""
    from foreshock.ingest.errors import UnreadableFile
    from foreshock.ingest.formats import is_feed_file

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(feed_file(path))
            continue
        files = sorted(file for file in path.iterdir() if file.is_file() and is_feed_file(file))
        if not files:
            raise UnreadableFile(path, "is a folder without feed files (.jsonl, .json, .csv, .tsv, .parquet, .xlsx).")
        found += files
    return found


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


def between(start: str | None, end: str | None) -> Between | None:
    """Return the range of event time that `--from` and `--to` name; None without either."""
    from foreshock.ingest.between import Between
    from foreshock.monitor.store.times import microseconds

    if start is None and end is None:
        return None
    first, last = moment(start, "--from"), moment(end, "--to")
    if first is not None and last is not None and last <= first:
        raise typer.BadParameter(f"{end} is not after --from {start}", param_hint="--to")
    return Between(*(None if at is None else microseconds(at) for at in (first, last)))


def duration(text: str | None, option: str) -> int | None:
    """Return a duration from the command line in microseconds."""
    from foreshock.monitor.settings import parse_duration

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
