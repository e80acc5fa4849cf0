"""Post one message to a URL and read the answer: what webhooks and the APIs of on-call services share.

Each attempt opens one connection to the address that was checked. It does not follow redirects, keep cookies, use a
proxy from the environment, or decompress replies.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from foreshock.ingest.addresses import literal_refusal
from foreshock.ingest.connection import CheckedBackend, Resolver, headers_of, requested, resolve
from foreshock.ingest.errors import AddressRefused
from foreshock.monitor.delivery.notice import Receipt
from foreshock.monitor.delivery.settings import Posted
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.units import SECOND

SECONDS = 10.0
"""The limit for a whole attempt: resolving, connecting, sending, and reading the reply."""

REPLY_BYTES = 4096
"""How much of a reply is read."""

REPLY_SHOWN = 200
"""How many characters of a reply an error shows."""
GONE = 410
"""The status with which a receiver refuses a message for ever."""
TOO_MANY = 429
WAIT = {TOO_MANY, 503}
"""The statuses with which a receiver asks the sender to wait."""


class Poster:
    """Posts to the URLs of one receiver. `resolver`: how names are resolved; tests replace it."""

    def __init__(self, settings: Posted, *, seconds: float = SECONDS, resolver: Resolver = resolve) -> None:
        self._headers = settings.sent_headers
        self._allow_private = settings.allow_private
        self._proxy = None if settings.proxy is None else httpx.URL(settings.proxy.get_secret_value())
        self._seconds = seconds
        self._resolver = resolver

    def post(self, url: httpx.URL, content: bytes, headers: Mapping[str, str]) -> Receipt:
        """Make one attempt. The settings' own headers are added, and replace `headers` of the same name.

        Raises:
            Undelivered: the answer was not a 2xx, or it was not complete in time.
        """
        started = time.monotonic()
        try:
            status, answered, reply = self._answer(url, content, headers)
        except AddressRefused as error:
            raise Undelivered(str(error), receiver_down=True, untried=True) from None
        except httpcore.ConnectTimeout as error:
            said = f"cannot connect within {self._seconds:g} s ({_words(error) or 'no answer'})"
            raise Undelivered(said, receiver_down=True, untried=True) from None
        except httpcore.TimeoutException as error:
            raise Undelivered(
                f"no whole answer within {self._seconds:g} s ({_words(error) or 'waiting for the reply'})",
                receiver_down=True,
            ) from None
        except (httpcore.ConnectError, httpcore.ProxyError) as error:
            raise Undelivered(f"cannot connect: {_words(error)}", receiver_down=True, untried=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise Undelivered(f"the connection broke: {_words(error)}") from None
        if 200 <= status < 300:
            return Receipt(status, time.monotonic() - started)
        if 300 <= status < 400:
            raise Undelivered(
                f"answered {status}, a redirect to {_host(answered.get('location', ''))}: redirects are not followed. "
                "Set the url to where it leads.",
                status=status,
            )
        asked = retry_after(answered)
        raise Undelivered(
            f"answered {status}" + (f": {reply}" if reply else ""),
            status=status,
            receiver_down=status in WAIT,
            # Without Retry-After, a 503 may be what this one message did to the receiver.
            untried=status == TOO_MANY or (status in WAIT and asked > 0),
            retry_after=asked,
            final=status == GONE,
        )

    def _answer(self, url: httpx.URL, content: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
        sent = {"content-type": "application/json", "user-agent": "Foreshock (webhooks)", **headers}
        own = {name.lower() for name in self._headers}
        sent = {name: value for name, value in sent.items() if name.lower() not in own} | self._headers
        sent["content-length"] = str(len(content))
        backend = CheckedBackend(
            self._seconds, allow_private=self._allow_private or self._proxy is not None, resolver=self._resolver
        )
        if not self._allow_private and (kind := literal_refusal(url.host)):
            raise AddressRefused(f"{url.host} is {kind}, and nothing is sent there.")
        with requested("POST", url, sent, backend, content=content, proxy=self._proxy) as response:
            reply = b""
            for part in response.iter_stream():
                reply += part
                if len(reply) >= REPLY_BYTES:
                    break
            return response.status, headers_of(response), _text(reply.decode("utf-8", "replace"))


def retry_after(headers: Mapping[str, str]) -> int:
    """Return how long an answer asks to wait, in microseconds; 0 if it does not, or not in a form of RFC 9110.

    A date is taken relative to the answer's own `Date`, so that a receiver whose clock is wrong is understood. Without
    one it is taken relative to this machine's clock.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return int(value) * SECOND if len(value) < 10 else 0
    then = _date(value)
    if then is None:
        return 0
    now = _date(headers.get("date", ""))
    return max(0, round((then - (time.time() if now is None else now)) * SECOND))


def _date(text: str) -> float | None:
    """Return an HTTP date as seconds since 1970."""
    try:
        found: datetime = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


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
