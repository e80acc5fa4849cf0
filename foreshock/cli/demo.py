"""`foreshock demo`: six weeks of made-up news through the real encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foreshock.cli import output
from foreshock.cli.replay import show_alert


def demo(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another feed of the same kind.")] = 7,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Then open the dashboard.")] = True,
) -> None:
    """Replay six weeks of made-up news with a crisis, a drift, an outage and two decoys; print alerts as they fire.

    Default settings throughout. Writes foreshock-demo.jsonl (the feed) and foreshock-demo.db (its store) into this
    folder, replacing those of an earlier demo.
    """
    from foreshock.demo import show

    output.note(
        "Six weeks of news about companies that do not exist, about 10,000 headlines, through the real encoder: "
        "a minute or so on two cores."
    )
    with output.progress("demo") as advance:
        done = show.run(
            Path(),
            seed=seed,
            on_progress=lambda p: advance(p.share, 1.0, f"{p.records:,} headlines"),
            on_alert=show_alert,
        )
    counts = done.result.counts
    rate = counts["stories"] / done.result.seconds
    output.print_text("")
    output.print_text(
        f"{counts['stories']:,} headlines in {done.result.seconds:.0f} s ({rate:,.0f} a second), "
        f"{counts['buckets']:,} buckets, {counts['alerts']} alerts."
    )
    output.print_text(f"What changed, and where to look next (the store is {done.store}):")
    for line in summary(done.store):
        output.print_text(f"  {line}")


def summary(store_url: str) -> list[str]:
    """One line an alert that fired, the strongest topics first, and the commands that show more."""
    from foreshock.monitor.store import open_store

    store = open_store(store_url)
    lines, first = list[str](), None
    for alert in store.alerts():
        first = first or alert["topic"]
        state = "still firing" if alert["state"] == "firing" else f"over at {alert['resolved_at']}"
        lines.append(f"{alert['kind'].replace('_', ' ')} of {alert['topic']}, fired at {alert['fired_at']}, {state}")
    store.close()
    option = f"--store {store_url}"
    return [
        *lines,
        "",
        f"foreshock alerts list {option}",
        f"foreshock topics list {option}",
        *([f'foreshock series "{first}" --every 1d {option}'] if first else []),
        f"foreshock stories --limit 20 {option}",
    ]
