"""Receive webhooks on this machine and verify their signatures. The demo uses it, and it is an example for yours.

with Receiver(print) as receiver:
    ...  # deliver to receiver.url, signed with receiver.secret
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE = 300
"""Oldest signature to accept, in seconds. An older one could be a copy that somebody sends again."""
LARGEST = 4 << 20
"""Largest body to accept, in bytes."""


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook that came in. `verified`: its signature is right. `body` is None if it is not."""

    id: str
    verified: bool
    body: dict[str, Any] | None


def verify(secret: str, headers: Mapping[str, str], content: bytes) -> bool:
    """Whether `content` was signed with `secret` recently. This is all that a receiver has to check."""
    message_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{sent_at}.".encode() + content
    right = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return any(hmac.compare_digest(right.encode(), s.encode()) for s in headers.get("webhook-signature", "").split())


class Receiver:
    """Listen on a free port of 127.0.0.1 until the `with` ends. Calls `on_webhook` in a separate thread."""

    def __init__(self, on_webhook: Callable[[Received], None], *, secret: str | None = None) -> None:
        self.secret = secret or "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(on_webhook, self.secret))
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(on_webhook: Callable[[Received], None], secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdigit() or int(length) > LARGEST:
                self._answer(413)
                return
            content = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            verified = verify(secret, headers, content)
            # Answer after `on_webhook` has run: if it fails, the sender must send the webhook again.
            on_webhook(Received(headers.get("webhook-id", ""), verified, json.loads(content) if verified else None))
            self._answer(204 if verified else 401)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
