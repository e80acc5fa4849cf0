"""`foreshock alerts`: what the detectors said, with evidence."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshock.cli import options, output

EVIDENCE_SHOWN = 3


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
