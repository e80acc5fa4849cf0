"""`foreshock demo`: replay six weeks of made-up news with the real encoder, a receiver and the dashboard."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from foreshock.cli import logs, output
from foreshock.cli.replay import show_alert

if TYPE_CHECKING:
    from foreshock.demo.receiver import Received
    from foreshock.monitor.store.api import Store

PORTS = range(8501, 8521)


def demo(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed makes another feed of the same kind.")] = 7,
    dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="Serve the pages during the demo and until Ctrl-C.")
    ] = True,
) -> None:
    """Replay six weeks of made-up news with a crisis, a drift, an outage and two decoys; print alerts as they fire.

    The demo uses the default settings. It also delivers each alert, signed, to a receiver on this machine. It writes
    the feed (foreshock-demo.jsonl) and its store (foreshock-demo.db) into this folder and replaces those of an earlier
    demo.
    """
    if not dashboard:
        _replay(seed, None)
        return

    from foreshock.dashboard import serve
    from foreshock.dashboard.errors import PortTaken
    from foreshock.dashboard.settings import ServeSettings
    from foreshock.demo import show

    store = show.clear(Path())
    with contextlib.ExitStack() as stack:
        for port in PORTS:
            wanted = ServeSettings(store=store, port=port)
            try:
                process = stack.enter_context(serve.started(wanted))
                break
            except PortTaken:
                if port == PORTS[-1]:
                    raise
        address = serve.address(wanted)
        output.print_text(f"The pages fill while it runs: {address}")
        _open(address)
        crisis = _replay(seed, address)
        if crisis is not None:
            _open(f"{address}/Alerts?alert={crisis['id']}")
        output.print_text("")
        output.note("Press Ctrl-C to stop the dashboard.")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):  # the expected way to end
            process.wait()


def _replay(seed: int, address: str | None) -> dict[str, Any] | None:
    """Run the demo, print what happened, and return the alert to look at first."""
    from foreshock.demo import show
    from foreshock.monitor.store import open_store

    output.note(
        "Six weeks of news about companies that do not exist, about 10,000 headlines, through the real encoder: "
        "less than a minute on two idle cores."
    )
    received: list[Received] = []
    with output.progress("demo") as advance, logs.only_errors():
        done = show.run(
            Path(),
            seed=seed,
            external_url=address,
            on_progress=lambda p: advance(p.share, 1.0, f"{p.records:,} headlines"),
            on_alert=show_alert,
            on_webhook=lambda webhook: _got(webhook, received),
        )
    counts = done.result.counts
    rate = counts["stories"] / done.result.seconds
    verified = sum(webhook.verified for webhook in received)
    output.print_text(
        f"\n{counts['stories']:,} headlines in {done.result.seconds:.0f} s ({rate:,.0f} a second), "
        f"{counts['buckets']:,} buckets, {counts['alerts']} alerts; {verified} of {len(received)} webhooks verified."
    )
    store = open_store(done.store)
    alerts = list(store.alerts())
    crisis = gravest(alerts, lambda alert: bad_news_beyond_the_usual(store, alert))
    store.close()
    output.print_text("What changed:")
    for alert in alerts:
        state = "still firing" if alert["state"] == "firing" else f"resolved at {alert['resolved_at']}"
        kind = alert["kind"].replace("_", " ")
        output.print_text(f"  {kind} of {alert['topic']}, fired at {alert['fired_at']}, {state}")
    output.print_text("Where to look next:")
    for line in next_steps(crisis, done.store, address):
        output.print_text(f"  {line}")
    return crisis


def gravest(alerts: list[dict[str, Any]], bad_news: Callable[[dict[str, Any]], float]) -> dict[str, Any] | None:
    """Return the alert to show first: the spike of a topic with the most bad news, else the first alert."""
    spikes = [alert for alert in alerts if alert["kind"] == "negativity_spike" and alert["topic"] != "_all"]
    return max(spikes or alerts[:1], key=bad_news, default=None)


def bad_news_beyond_the_usual(store: Store, alert: dict[str, Any]) -> float:
    """Return the negative events from the start of a spike until it was over, less those that are usual in that time.

    How surely it was known when it fired says little about how bad it became.
    """
    started, fired = (datetime.fromisoformat(alert[name]) for name in ("started_at", "fired_at"))
    over = None if alert["resolved_at"] is None else datetime.fromisoformat(alert["resolved_at"])
    rows = list(store.series_rows(alert["topic"], start=started, end=over))
    end = over or max((datetime.fromisoformat(row["end"]) for row in rows), default=fired)
    usual = float(alert["baseline"]) * (end - started) / max(fired - started, timedelta(minutes=1))
    return float(sum(row["negative"] for row in rows)) - usual


def next_steps(crisis: dict[str, Any] | None, store_url: str, address: str | None) -> list[str]:
    """Return three pages to open, or without the dashboard four commands to run."""
    topic = crisis["topic"] if crisis else "_all"
    if address is None:
        option = f"--store {store_url}"
        return [
            f"foreshock alerts list {option}",
            f"foreshock topics list {option}",
            f'foreshock series "{topic}" --every 1d {option}',
            f"foreshock dashboard {option}",
        ]
    alert = f"/Alerts?alert={crisis['id']}" if crisis else "/Alerts"
    return [
        f"1. the worst alert and its stories:    {address}{alert}",
        f"2. its topic before, during and after: {address}/Topic?topic={quote(topic)}",
        f"3. everything else that is watched:    {address}/",
    ]


def _got(webhook: Received, received: list[Received]) -> None:
    received.append(webhook)
    kind = webhook.body["type"] if webhook.body else "something"
    signature = "signature verified" if webhook.verified else "WRONG SIGNATURE"
    output.print_text(f"    webhook received: {kind}, {signature} ({webhook.id})")
    sys.stdout.flush()


def _open(url: str) -> None:
    """Open a page in the browser, if there is a desktop. A browser in the terminal would cover the demo."""
    desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and desktop:
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(url)
