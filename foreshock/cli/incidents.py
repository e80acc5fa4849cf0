"""`foreshock incidents`: list incidents, and show one with its alerts and stories."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from foreshock.cli import options, output

ID_SHOWN = 8
"""Characters of an id in a table. Commands accept any beginning that is unique."""


class State(StrEnum):
    """The states of an incident."""

    OPEN = "open"
    ENDED = "ended"


def list_(
    state: Annotated[State | None, typer.Option("--state", help="Only incidents in this state.")] = None,
    json: options.JsonLines = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """List incidents in the order in which they fired. Those that were merged into an older one are left out."""
    from foreshock.monitor.store import open_store

    rows = open_store(options.load(config, store=store).settings.store.url).incidents(state=state)
    if json:
        output.print_lines(rows)
        return
    count = 0
    for row in rows:
        count += 1
        alerts = f"{len(row['alerts'])} alert{'' if len(row['alerts']) == 1 else 's'}"
        output.print_text(f"{row['id'][:ID_SHOWN]}  {row['fired_at']}  {row['state']}  {row['severity']}, {alerts}")
        output.print_text(f"  {row['title']}")
    if not count:
        output.note("No incidents." if state is None else f"No incident is {state}.")


def show(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="The incident's id, or its beginning.")],
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Show an incident: its title, its alerts, those that another one explains, its stories, and its messages."""
    from foreshock.monitor.store import open_store
    from foreshock.monitor.store.database import reading
    from foreshock.monitor.store.incident_views import incident as find

    with reading(open_store(options.load(config, store=store).settings.store.url).engine) as connection:
        found = find(connection, incident)
    if json:
        output.print_json(found)
        return
    output.print_text(f"{found['title']}\n{found['severity']}, {found['state']}; {found['id']}")
    if found["peak"]["at"]:
        output.print_text(f"At its peak {found['peak']['events']} stories in 24 hours, up to {found['peak']['at']}.")
    output.print_text("\nAlerts:")
    for alert in found["alerts"]:
        output.print_text(f"  {alert['fired_at']}  {alert['id'][:ID_SHOWN]}  {alert['severity']}  {alert['sentence']}")
        if alert["inhibited_by"]:
            output.print_text(f"    inhibited by {alert['inhibited_by'][:ID_SHOWN]}: {alert['inhibited_because']}")
    if found["stories"]:
        output.print_text("\nThe gravest stories, in order of time:")
    for story in found["stories"]:
        output.print_text(f"  {story['published_at']}  {story['source']}  {story['title']}")
    output.print_text("\nMessages:")
    for message in found["messages"]:
        output.print_text(f"  {message['decided_at']}  {message['event']}  {message['state']}")
