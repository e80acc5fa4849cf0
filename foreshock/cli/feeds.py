"""`foreshock feeds try`: read a feed or a file once, and show what would be taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.analysis.feed_try import Trial
    from foreshock.settings.models import FeedSettings, Settings

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def try_(
    feed: Annotated[
        str,
        typer.Argument(
            metavar="URL|FILE",
            help="The URL of an RSS or Atom feed, the name of one in the settings, or a file: a saved feed, or one "
            "that check reads. - is standard input.",
        ),
    ],
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Ask an address of your own network or of this machine, too.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="The most rows of each table.")] = 50,
    map_: options.Map = None,
    as_: options.As = None,
    encoding: options.Encoding = None,
    date_format: options.DateFormat = None,
    date_only: options.DateOnly = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Fetch a feed once, or read a file, and show the stories, topics and dead letters that it would give.

    Nothing is stored. A URL that the settings name is asked with its own headers, proxy and login, and under the same
    limits as in a run.
    """
    from foreshock.analysis.feed_try import try_file, try_url

    settings = options.load(config, date_only=date_only, encoding=encoding, date_format=date_format, as_=as_).settings
    configured = _configured(feed, settings)
    if configured is not None or _URL.match(feed):
        trials = [try_url(_settings_of(feed, configured, allow_private), settings)]
    else:
        rules = settings.parsing(options.mapping(map_, as_)).rules()
        preset = options.preset_name(as_)
        trials = [try_file(path, rules, settings, preset=preset) for path in options.feed_files([Path(feed)])]
    if feed == "-":
        trials[0].feed = "-"
    for number, trial in enumerate(trials):
        if json:
            output.print_json(trial.to_json())
        else:
            if number:
                output.print_text("")
            _print(trial, limit)
    if any(trial.dead_letters and not trial.stories for trial in trials):
        raise typer.Exit(1)


def _configured(feed: str, settings: Settings) -> FeedSettings | None:
    """Return the feed of the settings with this URL or name. A file of that name comes first."""
    from foreshock.settings.redact import redacted

    if not _URL.match(feed) and Path(feed).exists():
        return None
    known = [found for found in settings.feeds if found.rss]
    return next((f for f in known if feed in (f.rss, redacted(f.rss), f.name, f.partition)), None)


def _settings_of(url: str, configured: FeedSettings | None, allow_private: bool) -> FeedSettings:
    from pydantic import ValidationError

    from foreshock.settings.models import FeedSettings

    if configured is not None:
        return configured.model_copy(update={"allow_private": True}) if allow_private else configured
    try:
        return FeedSettings(rss=url, allow_private=allow_private)
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        text = text.replace("to allow it, set allow_private = true", "to ask it all the same, give --allow-private")
        raise typer.BadParameter(text, param_hint="URL") from None


def _print(trial: Trial, limit: int) -> None:
    output.print_text(f"{trial.feed}: {trial.kind}; it would give {trial.counts()}")
    shown = trial.taken[:limit]
    if shown:
        output.print_text("")
        marks = {"date": "", "day": " (day)", "fetch": " (no date)", "unreadable": " (date unreadable)"}
        output.print_table(
            ("time", "title", "topics", "source"),
            ((t.published_at + marks[t.dated], t.title[:120], ", ".join(t.topics) or "none", t.source) for t in shown),
        )
    _more(trial.stories - len(shown), "stories")
    dead = trial.dead[:limit]
    if dead:
        output.print_text("\nDead letters:")
        output.print_table(
            ("record", "reason", "what is wrong", "begins with"),
            ((d.record, d.reason, d.detail, d.start[:60]) for d in dead),
            right=("record",),
        )
    _more(trial.dead_letters - len(dead), "dead letters")
    for title, lines in (("Cut by limits:", trial.cut), ("Notes:", trial.notes)):
        if lines:
            output.print_text("\n" + "\n".join([title, *(f"  {line}" for line in lines)]))
    output.print_text("\nNothing was stored.")


def _more(count: int, what: str) -> None:
    if count:
        output.print_text(f"and {count:,} more {what} (--limit, --json)")
