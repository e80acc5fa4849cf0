"""`foreshock topics`: list the topics, and try a rule on the stored stories."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from foreshock.cli import options, output

SHOWN = 20


def list_(json: options.JsonLines = False, store: options.Store = None, config: options.Config = None) -> None:
    """List your own topics and those that have stories: state, number of stories, last story and polarity.

    The state is learning, ok, pending, firing or silent. A topic of the settings has "no story yet" until one comes.
    While the past of a new or changed topic is filled from the stored stories, the state says how far that is.
    """
    from foreshock.monitor.store import open_store

    reader = open_store(options.load(config, store=store).settings.store.url)
    rows = reader.topics()
    if json:
        output.print_lines(rows)
        return
    count = output.print_table(
        ("topic", "state", "stories", "last story", "polarity"),
        (
            (
                row["topic"],
                _state(row),
                row["stories"],
                row["last_story_at"],
                "" if row["polarity"] is None else f"{row['polarity']:+.3f}",
            )
            for row in rows
        ),
        right=("stories", "polarity"),
    )
    if not count:
        output.note("No topic has a story yet.")
    if built_in := len(reader.unseen_topics().built_in):
        output.note(f"{built_in:,} built-in topics have no story yet. Each is listed from its first story on.")


def _state(row: dict[str, Any]) -> str:
    from foreshock.monitor.store import fills

    said = _own_state(row)
    if (filling := row["filling"]) is None:
        return said
    far = fills.WORDS[filling["step"]].format(round(100 * filling["done"]))
    return f"{said}; its past is being filled: {far}" if row["stories"] else f"being filled: {far}"


def _own_state(row: dict[str, Any]) -> str:
    from foreshock.monitor.store.configured import WORDS

    if row["state"] in WORDS:
        return WORDS[row["state"]]
    if row["state"] != "learning":
        return str(row["state"])
    return f"learning until {row['until']}" if row["until"] else "learning: too few events so far"


def add_name(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name, as an alert of the kind new_name has it; or $TICKER.")
    ],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Your name.")],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="The reason.")] = "",
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Put a name that no topic has on the watchlist file (setting watchlist.file). `run` and `monitor` adopt it.

    The topic has the forms of the name that the stored stories have, and its past is filled from them.
    """
    from foreshock.monitor.store import desk_actions, name_adding, open_store

    settings = options.load(config, store=store).settings
    engine = open_store(settings.store.url).engine
    rule = desk_actions.record(
        engine,
        lambda connection: name_adding.add(
            connection, settings.watchlist.file, name, by=by, note=note, now=time.time_ns() // 1_000
        ),
    )
    if json:
        output.print_json({"topic": rule.name, "names": rule.names, "tickers": rule.tickers, "by": by})
        return
    forms = ", ".join([*rule.names, *("$" + ticker for ticker in rule.tickers)])
    output.print_text(f"{rule.name} is on the watchlist, put there by {by}. It is known by: {forms}.")


def try_(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Names and aliases; $VOD is a ticker.")
    ] = None,
    tickers: Annotated[list[str] | None, typer.Option("--ticker", help="A ticker. May be given several times.")] = None,
    require: Annotated[
        list[str] | None, typer.Option("--require", help="The story must contain one of these words or phrases.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="A name does not count inside one of these phrases.")
    ] = None,
    case_sensitive: Annotated[bool, typer.Option("--case-sensitive", help="Match names only as written here.")] = False,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Count the stored stories that a rule matches, and show the newest twenty. Nothing is stored.

    A story that was repeated is shown once.
    """
    from pydantic import ValidationError

    from foreshock.monitor.store import open_store
    from foreshock.monitor.topics import TopicRule, matches

    names = names or []
    tickers = [*(name for name in names if name.startswith("$")), *(tickers or [])]
    if not names and not tickers:
        raise typer.BadParameter("Give a name, or a ticker with --ticker.", param_hint="NAME")
    try:
        rule = TopicRule(
            name=(names or tickers)[0].removeprefix("$"),
            names=[name for name in names if not name.startswith("$")],
            tickers=tickers,
            require=require or [],
            exclude=exclude or [],
            case_sensitive=case_sensitive,
        )
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, "), param_hint="NAME") from None
    count = total = 0
    shown: dict[tuple[str, int], dict[str, Any]] = {}
    reader = open_store(options.load(config, store=store).settings.store.url)
    for story in reader.texts():
        total += 1
        if matches(rule, story["title"], story["body"], story["tickers"], story["language"]):
            count += 1
            if len(shown) < SHOWN:
                shown.setdefault(story["first"], {key: story[key] for key in ("published_at", "source", "title")})
    copies = reader.copies_of(list(shown))
    newest = [{**story, "copies": copies[first]} for first, story in shown.items()]
    if json:
        output.print_json({"matched": count, "stories": total, "newest": newest})
        return
    output.print_text(f"{count:,} of {total:,} stored stories match.")
    for story in newest:
        title = story["title"] + output.and_copies(story["copies"])
        output.print_text(f"  {story['published_at']}  {story['source']}  {title}")
