"""The demo as one call: write the feed, replay it with default settings into a store of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foreshock import pipeline
from foreshock.demo import generator
from foreshock.monitor.closing import Told
from foreshock.monitor.settings import StoreSettings
from foreshock.settings import Settings

FEED = "foreshock-demo.jsonl"
STORE = "foreshock-demo.db"


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo left behind."""

    feed: Path
    store: str
    result: pipeline.ReplayResult


def run(
    folder: Path,
    *,
    seed: int = 7,
    scorer: pipeline.MakeScorer | None = None,
    on_progress: Callable[[pipeline.Progress], None] | None = None,
    on_alert: Callable[[Told], None] | None = None,
) -> Demo:
    """Replay the feed of `seed`; its file and its store, both in `folder`, replace those of an earlier demo.

    Settings are the defaults, whatever the environment or a settings file say.
    """
    feed = folder / FEED
    for name in (STORE, f"{STORE}-wal", f"{STORE}-shm"):
        (folder / name).unlink(missing_ok=True)
    generator.write(feed, seed)
    store = f"sqlite:///{folder / STORE}"
    settings = Settings(store=StoreSettings(url=store))
    result = pipeline.replay(settings, [feed], scorer=scorer, on_progress=on_progress, on_alert=on_alert)
    return Demo(feed, store, result)
