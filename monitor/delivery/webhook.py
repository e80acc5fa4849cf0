"""Post an alert as signed JSON to a URL. docs/webhooks.md documents it for receivers.

The signature follows the Standard Webhooks specification, so any of its libraries verifies it. Each attempt opens one
connection to the address that was checked. It does not follow redirects, keep cookies, use a proxy from the
environment, or decompress replies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence

import httpcore
import httpx

from foreshock.ingest.addresses import literal_refusal
from foreshock.ingest.connection import CheckedBackend, Resolver, headers_of, requested, resolve
from foreshock.ingest.errors import AddressRefused
from foreshock.monitor.delivery.notice import Notice, Receipt
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store.times import iso

SECONDS = 10.0
"""The limit for a whole attempt: resolving, connecting, sending, and reading the reply."""

REPLY_BYTES = 4096
"""How much of a reply is read."""

REPLY_SHOWN = 200
"""How many characters of a reply an error shows."""
GONE = 410
"""The status with which a receiver refuses a message for ever."""
WAIT = {429, 503}
"""The statuses with which a receiver asks the sender to wait."""


def body(notice: Notice) -> bytes:
    """Return the JSON body that docs/webhook.v2.schema.json describes, or webhook.schema.json about an alert alone."""
    about, kind = notice.alert, notice.event
    if "incident" in about:
        late = {key: about[key] for key in ("belated", "folded", "folded_count") if key in about}
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
        self._url = httpx.URL(settings.url.get_secret_value())
        self._keys = settings.keys()
        self._allow_private = settings.allow_private
        self._proxy = None if settings.proxy is None else httpx.URL(settings.proxy.get_secret_value())
        self._seconds = seconds
        self._resolver = resolver

    def send(self, notice: Notice) -> Receipt:
        """Make one attempt.

        Raises:
            Undelivered: the answer was not a 2xx, or it was not complete in time.
        """
        started = time.monotonic()
        try:
            status, headers, reply = self._post(notice)
        except AddressRefused as error:
            raise Undelivered(str(error), receiver_down=True) from None
        except httpcore.TimeoutException as error:
            raise Undelivered(
                f"no whole answer within {self._seconds:g} s ({_words(error) or 'waiting for the reply'})",
                receiver_down=True,
            ) from None
        except (httpcore.ConnectError, httpcore.ProxyError) as error:
            raise Undelivered(f"cannot connect: {_words(error)}", receiver_down=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise Undelivered(f"the connection broke: {_words(error)}") from None
        if 200 <= status < 300:
            return Receipt(status, time.monotonic() - started)
        if 300 <= status < 400:
            raise Undelivered(
                f"answered {status}, a redirect to {_host(headers.get('location', ''))}: redirects are not followed. "
                "Set the url to where it leads.",
                status=status,
            )
        raise Undelivered(
            f"answered {status}" + (f": {reply}" if reply else ""),
            status=status,
            receiver_down=status in WAIT,
            retry_after=_seconds_of(headers.get("retry-after", "")) * 1_000_000,
            final=status == GONE,
        )

    def _post(self, notice: Notice) -> tuple[int, dict[str, str], str]:
        content = body(notice)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            "user-agent": "Foreshock (webhooks)",
            **sign(self._keys, notice.id, int(time.time()), content),
        }
        backend = CheckedBackend(
            self._seconds, allow_private=self._allow_private or self._proxy is not None, resolver=self._resolver
        )
        if not self._allow_private and (kind := literal_refusal(self._url.host)):
            raise AddressRefused(f"{self._url.host} is {kind}, and nothing is sent there.")
        with requested("POST", self._url, headers, backend, content=content, proxy=self._proxy) as response:
            reply = b""
            for part in response.iter_stream():
                reply += part
                if len(reply) >= REPLY_BYTES:
                    break
            return response.status, headers_of(response), _text(reply.decode("utf-8", "replace"))


def _text(reply: str) -> str:
    """Return the beginning of a receiver's text, as one line that is safe to show in a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in reply).split())[:REPLY_SHOWN]


def _words(error: Exception) -> str:
    return _text(str(error))


def _host(location: str) -> str:
    try:
        return _text(httpx.URL(location).host) or "another page of it"
    except (httpx.InvalidURL, ValueError):
        return "an address that is not a URL"


def _seconds_of(retry_after: str) -> int:
    """Return a Retry-After that is given in seconds. Return 0 for a date, which would rely on the receiver's clock."""
    return int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7 else 0
