"""Say that a new store has no history, before live stories make it too late to load any.

Most kinds of alerts need 14 days of a topic's news, and thresholds settle over 60 days. A replay of past news takes
minutes. But stories before "decided until" count for nothing, so the history must come first.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from foreshock.ingest.errors import IngestError
from foreshock.ingest.files import FileFeed
from foreshock.ingest.story import Story
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.units import DAY
from foreshock.observability.log import log
from foreshock.settings.models import Settings

SAID = "load your history first: this store has none, and most alerts need 14 days of a topic's news"


HISTORY = 7 * DAY
"""A growing file that reaches back this far (microseconds) is a history itself."""


def lacks_history(connection: Connection, settings: Settings, now: int) -> bool:
    """Return whether nothing is decided yet, and nothing that is read reaches back `HISTORY` before `now`.

    A Kafka topic may be the history itself: what it holds is not known before it is read.
    """
    if settings.kafka is not None or decided_until(connection) is not None:
        return False
    return not any(
        feed.file is not None and _reaches_back(feed.file, settings, now - HISTORY) for feed in settings.feeds
    )


def _reaches_back(path: Path, settings: Settings, time: int) -> bool:
    with suppress(IngestError):  # the run itself reports a file that it cannot read
        records = islice(FileFeed(path, rules=settings.parsing().rules()).read(), 1_000)
        first = next((item for item, _ in records if isinstance(item, Story)), None)
        return first is not None and first.published_at < time
    return False


def say_load_history_first(options: Sequence[str]) -> None:
    """Log the commands that load a history. `options`: those of this run that name its store and settings."""
    log().warning(
        SAID,
        first="stop this run: once it has decided a bucket, older stories count for nothing",
        then=shlex.join(["foreshock", "check", "FILE", *_config_alone(options)]),
        load=shlex.join(["foreshock", "replay", "FILE", *options]),
        without="go on: topics learn from live news, which takes two weeks or more",
    )


def _config_alone(options: Sequence[str]) -> list[str]:
    at = list(options).index("--config") if "--config" in options else None
    return [] if at is None else list(options[at : at + 2])
