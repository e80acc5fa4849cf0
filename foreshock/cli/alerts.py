"""`foreshock alerts`: what the detectors said, with evidence; what the desk does about it; a test of the way out."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from foreshock.cli import options, output

EVIDENCE_SHOWN = 3
SOURCES_SHOWN = 8
MISSPELT = 0.8
"""A name that is so like a topic's is taken for a slip; one less like it, for a topic that has no story yet."""


def _somebody(by: str) -> str:
    if not by.strip():
        raise typer.BadParameter("Say who you are: it is kept with what you do.")
    return by.strip()


By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who does this.", callback=_somebody)]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")]


def list_(
    pending: Annotated[bool, typer.Option("--pending", help="Also those that never fired.")] = False,
    json: options.JsonLines = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Alerts in the order in which they fired, each as a sentence with its first evidence; with --json all of it."""
    from foreshock.monitor.store import desk_actions, open_store
    from foreshock.monitor.store.database import reading

    opened = open_store(options.load(config, store=store).settings.store.url)
    rows = opened.alerts(pending=pending)
    if json:
        output.print_lines(rows)
        return
    acts: dict[str, list[dict[str, Any]]] = {}
    with reading(opened.engine) as connection:
        for act in desk_actions.actions(connection):
            acts.setdefault(act["alert"], []).append(act)
    count = 0
    for alert in rows:
        count += 1
        output.print_text(f"{alert['fired_at'] or '-'}  {alert['state']}  {alert['kind']}, {alert['direction']}")
        output.print_text(f"  {alert['sentence']}")
        for story in alert["evidence"][:EVIDENCE_SHOWN]:
            output.print_text(f"    {story['published_at']}  {story['source']}  {story['title']}")
        for act in acts.get(alert["id"], ()):
            output.print_text(f"  acknowledged by {act['by']}, {act['at']}  {act['note']}")
    if not count:
        output.note("No alerts." if pending else "No alerts fired. Those that were only pending: --pending")


def why(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Its id.")],
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """What speaks for an alert: its window beside the weeks before it, its stories, whom it was sent to, who acted."""
    from foreshock.monitor.store import open_store
    from foreshock.monitor.store.database import reading
    from foreshock.monitor.store.why import why as ask

    with reading(open_store(options.load(config, store=store).settings.store.url).engine) as connection:
        found = ask(connection, alert)
    if json:
        output.print_json(found)
        return
    told, window, before = found["alert"], found["window"], found["before"]
    state = told["state"] if told["fired_at"] else f"{told['state']}, never fired"
    output.print_text(f"{told['sentence']}\n{told['kind']}, {told['direction']}, {state}; score {found['score']:.1f}.")
    output.print_text(
        f"{window['start']} to {window['end']}: {_events(window)}"
        + (f", from {', '.join(window['sources'][:SOURCES_SHOWN])}" if window["sources"] else "")
        + (f" and {more} more" if (more := len(window["sources"]) - SOURCES_SHOWN) > 0 else "")
        + f".\nThe 28 days before: {_events(before)}.\n"
    )
    columns = ("from", "stories", "events", "negative share", "polarity")
    rows = ((s["start"], s["stories"], s["events"], *_means(s)) for s in found["steps"])
    output.print_table(columns, rows, right=columns[1:])
    for story in told["evidence"]:
        copies = f" (and {story['copies']} copies)" if story["copies"] else ""
        negative = f"{story['scores']['negative']:.2f}"
        output.print_text(f"  {story['published_at']}  {negative}  {story['source']}  {story['title']}{copies}")
    output.print_text("")
    for sent in found["deliveries"]:
        when = sent["delivered_at"] or sent["last_error"] or ""
        output.print_text(f"{sent['event']} to {sent['receiver']}: {sent['state']}  {when}")
    for act in found["actions"]:
        output.print_text(f"{act['action']} by {act['by']}, {act['at']}  {act['note']}")
    if not found["deliveries"]:
        kept = ", ".join(f"{row['event']} {row['state']}" for row in found["outbox"])
        output.note(f"It was sent to nobody by itself{f' ({kept})' if kept else ''}.")


def _events(stretch: dict[str, Any]) -> str:
    said = f"{stretch['events']:,} events in {stretch['stories']:,} stories"
    share, polarity = _means(stretch)
    return f"{said}, negative share {share}, polarity {polarity}" if stretch["events"] else said


def _means(stretch: dict[str, Any]) -> tuple[str, str]:
    share, polarity = stretch["negative_share"], stretch["polarity"]
    return ("-", "-") if share is None else (f"{share * 100:.0f} %", f"{polarity:+.2f}")


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
    from foreshock.analysis.power import near
    from foreshock.monitor.store import desk_actions, open_store, views
    from foreshock.monitor.store.database import writing
    from foreshock.monitor.store.times import iso
    from foreshock.settings.versions import topic_rules

    span = options.duration(for_, "--for") or 0
    now = time.time_ns() // 1_000
    settings = options.load(config, store=store).settings
    with writing(open_store(settings.store.url).engine) as connection:
        names = views.topic_names(connection)
        known = {*names, *(rule.name for rule in topic_rules(settings))}
        # An end is for whatever was silenced, misspelt or not.
        if span and topic not in known and (meant := near(topic, names, MISSPELT)):
            raise typer.BadParameter(
                f"no story of {topic!r} was seen so far; did you mean {' or '.join(meant)}?", param_hint="TOPIC"
            )
        desk_actions.silence(connection, topic, until=now + span, by=by, note=note, now=now)
    if topic not in names:
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
