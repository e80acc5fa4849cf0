"""The receiver in docs/webhooks.md takes what Foreshock sends, and nothing else."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from foreshock.monitor.delivery.webhook import sign

PAGE = Path(__file__).parents[1] / "docs" / "webhooks.md"
SECRET = "whsec_cmVwbGFjZSB0aGlzIHdpdGggeW91ciBvd24gc2VjcmV0"
BODY = b'{"data": {"title": "Negative share of Banks is 61 %."}}'


def test_the_receiver_of_the_docs_verifies_what_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    import base64
    import time

    (code,) = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    exec(code.partition("HTTPServer((")[0], names)  # all but the line that serves for ever
    server = HTTPServer(("127.0.0.1", 0), names["Receiver"])
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    now = int(time.time())
    assert names["SECRET"] == SECRET
    headers = sign([base64.b64decode(SECRET.removeprefix("whsec_"))], "msg_1", now, BODY)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, BODY, headers), timeout=30) as answer:
            assert answer.status == 204
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            opener.open(urllib.request.Request(url, BODY + b" ", headers), timeout=30)
    finally:
        server.shutdown()
        server.server_close()
    assert capsys.readouterr().out.count("Negative share of Banks is 61 %.") == 1
