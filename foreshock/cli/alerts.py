"""`foreshock alerts`: list alerts, acknowledge, silence and judge them, and deliver them again or as samples."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import options, output, tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from foreshock.analysis.why import Explanation
    from foreshock.monitor.findings import Standing

EVIDENCE_SHOWN = 3
SHORT = 8
"""How much of an id a list shows. Every command takes a beginning of an id that no other alert has."""
ACTED = {"acknowledge": "acknowledged", "useful": "called useful", "useless": "called useless"}
MISSPELT = 0.8
"""An unknown name at least this similar to a topic's name is a typing error; any other is a topic without stories."""


def _somebody(by: str) -> str:
    if not by.strip():
        raise typer.BadParameter("Give your name; it is kept with what you do.")
    return by.strip()


By = Annotated[str, typer.Option("--by", metavar="NAME", help="Your name.", callback=_somebody)]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="The reason.")]


def list_(
    pending: Annotated[bool, typer.Option("--pending", help="Include alerts that never fired.")] = False,
    as_of: options.AsOf = None,
    json: options.JsonLines = False,
    format_: tables.Format = None,
    out: tables.Out = None,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """List alerts in the order in which they fired, each with its first evidence; with --json, all of its evidence."""
    chosen = tables.choice(format_, out, json=json)
    moment = options.moment(as_of, "--as-of")
    if moment is not None and pending:
        raise typer.BadParameter(
            "alerts that never fired were not published: leave --pending out", param_hint="--as-of"
        )
    from foreshock.monitor.budget import critical_sentence
    from foreshock.monitor.store import desk_actions, false_alarms, open_store
    from foreshock.monitor.store.database import reading

    opened = open_store(options.load(config, store=store).settings.store.url)
    rows = opened.alerts(pending=pending, as_of=moment)
    if chosen is not None:
        tables.write(rows, tables.ALERTS, chosen, out)
        return
    acts: dict[str, list[dict[str, Any]]] = {}
    with reading(opened.engine) as connection:
        for act in desk_actions.actions(connection):
            acts.setdefault(act["alert"], []).append(act)
        standing = false_alarms.standing(connection)
    count = 0
    for alert in rows:
        count += 1
        level = f", {alert['severity']}" if alert["severity"] not in (None, alert["kind"]) else ""
        said = f"{alert['state']}  {alert['kind']}, {alert['direction']}{level}"
        output.print_text(f"{alert['id'][:SHORT]}  {alert['fired_at'] or '-'}  {said}")
        output.print_text(f"  {alert['sentence']}")
        for story in alert["evidence"][:EVIDENCE_SHOWN]:
            output.print_text(f"    {story['published_at']}  {story['source']}  {story['title']}")
        if alert["inhibited_by"]:
            output.print_text(f"  inhibited by {alert['inhibited_by']}: {alert['inhibited_because']}")
        for act in acts.get(alert["id"], ()):
            output.print_text(f"  {ACTED.get(act['action'], act['action'])} by {act['by']}, {act['at']}  {act['note']}")
    if moment is None and standing.critical and (said := critical_sentence(standing)):
        output.note(said)
    if not count:
        output.note("No alerts." if pending else "No alerts fired. To include pending ones: --pending")


def why(
    about: Annotated[
        str,
        typer.Argument(metavar="ALERT|TOPIC", help="An alert's id or the beginning of it, or a topic's name."),
    ],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="For a topic: when. Default: as far as is decided.")
    ] = None,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Explain an alert, or how a topic stood at any time, also when nothing fired.

    An alert: its window and the weeks before it, its stories and without which of them it would not have fired, its
    deliveries, and what people did. A topic: the score of each kind of alert with its threshold, what was missing, and
    what else moved. Both are decided again from the store, and nothing is stored.
    """
    from foreshock.analysis import why as again
    from foreshock.ingest.meant import alike
    from foreshock.monitor.errors import NoSuchAlert
    from foreshock.monitor.store import configured, open_store
    from foreshock.monitor.store.database import reading
    from foreshock.monitor.store.times import microseconds
    from foreshock.monitor.store.why import why as ask

    engine = open_store(options.load(config, store=store).settings.store.url).engine
    moment = options.moment(at, "--at")
    with reading(engine) as connection:
        names = configured.topic_names(connection)
        is_topic = moment is not None or about in names
        try:
            found = None if is_topic else ask(connection, about)
        except NoSuchAlert:
            if meant := alike(about, names, like=MISSPELT):
                raise NoSuchAlert(
                    f"There is no alert and no topic {about!r}; did you mean {' or '.join(meant)}?"
                ) from None
            raise
    if found is None:
        explained = again.standing_at(engine, about, None if moment is None else microseconds(moment))
        if json:
            output.print_json(explained.to_json())
        else:
            _print_standing(explained)
        return
    kept = again.without(engine, found["alert"]["id"])
    found["without"] = kept.to_json()
    if json:
        output.print_json(found)
        return
    _print_alert(found)


def _print_standing(explained: Explanation) -> None:
    from foreshock.monitor.store.times import iso

    output.print_text(f"{explained.topic} at {iso(explained.at)}")
    for alert in explained.open:
        output.print_text(f"  {alert['state']}  {alert['kind']}, {alert['direction']}  {alert['id'][:SHORT]}")
    columns = ("kind", "score", "threshold", "observed", "usual", "of", "in the last")
    output.print_table(columns, (_standing_row(one) for one in explained.standings), right=columns[1:5])
    output.print_text("")
    for missing in explained.missing:
        output.print_text(missing.sentence)
    if explained.also:
        output.print_text("\nWhat else was near its threshold, or beyond it:")
        rows = ((topic, *_standing_row(one)) for topic, one in explained.also)
        output.print_table(("topic", *columns), rows, right=columns[1:5])


def _standing_row(one: Standing) -> tuple[str, ...]:
    numbers = [f"{number:.2f}" for number in (one.score, one.threshold, one.observed, one.usual)]
    learning = "" if one.judged else " (not judged)"
    return f"{one.kind}, {one.direction}{learning}", *numbers, one.measure, f"{one.hours:.0f} h"


def _print_alert(found: dict[str, Any]) -> None:
    from foreshock.monitor.store.why import said

    about = found["alert"]
    state = about["state"] if about["fired_at"] else f"{about['state']}, never fired"
    output.print_text(f"{about['sentence']}\n{about['kind']}, {about['direction']}, {state}.")
    output.print_text("\n".join(said(found, lambda start, end: f"{start} to {end}")) + "\n")
    columns = ("from", "stories", "events", "negative share", "polarity")
    rows = ((s["start"], s["stories"], s["events"], *_means(s)) for s in found["steps"])
    output.print_table(columns, rows, right=columns[1:])
    for story in about["evidence"]:
        copies = f" (and {story['copies']} copies)" if story["copies"] else ""
        negative = f"{story['scores']['negative']:.2f}"
        output.print_text(f"  {story['published_at']}  {negative}  {story['source']}  {story['title']}{copies}")
    output.print_text(f"\n{found['without']['sentence']}")
    for story in found["without"]["stories"]:
        output.print_text(f"  {story['published_at']}  {story['source']}  {story['title']}")
    output.print_text("")
    for sent in found["deliveries"]:
        when = sent["delivered_at"] or sent["last_error"] or ""
        output.print_text(f"{sent['event']} to {sent['receiver']}: {sent['state']}  {when}")
    for act in found["actions"]:
        output.print_text(f"{act['action']} by {act['by']}, {act['at']}  {act['note']}")
    if not found["deliveries"]:
        kept = ", ".join(f"{row['event']} {row['state']}" for row in found["outbox"])
        output.note(f"It was not delivered to any receiver by itself{f' ({kept})' if kept else ''}.")


def _means(stretch: dict[str, Any]) -> tuple[str, str]:
    share, polarity = stretch["negative_share"], stretch["polarity"]
    return ("-", "-") if share is None else (f"{share * 100:.0f} %", f"{polarity:+.2f}")


def ack(
    alert: Annotated[
        str, typer.Argument(metavar="ALERT", help="The id of an alert or incident, or the beginning of it.")
    ],
    by: By,
    note: Note = "",
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Acknowledge an alert: record that you look after it. This does not change detection.

    For an incident, its first alert is acknowledged. Once an alert of an incident is acknowledged, the incident does
    not escalate.
    """
    from foreshock.monitor.store import desk_actions, incident_views, open_store

    def act(connection: Connection) -> str:
        of_alert, incident = incident_views.alert_or_incident(connection, alert)
        identity = str(of_alert or incident_views.incident(connection, incident or "")["alerts"][0]["id"])
        desk_actions.acknowledge(connection, identity, by=by, note=note, now=time.time_ns() // 1_000)
        return identity

    engine = open_store(options.load(config, store=store).settings.store.url).engine
    output.print_text(f"{desk_actions.record(engine, act)} is acknowledged by {by}.")


def feedback(
    alert: Annotated[
        str | None, typer.Argument(metavar="ALERT", help="The alert's id, or the beginning of it. None: all verdicts.")
    ] = None,
    verdict: Annotated[str | None, typer.Argument(metavar="VERDICT", help="useful or useless.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Your name.")] = None,
    note: Note = "",
    labels: Annotated[
        bool, typer.Option("--labels", help="Print each verdict with its alert and evidence, one JSON object a line.")
    ] = False,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Say whether an alert was useful, or show how many were. This does not change detection.

    Without an alert, it prints the desk's own precision, of all alerts and by kind and topic. The last verdict on an
    alert counts.
    """
    from foreshock.monitor.store import desk_actions, open_store
    from foreshock.monitor.store import feedback as verdicts
    from foreshock.monitor.store.database import reading

    if alert is not None and (labels or json):
        raise typer.BadParameter(
            "it shows all verdicts; leave ALERT out", param_hint="--labels" if labels else "--json"
        )
    if alert is not None and verdict not in verdicts.VERDICTS:
        raise typer.BadParameter("expected useful or useless", param_hint="VERDICT")
    engine = open_store(options.load(config, store=store).settings.store.url).engine
    if alert is not None and verdict is not None:
        if by is None:
            raise typer.BadParameter("Give your name; it is kept with what you do.", param_hint="--by")
        by, given, said = _somebody(by), alert, verdict

        def act(connection: Connection) -> str:
            identity = desk_actions.alert_id_of(connection, given)
            verdicts.give(connection, identity, said, by=by, note=note, now=time.time_ns() // 1_000)
            return identity

        output.print_text(f"{desk_actions.record(engine, act)} is called {verdict} by {by}.")
        return
    with reading(engine) as connection:
        if labels:
            output.print_lines(verdicts.labels(connection))
            return
        found = verdicts.precision(connection)
    if json:
        output.print_json(found.to_json())
        return
    if not found.judged.judged:
        output.note("No alert was judged yet. To judge one: foreshock alerts feedback ALERT useful --by NAME")
        return
    output.print_text(f"{found.judged}, {found.fired} fired.\n")
    rows = [("kind", kind, tally) for kind, tally in found.by_kind.items()]
    rows += [("topic", topic, tally) for topic, tally in found.by_topic.items()]
    columns = ("", "name", "useful", "judged")
    output.print_table(columns, ((of, name, t.useful, t.judged) for of, name, t in rows), right=columns[2:])


def silence(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC", help="The topic. _all stands for all stories.", autocompletion=options.topic_names
        ),
    ],
    for_: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 8h, 2d. 0s ends a silence.")],
    by: By,
    note: Note = "",
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Stop deliveries about a topic for some time. Its alerts still fire and are kept."""
    from foreshock.ingest.meant import alike
    from foreshock.monitor.store import desk_actions, open_store, topic_views
    from foreshock.monitor.store.database import reading
    from foreshock.monitor.store.times import iso
    from foreshock.settings.versions import topic_rules

    span = options.duration(for_, "--for") or 0
    now = time.time_ns() // 1_000
    settings = options.load(config, store=store).settings
    engine = open_store(settings.store.url).engine
    with reading(engine) as connection:
        names = [*topic_views.topics_with_series(connection), *topic_views.names_with_alerts(connection)]
    known = {*names, *(rule.name for rule in topic_rules(settings))}
    # 0s must end any silence, also that of a misspelt name.
    if span and topic not in known and (meant := alike(topic, names, like=MISSPELT)):
        raise typer.BadParameter(
            f"no story of {topic!r} was seen yet; did you mean {' or '.join(meant)}?", param_hint="TOPIC"
        )
    desk_actions.record(
        engine,
        lambda connection: desk_actions.silence(connection, topic, until=now + span, by=by, note=note, now=now),
    )
    if topic not in names:
        output.note(f"No story of {topic!r} was seen yet. For the names of topics: foreshock topics list")
    until = iso((now + span) // 1_000_000 * 1_000_000)
    output.print_text(f"{topic} is silenced until {until}." if span else f"{topic} is no longer silenced.")


def resend(
    alerts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ALERT...", help="Ids of alerts or incidents, or their beginnings. Default: everything."
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="NAME", help="Only to this receiver. May be given several times."),
    ] = None,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Put parked deliveries back in the queue, for example after an outage of the receiver.

    With ids, those of these alerts and of their incidents. A running monitor sends them. `firing` is not sent to a
    receiver that already has the alert's `resolved`, or that will not get it. What is older than what the receiver
    knows of an incident is not sent either.
    """
    from foreshock.monitor.delivery import receivers
    from foreshock.monitor.store import deliveries, desk_actions, incident_views, open_store

    settings = options.load(config, store=store).settings
    names = [
        receiver.name for receiver in receivers(settings.webhooks, settings.messages, settings.receivers, only=to or ())
    ]

    def put_back(connection: Connection) -> int:
        meant = [incident_views.alert_or_incident(connection, given) for given in alerts or ()]
        ids = {
            "alerts": [alert for alert, _ in meant if alert is not None],
            "incidents": [incident for _, incident in meant if incident is not None],
        }
        return deliveries.resend(connection, time.time_ns() // 1_000, receivers=names, **ids)

    count = desk_actions.record(open_store(settings.store.url).engine, put_back)
    if count:
        output.print_text(f"Deliveries back in the queue: {count}. `foreshock run` or `foreshock monitor` sends them.")
    else:
        output.note("No parked delivery can be sent.")


def send_samples(
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="NAME", help="Only to this receiver. May be given several times."),
    ] = None,
    json: options.JsonLines = False,
    config: options.Config = None,
) -> None:
    """Send a sample alert to each receiver, or to those named, and print the answers. Fails if a receiver fails."""
    from foreshock.monitor.delivery import testing

    settings = options.load(config).settings
    rows = testing.send_samples(
        *(settings.webhooks, settings.messages, settings.receivers),
        settings.dashboard.external_url,
        only=to or (),
    )
    for row in rows:
        if json:
            output.print_json(row)
        elif row["ok"]:
            status = f"answered {row['status']}, " if row["status"] else ""
            output.print_text(f"{row['receiver']}: {status}{row['milliseconds']} ms. Delivered.")
        else:
            output.print_text(f"{row['receiver']}: FAILED after {row['milliseconds']} ms: {row['error']}")
    if not rows:
        output.note("There are no receivers in the settings. Add [[webhooks]], [[messages]] or [[receivers]].")
    if not rows or not all(row["ok"] for row in rows):
        raise typer.Exit(1)
