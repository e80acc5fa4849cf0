"""Delivery: the outbox's rows as signed webhooks, and as messages in Slack, Teams and e-mail.

One way in: `receivers(...)` from the settings, then `deliver_due` for one pass or `Sender` while a run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreshock.monitor.delivery.notice import Receiver
    from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings


def receivers(webhooks: Sequence[WebhookSettings], messages: Sequence[MessageSettings]) -> list[Receiver]:
    """All that alerts go to."""
    from foreshock.monitor.delivery.messages import Message
    from foreshock.monitor.delivery.webhook import Webhook

    return [*(Webhook(w) for w in webhooks), *(Message(m) for m in messages)]
