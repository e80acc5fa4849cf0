"""Which requests the dashboard answers: its own names, what its pages need, and nothing else.

Invariant: whatever address the dashboard binds to, a request reaches Streamlit only if its one `Host` is among the
settings' names, its path is one of the pages', its method is GET or HEAD, and, for a WebSocket, its origin is the
page's own. Every answer has the headers that protect its reader.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from test_browser import free_port

from foreshock.cli import main
from foreshock.dashboard import desk, serve
from foreshock.dashboard.gate import READERS, Gate, name_of
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.settings.load import SettingsError, load

pytestmark = pytest.mark.slow

OPEN = ServeSettings(
    store="sqlite:///none.db", host="0.0.0.0", external_url="https://desk.example:8443", allowed_hosts=("10.0.0.5",)
)
FOREIGN = [
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "desk.example.evil.example", "xdesk.example"),
    *("desk.example@evil.example", "evil.example:8501", "169.254.169.254", "0.0.0.0", "[::]", "[::ffff:10.0.0.6]", ""),
    *("desk.example/x", "desk.example, evil.example", "localhost:8501:8501", "2130706433", "localhost\\evil", "*"),
]
OWN = [
    *("localhost", "LOCALHOST.:8501", "127.0.0.1:8501", "[::1]", "[0:0:0:0:0:0:0:1]:8501"),
    *("desk.example:8443", "10.0.0.5"),
]
HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Behind:
    """Streamlit's place: remembers what reached it."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.wait: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            if self.wait is not None:
                await self.wait.wait()
            return
        theirs = [(b"cache-control", b"public"), (b"X-Frame-Options", b"SAMEORIGIN")]
        await send({"type": "http.response.start", "status": 200, "headers": theirs})
        await send({"type": "http.response.body", "body": b"reached"})


def ask(
    path: str,
    *hosts: str,
    method: str = "GET",
    kind: str = "http",
    origin: str | None = None,
    settings: ServeSettings = OPEN,
) -> tuple[bool, list[Any]]:
    """Send one request through the gate: whether it reached the app, and the messages of the answer."""
    behind, answer = Behind(), list[Any]()
    headers = [(b"host", host.encode("utf-8")) for host in hosts]
    headers += [] if origin is None else [(b"origin", origin.encode())]

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        answer.append(message)

    scope = {"type": kind, "path": path, "headers": headers, **({"method": method} if kind == "http" else {})}
    asyncio.run(Gate(behind, settings)(scope, receive, send))
    return bool(behind.scopes), answer


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", "192.168.7.8", "localhost"])
@pytest.mark.parametrize("host", FOREIGN)
def test_no_foreign_name_reaches_the_pages_whatever_the_address(bound: str, host: str) -> None:
    settings = OPEN.model_copy(update={"host": bound})
    for path in ("/", "/Alerts", "/_stcore/health", "/media/x.csv", "/static/js/index.js"):
        reached, answer = ask(path, host, settings=settings)
        assert (reached, answer[0]["status"]) == (False, 403), path
    assert ask("/_stcore/stream", host, kind="websocket", origin=f"http://{host}", settings=settings)[0] is False


@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-z0-9.-]{1,20}(:[0-9]{1,5})?", fullmatch=True)))
def test_a_name_is_admitted_only_if_the_settings_have_it(host: str) -> None:
    try:
        sent = host.encode("utf-8").decode("latin-1")
    except UnicodeEncodeError:
        return
    reached, _ = ask("/_stcore/health", sent)
    assert reached == (name_of(sent.encode("utf-8").decode("latin-1")) in OPEN.hosts)


@pytest.mark.parametrize("host", OWN)
def test_the_settings_names_are_admitted_in_every_spelling(host: str) -> None:
    assert ask("/_stcore/health", host)[0]
    assert ask("/_stcore/stream", host, kind="websocket", origin=f"http://{host.lower()}")[0]


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert ask("/_stcore/health")[0] is False
    assert ask("/_stcore/health", "localhost", "localhost")[0] is False
    assert ask("/_stcore/stream", "localhost", "evil.example", kind="websocket", origin="http://localhost")[0] is False


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        ("http://desk.example", True),
        ("https://desk.example", True),
        ("https://desk.example:8443", True),  # the public URL, where a proxy rewrites Host
        (None, True),  # no browser
        ("null", False),
        ("http://evil.example", False),
        ("http://localhost:3000", False),  # another program of this machine
        ("http://desk.example.evil.example", False),
        ("http://desk.example@evil.example", False),
        ("file://desk.example", False),
        ("http://[", False),
    ],
)
def test_a_websocket_opens_only_from_the_dashboards_own_page(origin: str | None, opens: bool) -> None:
    assert ask("/_stcore/stream", "desk.example", kind="websocket", origin=origin)[0] is opens


def test_no_other_websocket_opens() -> None:
    for path in ("/", "/_stcore/", "/_stcore/agent/v1/stream", "/Topic/_stcore/stream"):
        assert ask(path, "localhost", kind="websocket")[0] is False


def streamlits_routes() -> list[tuple[str, str]]:
    """Every path and method that Streamlit's server of this version answers."""
    from starlette.routing import Route
    from streamlit.runtime import Runtime
    from streamlit.web.server.starlette import starlette_app

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return Anything()

        def __call__(self, *_: Any, **__: Any) -> Any:
            return Anything()

    runtime: Runtime = Anything()  # type: ignore[assignment]
    found = [route for route in starlette_app.create_streamlit_routes(runtime) if isinstance(route, Route)]
    return sorted((route.path, method) for route in found for method in route.methods or ())


def test_of_streamlits_endpoints_only_those_that_read_what_the_pages_need_are_open() -> None:
    """A new version of Streamlit that adds an endpoint does not open it here."""
    routes = streamlits_routes()
    assert any("upload_file" in path for path, _ in routes)
    opened = {(path, method) for path, method in routes if ask(path, "localhost", method=method)[0]}
    assert {method for _, method in opened} <= {"GET", "HEAD"}
    assert {path for path, _ in opened} <= {"/_stcore/health", "/_stcore/host-config", "/media/{file_id:path}"}


@given(
    st.text(min_size=1, max_size=12),
    st.sampled_from(["/", "/Alerts", "/_stcore/upload_file/a/b", "/media/x", "/static/x", "/component/x/y"]),
)
def test_no_method_but_get_and_head_is_answered(method: str, path: str) -> None:
    reached, answer = ask(path, "localhost", method=method)
    assert not reached or method in ("GET", "HEAD")
    assert method in ("GET", "HEAD") or answer[0]["status"] in (404, 405)


def test_every_answer_has_the_headers_that_protect_its_reader() -> None:
    for path, host, method in (
        *(("/", "localhost", "GET"), ("/Alerts", "localhost", "HEAD"), ("/", "evil.example", "GET")),
        *(("/nowhere", "localhost", "GET"), ("/", "localhost", "POST"), ("/media/x", "localhost", "GET")),
    ):
        start = ask(path, host, method=method)[1][0]
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        names = [name.lower() for name, _ in start["headers"]]
        assert len(names) == len(set(names)), "one value each: browsers ignore some headers that come twice"
        assert {**headers, **HEADERS} == headers
        assert headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert " ws: " not in policy
        assert "evil" not in policy
    cached = dict(ask("/static/x.js", "localhost")[1][0]["headers"])
    assert cached[b"cache-control"] == b"public"  # its name changes with its content


def test_so_many_readers_and_no_more() -> None:
    async def crowd() -> int:
        behind = Behind()
        behind.wait = asyncio.Event()
        gate = Gate(behind, OPEN)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(_: Any) -> None:
            pass

        scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [(b"host", b"localhost")]}
        tasks = [asyncio.create_task(gate(scope, receive, send)) for _ in range(READERS + 50)]
        await asyncio.sleep(0)
        at_once = len(behind.scopes)
        behind.wait.set()
        await asyncio.gather(*tasks)
        assert gate.open == 0, "a place is free again"
        return at_once

    assert asyncio.run(crowd()) == READERS


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A dashboard that runs: the address it binds to, and its port."""
    store = tmp_path_factory.mktemp("gate") / "none.db"
    settings = ServeSettings(store=f"sqlite:///{store}", host=request.param, port=free_port())
    with serve.started(settings):
        yield request.param, settings.port


def status(port: int, method: str, path: str, host: str, body: Any = None, **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers={"Host": host, **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def test_over_http_the_running_dashboard_holds_all_of_this(live: tuple[str, int]) -> None:
    _, port = live
    for host, page, stream in (("localhost", 200, 101), ("evil.example", 403, 403), (f"evil.example:{port}", 403, 403)):
        assert status(port, "GET", "/", host) == page
        assert status(port, "GET", "/Alerts", host) == page
        assert status(port, "GET", "/_stcore/health", host) == page
        assert status(port, "GET", "/_stcore/stream", host, Origin=f"http://{host}", **HANDSHAKE) == stream
    assert status(port, "GET", "/_stcore/stream", "localhost", Origin="http://localhost:3000", **HANDSHAKE) == 403
    for method in ("PUT", "POST", "DELETE", "PATCH", "OPTIONS"):
        assert status(port, method, "/_stcore/upload_file/session/file", "localhost", b"x" * 10_000) in (404, 405)
    assert status(port, "GET", "/_stcore/metrics", "localhost") == 404


def served_as(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> ServeSettings:
    made = ServeSettings(store="sqlite:///none.db", **settings)
    monkeypatch.setenv(VARIABLE, made.model_dump_json())
    return made


@pytest.mark.parametrize(
    ("settings", "acts"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1", "external_url": "http://localhost:8501"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "::"}, False),
        ({"host": "10.0.0.5"}, False),
        ({"external_url": "https://desk.example"}, False),  # through a proxy
        ({"allowed_hosts": ["desk.example"]}, False),
        ({"host": "0.0.0.0", "allow_anonymous_actions": True}, True),
    ],
)
def test_a_page_that_others_may_reach_is_read_only_unless_the_settings_say_so(
    monkeypatch: pytest.MonkeyPatch, crisis_store: Path, tmp_path: Path, settings: dict[str, Any], acts: bool
) -> None:
    from streamlit.testing.v1 import AppTest

    store = Path(shutil.copy(crisis_store, tmp_path / "own.db"))
    with sqlite3.connect(store) as connection:
        (alert,) = connection.execute("SELECT id FROM alerts WHERE state = 'firing' LIMIT 1").fetchone()
    made = served_as(monkeypatch, **settings).model_copy(update={"store": f"sqlite:///{store}"})
    monkeypatch.setenv(VARIABLE, made.model_dump_json())
    app = AppTest.from_string(
        "from foreshock.dashboard import alerts, frame\nframe.dress()\nalerts.page()", default_timeout=60
    )
    app.query_params["alert"] = alert
    app.run()
    assert not app.exception
    assert bool(app.button) is acts
    assert any("Read-only" in element.proto.body for element in app.get("html")) is not acts
    # A form that was drawn before the settings changed, or that a visitor made up, writes nothing.
    written: list[object] = []
    monkeypatch.setattr(desk.st, "rerun", lambda: None)  # type: ignore[attr-defined]
    desk.write("Mallory", lambda *_: written.append(1), "done")
    assert bool(written) is acts


@pytest.mark.parametrize(
    "host", ["*", "http://desk.example", "desk.example/x", "desk.example:80", "a b", "", "*.example"]
)
def test_a_host_that_is_none_is_refused_in_words(host: str, tmp_path: Path) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text(f'[dashboard]\nallowed_hosts = ["{host}"]\n')
    with pytest.raises(SettingsError, match=r"dashboard\.allowed_hosts.*is not the name or address of a host"):
        load(file, environ={})


NO_URLS = ["https://me:secret@desk.example", "desk.example", "https://", "ftp://desk.example", "https://a b"]


@pytest.mark.parametrize("url", NO_URLS)
def test_an_external_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="expected http"):
        ServeSettings(store="sqlite:///none.db", external_url=url)


def test_an_address_that_is_none_is_refused_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dashboard", "--host", "not a host", "--store", f"sqlite:///{tmp_path / 'none.db'}"]) == 2
    assert "is not a name or an address" in capsys.readouterr().err
