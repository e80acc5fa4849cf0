"""Deliver the outbox's rows: signed webhooks, messages to Slack, Teams and e-mail, and alerts of on-call services.

`receivers(...)` builds the receivers from the settings. `sender.Sender` delivers to them while a run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foreshock.ingest.meant import did_you_mean
from foreshock.monitor.errors import NoSuchReceiver

if TYPE_CHECKING:
    from foreshock.monitor.delivery.notice import Receiver
    from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
    from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings


def receivers(
    webhooks: Sequence[WebhookSettings],
    messages: Sequence[MessageSettings],
    services: Sequence[ReceiverSettings] = (),
    *,
    only: Sequence[str] = (),
) -> list[Receiver]:
    """Return all receivers, or those named in `only`. Raises NoSuchReceiver."""
    from foreshock.monitor.delivery.messages import Message
    from foreshock.monitor.delivery.services import Service
    from foreshock.monitor.delivery.webhook import Webhook

    found: list[Receiver] = [
        *(Webhook(w) for w in webhooks),
        *(Message(m) for m in messages),
        *(Service(s) for s in services),
    ]
    names = [receiver.name for receiver in found]
    if unknown := next((name for name in only if name not in names), None):
        raise NoSuchReceiver(
            f"There is no receiver {unknown!r}.{did_you_mean(unknown, names)} The settings name: "
            f"{', '.join(names) or 'none'}."
        )
    return [receiver for receiver in found if not only or receiver.name in only]
