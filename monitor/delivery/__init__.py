"""Delivery: the outbox's rows as signed webhooks, and as messages in Slack, Teams and e-mail.

One way in: `receivers(...)` from the settings, then `deliver_due` for one pass or `Sender` while a run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foreshock.monitor.errors import NoSuchReceiver

if TYPE_CHECKING:
    from foreshock.monitor.delivery.notice import Receiver
    from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings


def receivers(
    webhooks: Sequence[WebhookSettings], messages: Sequence[MessageSettings], *, only: Sequence[str] = ()
) -> list[Receiver]:
    """All that alerts go to; of names in `only`, these. Raises NoSuchReceiver."""
    from foreshock.monitor.delivery.messages import Message
    from foreshock.monitor.delivery.webhook import Webhook

    found: list[Receiver] = [*(Webhook(w) for w in webhooks), *(Message(m) for m in messages)]
    names = [receiver.name for receiver in found]
    if unknown := next((name for name in only if name not in names), None):
        raise NoSuchReceiver(f"There is no receiver {unknown!r}. Those in the settings: {', '.join(names) or 'none'}.")
    return [receiver for receiver in found if not only or receiver.name in only]
