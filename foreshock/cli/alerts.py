"""`foreshock alerts`: what the detectors said, with evidence; what the desk does about it; a test of the way out."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from foreshock.cli import options, output

EVIDENCE_SHOWN = 3

By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who does this.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")]


def list_(
    pending: Annotated[bool, typer.Option("--pending", help="Also those that never fired.")] = False,
    json: options.JsonLines = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Alerts in the order in which they fired, each as a sentence with its first evidence; with --json all of it."""
    from foreshock.monitor.store import open_store

    rows = open_store(options.load(config, store=store).settings.store.url).alerts(pending=pending)
    if json:
        output.print_lines(rows)
        return
    count = 0
    for alert in rows:
        count += 1
        output.print_text(f"{alert['fired_at'] or '-'}  {alert['state']}  {alert['kind']}, {alert['direction']}")
        output.print_text(f"  {alert['sentence']}")
        for story in alert["evidence"][:EVIDENCE_SHOWN]:
            output.print_text(f"    {story['published_at']}  {story['source']}  {story['title']}")
    if not count:
        output.note("No alerts." if pending else "No alerts fired. Those that were only pending: --pending")


def ack(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Its id.")],
    by: By,
    note: Note = "",
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Say that somebody looks after an alert. It is kept with the alert, and changes no detection."""
    from foreshock.monitor.store import desk_actions, open_store
    from foreshock.monitor.store.database import writing

    engine = open_store(options.load(config, store=store).settings.store.url).engine
    with writing(engine) as connection:
        desk_actions.acknowledge(connection, alert, by=by, note=note, now=time.time_ns() // 1_000)
    output.print_text(f"{alert} is acknowledged by {by}.")


def silence(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic; _all is the market's own series.")],
    for_: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 8h, 2d; 0s ends a silence.")],
    by: By,
    note: Note = "",
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Deliver nothing about a topic for a while. Its alerts are decided and kept as ever."""
    from foreshock.monitor.store import desk_actions, open_store
    from foreshock.monitor.store.database import writing
    from foreshock.monitor.store.times import iso

    span = options.duration(for_, "--for") or 0
    now = time.time_ns() // 1_000
    engine = open_store(options.load(config, store=store).settings.store.url).engine
    with writing(engine) as connection:
        desk_actions.silence(connection, topic, until=now + span, by=by, note=note, now=now)
        known = desk_actions.is_known(connection, topic)
    if not known:
        output.note(f"No story of {topic!r} was seen so far; names are as `foreshock topics list` writes them.")
    until = iso((now + span) // 1_000_000 * 1_000_000)
    output.print_text(f"{topic} is silenced until {until}." if span else f"{topic} is silenced no longer.")


def resend(
    alerts: Annotated[
        list[str] | None, typer.Argument(metavar="ALERT...", help="Their ids; without any: of all alerts.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="NAME", help="Only to this receiver (may be given again).")
    ] = None,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Try again to deliver what was parked, say after an outage of the receiver. A running monitor sends it.

    That an alert fires is not sent to a receiver that knows already that it is over, or will not hear of it.
    """
    from foreshock.monitor.delivery import receivers
    from foreshock.monitor.store import desk_actions, open_store, outbox
    from foreshock.monitor.store.database import writing

    settings = options.load(config, store=store).settings
    names = [receiver.name for receiver in receivers(settings.webhooks, settings.messages, only=to or ())]
    with writing(open_store(settings.store.url).engine) as connection:
        for alert in alerts or ():
            desk_actions.must_exist(connection, alert)
        count = outbox.resend(connection, time.time_ns() // 1_000, receivers=names, alerts=alerts or ())
    if count:
        output.print_text(f"Deliveries that wait again: {count}. `foreshock run` or `foreshock monitor` sends them.")
    else:
        output.note("Nothing that could be sent is parked.")


def send_samples(
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="NAME", help="Only this receiver (may be given again).")
    ] = None,
    json: options.JsonLines = False,
    config: options.Config = None,
) -> None:
    """Send a sample to each receiver, or to those named, and say what came back. Fails if one of them did."""
    from foreshock.monitor.delivery import testing

    settings = options.load(config).settings
    rows = testing.send_samples(settings.webhooks, settings.messages, settings.dashboard.external_url, only=to or ())
    for row in rows:
        if json:
            output.print_json(row)
        elif row["ok"]:
            status = f"answered {row['status']}, " if row["status"] else ""
            output.print_text(f"{row['receiver']}: {status}{row['milliseconds']} ms. Good.")
        else:
            output.print_text(f"{row['receiver']}: FAILED after {row['milliseconds']} ms: {row['error']}")
    if not rows:
        output.note("The settings name no receiver. Add [[webhooks]] or [[messages]].")
    if not rows or not all(row["ok"] for row in rows):
        raise typer.Exit(1)
