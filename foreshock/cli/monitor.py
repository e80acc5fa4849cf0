"""`foreshock monitor`: decides and delivers, until it is stopped."""

from __future__ import annotations

from foreshock.cli import options
from foreshock.cli.replay import show_alert


def monitor(store: options.Store = None, config: options.Config = None) -> None:
    """Close the buckets of what workers read, raise alerts and deliver them, until it is stopped.

    Start two on a PostgreSQL store: one decides, the other stands by and takes over within seconds. What is changed in
    the settings file is in force from the next bucket. Ctrl-C and SIGTERM let the other one take over at once.
    """
    from foreshock.cli.stopping import stopping
    from foreshock.processes import monitor as processes_monitor

    with stopping() as stop:
        processes_monitor.monitor(lambda: options.load(config, store=store), stop=stop, on_alert=show_alert)
