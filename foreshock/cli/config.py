"""`foreshock config`: write, check and show the settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import options, output
from foreshock.ingest.meant import did_you_mean
from foreshock.observability.log import hidden

if TYPE_CHECKING:
    from foreshock.settings.load import Loaded
    from foreshock.settings.models import Settings

COMMON = """
a about after all also an and any are as at be but by can could day do for from had has have he her his how if in into
is it its just may more most new news no not now of off on one only or other our out over report said say says she
should so some than that the their them then there these they this time to two under up us was we were what when which
who will with would year you your
"""
"""Words that stand in most stories."""


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("foreshock.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented settings file: every setting, its default and what it does."""
    from foreshock.cli.template import template

    text = template()
    try:
        with file.open("w" if force else "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{file} already exists; --force replaces it", param_hint="FILE") from None
    output.note(f"Wrote {file}. Every line in it is a default. Remove the # from a line to change it.")


def check(json: options.Json = False, config: options.Config = None) -> None:
    """Check the settings, the topic rules and the watchlist. For each error, print what is wrong and where.

    It also checks that weights and feed files exist and that apprise URLs are valid. It loads no model and connects to
    nothing.
    """
    from foreshock.settings.load import LISTS, SettingsError
    from foreshock.settings.versions import topic_rules

    loaded = options.load(config)
    rules = topic_rules(loaded.settings)
    if problems := list(_problems(loaded.settings)):
        raise SettingsError("\n".join(problems))
    where = str(loaded.file) if loaded.file else None
    made = sum("." in key or key in LISTS for key in loaded.origins)  # an empty [section] sets nothing
    warnings = [*common_words(loaded.settings), *unknown_topics(loaded.settings), *_of_routes(loaded.settings)]
    if json:
        found = {"file": where, "settings": made, "topics": len(rules), "ok": True}
        output.print_json(found | ({"warnings": warnings} if warnings else {}))
    else:
        for warning in warnings:
            output.note(warning)
        output.print_text(f"{where or 'No settings file'}: {made} settings made, {len(rules)} topics. No errors.")


def common_words(settings: Settings) -> Iterator[str]:
    """Yield a warning for each name of a topic that is a common word, and would match most stories."""
    from foreshock.monitor.topics.normalise import folded, words

    for rule in settings.topics:
        for name in rule.names:
            if not rule.require and folded(words(name)) in COMMON.split():
                yield (
                    f"Warning: topics: {rule.name!r}: the name {name!r} is a common word and matches most stories. "
                    "Write a longer name, or put it in weak with a context."
                )


def unknown_topics(settings: Settings) -> Iterator[str]:
    """Yield a warning for each topic of `[[critical]]` that no rule defines, so that only a feed can name it."""
    from foreshock.settings.versions import topic_rules

    names = [rule.name for rule in topic_rules(settings)]
    for name in (name for table in settings.critical for name in table.topics if name not in names):
        yield (
            f"Warning: critical: no rule defines the topic {name!r}, so only stories whose feed names it count."
            f"{did_you_mean(name, names)}"
        )


def _of_routes(settings: Settings) -> Iterator[str]:
    """Yield a warning for each route that takes nothing, each receiver that hears nothing, and what nobody hears."""
    from foreshock.monitor.delivery import route_checks
    from foreshock.settings.versions import routing, topic_labels

    return route_checks.warnings(routing(settings), topic_labels(settings))


def _problems(settings: Settings) -> Iterator[str]:
    """Yield what a command would refuse although each setting is valid by itself."""
    from foreshock.dashboard import market
    from foreshock.ingest.errors import IngestError
    from foreshock.ingest.growing import GrowingFile
    from foreshock.model.errors import ModelError
    from foreshock.model.storage import check_weights
    from foreshock.monitor.delivery.messages import Message

    weights = settings.model.weights
    try:
        check_weights(weights, settings.model.labels)
    except ModelError as error:
        yield f"model.weights: {error}{'' if str(error).endswith('?') else '.'}"
    for file in (feed.file for feed in settings.feeds if feed.file is not None):
        try:
            GrowingFile(file).close()
        except IngestError as error:
            yield f"feeds: {error}"
    if (code := settings.dashboard.exchange) is not None and (refusal := market.refusal(code)):
        yield f"dashboard.exchange: {refusal}"
    for message in settings.messages:
        if refusal := Message(message).refusal():
            yield f"messages: {message.name!r}: {refusal}."


def show(json: options.Json = False, config: options.Config = None, store: options.Store = None) -> None:
    """Show the settings in force and where each comes from. Passwords are hidden."""
    loaded = options.load(config, store=store)
    rows = [(key, hidden(value), origin) for key, value, origin in _rows(loaded)]
    if json:
        output.print_json({key: {"value": value, "from": origin} for key, value, origin in rows})
    else:
        output.print_table(("setting", "value", "from"), rows)


def _rows(loaded: Loaded) -> list[tuple[str, Any, str]]:
    from foreshock.settings.redact import redacted

    rows: list[tuple[str, Any, str]] = []
    for section, values in loaded.settings.model_dump(mode="json").items():
        if section == "topics":
            names = [rule["name"] for rule in values]
            rows.append(("topics", names, loaded.origins.get("topics", "default")))
            continue
        if isinstance(values, list):  # feeds and receivers: their models hide secrets
            rows.append((section, values, loaded.origins.get(section, "default")))
            continue
        for key, value in (values or {}).items():  # an absent section has no values
            dotted = f"{section}.{key}"
            shown = redacted(value) if dotted == "store.url" else value
            rows.append((dotted, shown, _origin(dotted, loaded.origins)))
    return rows


def _origin(dotted: str, origins: dict[str, str]) -> str:
    found = (origin for key, origin in origins.items() if key == dotted or key.startswith(dotted + "."))
    return next(found, "default")
