"""Post an alert as signed JSON to a URL. docs/webhooks.md documents it for receivers.

The signature follows the Standard Webhooks specification, so any of its libraries verifies it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence

import httpx

from foreshock.ingest.connection import Resolver, resolve
from foreshock.monitor.delivery.notice import Notice, Receipt
from foreshock.monitor.delivery.post import SECONDS, Poster
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.store.times import iso


def body(notice: Notice) -> bytes:
    """Return the JSON body that docs/webhook.v2.schema.json describes, or webhook.schema.json about an alert alone, or
    digest.schema.json."""
    about, kind = notice.alert, notice.event
    if "digest" in about:
        data, version, kind = about["digest"], 2, f"digest.{about['digest']['reason']}"
    elif "incident" in about:
        late = {key: about[key] for key in ("belated", "folded", "folded_count", "escalated") if key in about}
        data = {**about["incident"], "origin": about["origin"], "changes": about["changes"], **late}
        version, kind = 2, f"incident.{kind}"
    else:
        data, version, kind = about, 1, f"alert.{kind}"
    values = {"version": version, "type": kind, "timestamp": iso(notice.at), "data": {**data, "link": notice.link}}
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, content: bytes) -> dict[str, str]:
    """Return the headers of the Standard Webhooks specification. `timestamp` is in seconds.

    Each key adds a signature. A receiver that knows one key accepts the message, so a secret can be changed without
    losing messages.
    """
    signed = f"{message_id}.{timestamp}.".encode() + content
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


class Webhook:
    """A receiver of webhooks. `resolver`: how names are resolved; tests replace it."""

    def __init__(self, settings: WebhookSettings, *, seconds: float = SECONDS, resolver: Resolver = resolve) -> None:
        self.name = settings.name
        self.version = settings.version
        self.takes_digests = settings.version == 2
        self._url = httpx.URL(settings.url.get_secret_value())
        self._keys = settings.keys
        self._poster = Poster(settings, seconds=seconds, resolver=resolver)

    def send(self, notice: Notice) -> Receipt:
        """Make one attempt.

        Raises:
            Undelivered: the answer was not a 2xx, or it was not complete in time.
        """
        content = body(notice)
        return self._poster.post(self._url, content, sign(self._keys, notice.id, int(time.time()), content))
