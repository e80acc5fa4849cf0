"""`foreshock critical`: try which stored stories would have been critical."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from foreshock.cli import options, output


def try_(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD...", help="Words and phrases to try. Default: those of the settings."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="A word does not count inside one of these phrases.")
    ] = None,
    avoid: Annotated[
        list[str] | None, typer.Option("--avoid", help="A story with one of these in its title is left out.")
    ] = None,
    negative: Annotated[
        float | None, typer.Option("--negative", help="The probability of negative that a story needs.")
    ] = None,
    severity: Annotated[
        float | None, typer.Option("--severity", help="The severity that a story needs, 0 to 3.")
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic", help="Only this topic. May be given several times.", autocompletion=options.topic_names
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also show stories that would have joined an incident.")] = False,
    json: options.JsonLines = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Show which stored stories would have been critical, by the settings or by other words. Nothing is stored."""
    from pydantic import ValidationError

    from foreshock.analysis import critical_try
    from foreshock.ingest.meant import did_you_mean
    from foreshock.monitor.store import open_store
    from foreshock.monitor.topics.critical_rules import CriticalRule
    from foreshock.settings.versions import topic_rules

    settings = options.load(config, store=store).settings
    given: dict[str, Any] = {"words": words, "exclude": exclude, "avoid": avoid}
    given |= {"negative": negative, "severity": severity, "topics": topics}
    given = {name: value for name, value in given.items() if value is not None and value != []}
    try:
        if words:
            tables = [CriticalRule.model_validate(given)]
        else:
            tables = [CriticalRule.model_validate({**table.model_dump(), **given}) for table in settings.critical]
    except ValidationError as error:
        first = error.errors()[0]
        field = first["loc"][0] if first["loc"] else "words"
        where = {"words": "WORD", "topics": "--topic"}.get(str(field), f"--{field}")
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=where) from None
    if not tables:
        output.note("Critical stories are off: the settings have critical = []. To try words, name some.")
        return
    reader = open_store(settings.store.url)
    engine, known = reader.engine, options.known_topics(reader, settings)
    for topic in topics or ():
        if topic not in known:
            output.note(f"No story and no rule has the topic {topic!r}.{did_you_mean(topic, known)}")
    muted = frozenset(source.name for source in settings.sources if source.weight == 0)
    fired = counted = 0
    for tried in critical_try.try_on(engine, tables, topic_rules(settings), muted):
        counted += 1
        fired += tried.fires
        if not (tried.fires or all_):
            continue
        if json:
            output.print_json(tried.to_json())
            continue
        story, said = tried.story, "; ".join(f"{topic}: {word}" for topic, word in tried.topics.items())
        joins = "" if tried.fires else "joins  "
        output.print_text(f"{story['published_at']}  {joins}{story['scores']['negative']:.2f}  {said}")
        output.print_text(f"  {story['source']}  {story['title']}")
    days = critical_try.days(engine)
    rate = f", {28 * fired / days:.1f} in 28 days" if days >= 28 else ""
    plural = "story" if fired == 1 else "stories"
    output.note(
        f"{fired:,} critical {plural} in {days:,} days of the feed{rate}; {counted - fired:,} more would have joined "
        "their incidents."
    )
