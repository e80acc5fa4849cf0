"""Send a sample to each receiver, to test the delivery before the first alert."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from foreshock.monitor.delivery import receivers
from foreshock.monitor.delivery.notice import SAMPLE_ALERT, Notice, Receiver, link_to, sample
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings
from foreshock.monitor.errors import Undelivered


def send_samples(
    webhooks: Sequence[WebhookSettings],
    messages: Sequence[MessageSettings],
    services: Sequence[ReceiverSettings],
    external_url: str | None,
    *,
    only: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Send one sample to each receiver at the same time. Return `ok`, `status`, `milliseconds` and `error` of each.

    `only`: the names of receivers. Empty means all. Raises NoSuchReceiver.
    """
    chosen = receivers(webhooks, messages, services, only=only)
    if not chosen:
        return []
    with ThreadPoolExecutor(len(chosen), "test") as pool:
        return list(pool.map(lambda receiver: _sample(receiver, external_url), chosen))


def _sample(receiver: Receiver, external_url: str | None) -> dict[str, Any]:
    link = link_to(SAMPLE_ALERT["id"], external_url)
    notice = Notice(f"msg_{uuid4().hex}", "test", time.time_ns() // 1_000, sample(receiver.version), link)
    started = time.monotonic()
    status, error = None, None
    try:
        status = receiver.send(notice).status
    except Undelivered as failure:
        status, error = failure.status, str(failure)
    return {
        "receiver": receiver.name,
        "ok": error is None,
        "status": status,
        "milliseconds": round((time.monotonic() - started) * 1000),
        "error": error,
    }
