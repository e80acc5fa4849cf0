"""Decide which requests reach the application: by name, key, scope, rate and size, in this order.

The gate is plain ASGI, and stands before everything that parses: what it refuses costs neither a thread nor a query.
A server without keys answers only under this machine's own names. Without that, a foreign page whose name resolves to
this machine (DNS rebinding) could read it through the browser of whoever sits here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from foreshock.dashboard.gate import name_of
from foreshock.dashboard.settings import LOOPBACK
from foreshock.observability import metrics
from foreshock.serving.errors import Refused
from foreshock.serving.keys import Keyring
from foreshock.serving.rates import Rates
from foreshock.serving.settings import Scope

OPEN = ("/healthz", "/readyz", "/openapi.json")
"""Paths that need no key: they hold nothing of the store."""
SCOPES: dict[str, Scope] = {
    "/score": "score",
    **dict.fromkeys(("/topics", "/series", "/alerts", "/incidents", "/stories", "/events"), "read"),
}
BODY_SECONDS = 15.0
"""How long the body of a request may take to come."""
_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Gate:
    """ASGI middleware that admits requests of known callers within their limits, and counts all of them."""

    def __init__(self, app: Any, *, keyring: Keyring, rates: Rates, body_bytes: int) -> None:
        self._app = app
        self._keyring = keyring
        self._rates = rates
        self._body_bytes = body_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _request(self, scope: Any, receive: Any, send: Any) -> None:
        begun, status = time.monotonic(), 500
        path = scope["path"] if scope["path"] in (*OPEN, *SCOPES) else "other"

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {name for name, _ in _HEADERS}
                theirs = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in names]
                message = {**message, "headers": [*theirs, *_HEADERS]}
            await send(message)

        try:
            self._admit(scope)
            body = await self._body(scope, receive)
            await self._app(scope, _replayed(body, receive), answer)
        except Refused as refused:
            await refuse(answer, refused)
        finally:
            metrics.answered(path, status, seconds=time.monotonic() - begun)

    def _admit(self, scope: Any) -> None:
        """Raise `Refused` unless the caller may ask this now."""
        headers = scope["headers"]
        if not self._keyring and not _is_ours(_one(headers, b"host")):
            raise Refused(
                403, "This server has no API keys, so it answers only to localhost. Add [[api_keys]] (docs/serve.md)."
            )
        if scope["path"] in OPEN:
            return
        caller = self._keyring.caller(_bearer(_one(headers, b"authorization")))
        if caller is None:
            raise Refused(401, "Give a valid API key: Authorization: Bearer KEY.")
        needed = SCOPES.get(scope["path"])
        if needed is not None and needed not in caller.scopes:
            raise Refused(403, f"The key of {caller.name!r} has no scope {needed!r}.")
        if wait := self._rates.wait(caller.name):
            raise Refused(429, f"Too many requests. Try again in {wait} s.", retry_after=wait)

    async def _body(self, scope: Any, receive: Any) -> bytes:
        """Read the body. Raises `Refused` if it is too long or too slow."""
        too_long = Refused(413, f"The body has more than {self._body_bytes:,} bytes. Send fewer texts in one request.")
        stated = _one(scope["headers"], b"content-length")
        if stated is not None and stated.isdigit() and int(stated) > self._body_bytes:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > self._body_bytes:
                        raise too_long
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(408, f"The body did not come within {BODY_SECONDS:.0f} s.") from None


async def refuse(send: Any, refused: Refused) -> None:
    """Answer with the sentence of a refusal. The connection is closed: what else comes on it is not read."""
    content = orjson.dumps({"error": str(refused)})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if refused.status != 429:
        headers.append((b"connection", b"close"))
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _replayed(body: bytes, receive: Any) -> Any:
    """Return a `receive` that gives a body that was read, and then what comes after it: that the client has left."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _is_ours(host: str | None) -> bool:
    return host is not None and name_of(host) in LOOPBACK


def _bearer(header: str | None) -> str | None:
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _one(headers: Any, name: bytes) -> str | None:
    """Return the only value of a header; None if there is none, or several."""
    values = [value for key, value in headers if key.lower() == name]
    return values[0].decode("latin-1") if len(values) == 1 else None
