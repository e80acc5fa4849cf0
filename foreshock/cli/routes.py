"""`foreshock routes`: say who would hear of an incident, and why."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.cli import options, output

if TYPE_CHECKING:
    from foreshock.settings.models import Settings


def who_hears(
    topic: Annotated[
        str,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="The topic. _all stands for all stories.",
            autocompletion=options.topic_names,
        ),
    ],
    severity: Annotated[
        str | None,
        typer.Option(
            "--severity",
            metavar="LEVEL",
            help="info, warning or critical. Default: warning; with --kind critical, critical.",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="KIND", help="negativity_spike, drift, volume, silence, critical or new_name."),
    ] = "negativity_spike",
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="When: 2026-03-02T23:10+01:00. Without a zone, UTC. Default: now."),
    ] = None,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Say which receivers would hear of an incident of one alert, and by which route. Nothing is sent.

    It also says what mutes them and until when, to whom the incident escalates, and whether the topic is silenced.
    """
    from foreshock.monitor.delivery.route_settings import KIND_NAMES
    from foreshock.monitor.delivery.route_trace import trace
    from foreshock.monitor.kinds import CRITICAL
    from foreshock.monitor.severity import LEVELS
    from foreshock.monitor.store.times import iso_or_none, microseconds
    from foreshock.settings.versions import routing

    settings = options.load(config, store=store).settings
    _known(kind, KIND_NAMES, "--kind")
    if severity is None:
        severity = "critical" if kind == CRITICAL else "warning"
    _known(severity, LEVELS, "--severity")
    moment = options.moment(at, "--at")
    now = time.time_ns() // 1_000 if moment is None else microseconds(moment)
    found = trace(routing(settings), topic, kind, severity, now)
    found["silenced_until"] = iso_or_none(_silenced_until(settings, topic, now))
    if json:
        output.print_json(found)
        return
    _say_if_unknown(settings, topic)
    output.print_text(f"{kind} of {topic}, {severity}, at {found['at']}")
    for route in found["routes"]:
        to = ", ".join(route["receivers"]) or "nobody"
        output.print_text(f"  {route['route']} ({to}): {'yes' if route['matches'] else 'no'}: {route['because']}")
    for one in found["receivers"]:
        by = " and ".join(one["routes"])
        if one["hears"] == "now":
            output.print_text(f"{one['receiver']} hears at once, by {by}.")
        else:
            muted = " and ".join(one["muted_by"])
            output.print_text(f"{one['receiver']} hears at {one['until']}, by {by}: muted by {muted} until then.")
    for one in found["escalations"]:
        output.print_text(
            f"If nobody acknowledges it within {one['after']}: {', '.join(one['receivers'])}, by {one['route']}."
        )
    if not found["receivers"]:
        output.print_text("Nobody hears.")
    if found["silenced_until"] is not None:
        output.print_text(f"But {topic} is silenced until {found['silenced_until']}: until then nobody hears.")


def _known(value: str, known: tuple[str, ...], option: str) -> None:
    from foreshock.monitor.delivery.route_settings import meant

    if value not in known:
        raise typer.BadParameter(f"{value!r}: {meant(value, known)}", param_hint=option)


def _say_if_unknown(settings: Settings, topic: str) -> None:
    from foreshock.ingest.meant import alike
    from foreshock.monitor.units import ALL
    from foreshock.settings.versions import topic_rules

    names = [rule.name for rule in topic_rules(settings)]
    if topic not in (*names, ALL):
        meant = alike(topic, names)
        hint = f"; did you mean {' or '.join(meant)}?" if meant else "."
        output.note(f"No rule defines the topic {topic!r}: only a feed may call one so{hint}")


def _silenced_until(settings: Settings, topic: str, at: int) -> int | None:
    """Return until when the topic is silenced at a time; None if it is not, or if there is no store yet."""
    from foreshock.monitor.errors import StoreError
    from foreshock.monitor.store import desk_actions
    from foreshock.monitor.store.database import connect, reading

    with suppress(StoreError, FileNotFoundError), reading(connect(settings.store.url, create=False)) as connection:
        until = desk_actions.silenced_until(connection, topic)
        return until if until is not None and until > at else None
    return None
