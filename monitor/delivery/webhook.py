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
from functools import cache
from ssl import SSLContext

import httpcore
import httpx

from foreshock.monitor.delivery.addresses import literal_refusal
from foreshock.monitor.delivery.connection import CheckedBackend, Resolver, resolve
from foreshock.monitor.delivery.notice import Notice, Receipt
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.errors import AddressRefused, Undelivered
from foreshock.monitor.store.times import iso

VERSION = 1
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
    """Return the JSON body that docs/webhook.schema.json describes."""
    values = {
        "version": VERSION,
        "type": f"alert.{notice.event}",
        "timestamp": iso(notice.at),
        "data": {**notice.alert, "link": notice.link},
    }
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
            "host": self._url.netloc.decode("ascii"),
            "content-type": "application/json",
            "content-length": str(len(content)),
            "user-agent": "Foreshock (webhooks)",
            "connection": "close",
            **sign(self._keys, notice.id, int(time.time()), content),
        }
        if not self._allow_private and (kind := literal_refusal(self._url.host)):
            raise AddressRefused(f"{self._url.host} is {kind}, and nothing is sent there.")
        # A proxy may have any address, because the operator named it. The proxy decides what it connects to.
        backend = CheckedBackend(
            self._seconds, allow_private=self._allow_private or self._proxy is not None, resolver=self._resolver
        )
        url = httpcore.URL(
            scheme=self._url.raw_scheme, host=self._url.raw_host, port=self._url.port, target=self._url.raw_path
        )
        with (
            self._pool(backend) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=content) as response,
        ):
            reply = b""
            for part in response.iter_stream():
                reply += part
                if len(reply) >= REPLY_BYTES:
                    break
            names = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in response.headers}
            return response.status, names, _text(reply.decode("utf-8", "replace"))

    def _pool(self, backend: CheckedBackend) -> httpcore.ConnectionPool:
        if self._proxy is None:
            return httpcore.ConnectionPool(ssl_context=_trusted(), network_backend=backend)
        auth = (self._proxy.username, self._proxy.password) if self._proxy.userinfo else None
        address = httpcore.URL(
            scheme=self._proxy.raw_scheme, host=self._proxy.raw_host, port=self._proxy.port, target=b"/"
        )
        return httpcore.HTTPProxy(address, proxy_auth=auth, ssl_context=_trusted(), network_backend=backend)


@cache
def _trusted() -> SSLContext:
    """Return a TLS context with certifi's roots, or those that SSL_CERT_FILE or SSL_CERT_DIR name."""
    return httpx.create_ssl_context()


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
