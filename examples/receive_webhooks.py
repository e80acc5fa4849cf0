"""Receive Foreshock's webhooks: check who sent them, drop repeated ones, and print a line for each.

    python examples/receive_webhooks.py whsec_... --port 8700

A receiver of your own needs the same three steps, in any language: verify the signature over the bytes as they came,
keep the ids of the last days, and answer 2xx within ten seconds. standardwebhooks.com lists libraries that verify.
"""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

KEPT = 100_000
"""How many ids are remembered."""


class Receiver:
    """Verifies webhooks with `secret`, and says which are new."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._seen: OrderedDict[str, None] = OrderedDict()

    def take(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any] | None]:
        """Return the status to answer with, and the message if it is a new one."""
        try:
            self._webhook.verify(body, headers)
        except WebhookVerificationError:
            return 401, None
        if headers["webhook-id"] in self._seen:  # sent again because an answer of ours was lost
            return 204, None
        self._seen[headers["webhook-id"]] = None
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        message: dict[str, Any] = json.loads(body)
        return 204, message


def line(message: dict[str, Any]) -> str:
    """Return what is printed of a message. Titles come from feeds: show them as text, never as markup."""
    data = message["data"]
    return f"{message['timestamp']}  {message['type']}  {data.get('severity', '')}  {data.get('title', '')}"


def serve(receiver: Receiver, port: int) -> ThreadingHTTPServer:
    """Return a server on this machine that has not been started."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 1 << 20))
            status, message = receiver.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.end_headers()
            if message is not None:
                print(line(message), flush=True)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("secret")
    parser.add_argument("--port", type=int, default=8700)
    given = parser.parse_args()
    serve(Receiver(given.secret), given.port).serve_forever()
