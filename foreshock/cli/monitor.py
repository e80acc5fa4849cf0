"""`foreshock monitor`: decide and deliver until stopped."""

from __future__ import annotations

from foreshock.cli import options
from foreshock.cli.replay import show_alert


def monitor(store: options.Store = None, config: options.Config = None) -> None:
    """Decide the buckets that workers fill, raise alerts and deliver them, until stopped.

    You can start two on a PostgreSQL store: one decides, and the other takes over within seconds if it fails. Changes
    in the settings file apply from the next bucket. Ctrl-C and SIGTERM let the other one take over at once.
    """
    from foreshock.cli.stopping import stopping
    from foreshock.processes.monitor import monitor as decide

    with stopping() as stop:
        decide(lambda: options.load(config, store=store), stop=stop, on_alert=show_alert)
