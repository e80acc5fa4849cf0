"""Count and log what became of an alert, as every live process does."""

from __future__ import annotations

from collections.abc import Callable

from foreshock.monitor.closing import AlertNews
from foreshock.observability import metrics
from foreshock.observability.log import log


def announcing(on_alert: Callable[[AlertNews], None] | None) -> Callable[[AlertNews], None]:
    """Return a function that counts an alert's change, logs that it fires or resolves, and passes it to `on_alert`."""

    def announce(news: AlertNews) -> None:
        alert, event = news.change.alert, news.change.event
        metrics.alert(alert.kind, event)
        if event in {"firing", "resolved"}:
            stories = [story["id"] for story in news.evidence]
            log().info(f"alert {event}", alert=alert.id, sentence=news.sentence, stories=stories)
        if on_alert is not None:
            on_alert(news)

    return announce
