"""Connect to a receiver without sending anything: `foreshock doctor --connect`.

    probe_webhook(settings)
    # 'connected to desk.example.com, port 443, with TLS; no alert was sent'

It shows that the name resolves, that the address is allowed, that the server listens, and that its certificate is good.
Whether the receiver takes an alert, only a sample shows (`testing`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpcore

from foreshock.ingest.connection import CheckedBackend, Resolver, reach, resolve
from foreshock.ingest.errors import AddressRefused
from foreshock.monitor.delivery.messages import Message
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
from foreshock.monitor.delivery.settings import MessageSettings, WebhookSettings
from foreshock.monitor.errors import Undelivered

SECONDS = 10.0
"""The limit for a whole probe."""


def probe_webhook(
    settings: WebhookSettings | ReceiverSettings, *, seconds: float = SECONDS, resolver: Resolver = resolve
) -> str:
    """Connect to the server of a webhook or an on-call service, or to its proxy, and return what was tried.

    Raises:
        Undelivered: it cannot be reached, may not be, or its certificate is not good.
    """
    if settings.proxy is not None:
        proxy = urlsplit(settings.proxy.get_secret_value())
        where = _reached(proxy.hostname or "", proxy.port or 80, seconds, resolver, tls=False, allow_private=True)
        return f"connected to its proxy {where}; nothing was sent, and what the proxy reaches is not known"
    url = urlsplit(settings.address() if isinstance(settings, ReceiverSettings) else settings.url.get_secret_value())
    tls = url.scheme == "https"
    port = url.port or (443 if tls else 80)
    where = _reached(url.hostname or "", port, seconds, resolver, tls=tls, allow_private=settings.allow_private)
    return f"connected to {where}; no alert was sent"


def probe_message(settings: MessageSettings, *, seconds: float = SECONDS, resolver: Resolver = resolve) -> str:
    """Connect to the server of Slack, Teams or e-mail, and return what was tried. Raises Undelivered."""
    host, port, tls = Message(settings).server()
    where = _reached(host, port, seconds, resolver, tls=tls, allow_private=True)
    return f"connected to {where}; no message was sent and no login was tried"


def _reached(host: str, port: int, seconds: float, resolver: Resolver, *, tls: bool, allow_private: bool) -> str:
    backend = CheckedBackend(seconds, allow_private=allow_private, resolver=resolver)
    shown = f"{host}, port {port}"
    try:
        reach(host, port, backend, tls=tls)
    except AddressRefused as error:
        raise Undelivered(str(error)) from None
    except httpcore.TimeoutException:
        raise Undelivered(f"{shown} did not answer within {seconds:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())[:200]
        raise Undelivered(f"cannot connect to {shown}: {text or type(error).__name__}") from None
    return f"{shown}{', with TLS' if tls else ''}"
