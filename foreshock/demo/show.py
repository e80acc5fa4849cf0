"""Run the demo: write the feed, replay it with default settings into its own store, and deliver its alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from foreshock.dashboard.settings import DashboardSettings
from foreshock.demo import generator
from foreshock.demo.receiver import Received, Receiver
from foreshock.model.settings import ModelSettings
from foreshock.monitor.closing import AlertNews
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.settings import StoreSettings
from foreshock.processes import replay, wiring
from foreshock.settings.models import Settings
from foreshock.sources.finite import ReplayProgress

FEED = "foreshock-demo.jsonl"
STORE = "foreshock-demo.db"


@dataclass(frozen=True, slots=True)
class Demo:
    """The feed, the store and the result of a demo."""

    feed: Path
    store: str
    result: replay.ReplayResult


def clear(folder: Path) -> str:
    """Remove the store of an earlier demo and return the URL for the next one."""
    for name in (STORE, f"{STORE}-wal", f"{STORE}-shm"):
        (folder / name).unlink(missing_ok=True)
    return f"sqlite:///{folder / STORE}"


def run(
    folder: Path,
    *,
    seed: int = 7,
    external_url: str | None = None,
    scorer: wiring.MakeScorer | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    on_alert: Callable[[AlertNews], None] | None = None,
    on_webhook: Callable[[Received], None] | None = None,
) -> Demo:
    """Replay the feed of `seed`. Its file and its store, both in `folder`, replace those of an earlier demo.

    With `on_webhook` each alert is also delivered to a receiver on this machine, which verifies its signature. The
    environment and settings files are ignored: the demo always uses the default settings. It encodes all texts, also
    when it is run again, because it says how fast this machine is.
    """
    feed, store = folder / FEED, clear(folder)
    generator.write(feed, seed)
    settings = Settings(
        store=StoreSettings(url=store),
        dashboard=DashboardSettings(external_url=external_url),
        model=ModelSettings(score_cache="off"),
    )
    options: dict[str, Any] = {"scorer": scorer, "on_progress": on_progress, "on_alert": on_alert}
    if on_webhook is None:
        return Demo(feed, store, replay.replay(settings, [feed], **options))
    with Receiver(on_webhook) as receiver:
        webhook = WebhookSettings(
            name="demo", url=SecretStr(receiver.url), secrets=(SecretStr(receiver.secret),), allow_private=True
        )
        delivering = settings.model_copy(update={"webhooks": (webhook,)})
        return Demo(feed, store, replay.replay(delivering, [feed], deliver=True, **options))
