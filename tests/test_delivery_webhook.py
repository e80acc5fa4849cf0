"""Webhooks: what is posted, how it is signed, where it may go, and what becomes of receivers that misbehave."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from foreshock.demo.receiver import Received, Receiver, verify
from foreshock.ingest import connection
from foreshock.ingest.addresses import literal_refusal, refusal
from foreshock.monitor.delivery.notice import SAMPLE_ALERT, SAMPLE_INCIDENT, Notice, link_to, sample
from foreshock.monitor.delivery.post import REPLY_BYTES
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.delivery.webhook import Webhook, body, sign
from foreshock.monitor.errors import Undelivered

pytestmark = pytest.mark.slow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEWER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOTICE = Notice("msg_1", "firing", 1_767_622_800_000_000, SAMPLE_ALERT, link_to("a", "https://desk.example/"))
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "webhook.schema.json").read_text())
SCHEMA_2 = json.loads((Path(__file__).parents[1] / "docs" / "webhook.v2.schema.json").read_text())

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def settings(url: str, **more: Any) -> WebhookSettings:
    return WebhookSettings.model_validate(
        {"name": "desk", "url": url, "secrets": SECRET, "allow_private": True, **more}
    )


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A TCP server on this machine: reads each request whole, keeps it, and lets `answer` do what it likes."""
    requests: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            got = b""
            while b"\r\n\r\n" not in got:
                if not (more := connection.recv(65536)):
                    return  # the sender hung up: to ask again and again would take a core from all later tests
                got += more
            head, _, rest = got.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            while len(rest) < length:
                if not (more := connection.recv(65536)):
                    return
                rest += more
            requests.append(head + b"\r\n\r\n" + rest)
            with suppress(OSError):  # the sender had enough
                answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook?k=1", requests
    finally:
        with suppress(OSError):  # some systems refuse it for a server
            server.shutdown(socket.SHUT_RDWR)  # closing alone leaves `accept` waiting
        server.close()


def failure_of(answer: Callable[[socket.socket], None], seconds: float = 1.0) -> tuple[Undelivered, float]:
    with listening(answer) as (url, _):
        started = time.monotonic()
        with pytest.raises(Undelivered) as caught:
            Webhook(settings(url), seconds=seconds).send(NOTICE)
        return caught.value, time.monotonic() - started


def test_a_body_is_what_the_published_schema_says():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    sent = json.loads(body(NOTICE))
    jsonschema.validate(sent, SCHEMA)
    assert sent["version"] == 1
    assert sent["type"] == "alert.firing"
    assert sent["timestamp"] == "2026-01-05T14:20:00Z"
    assert sent["data"]["link"] == "https://desk.example/Alerts?alert=a"
    for wrong in ({"version": 2}, {"type": "alert.pending"}, {"data": {**sent["data"], "kind": "other"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**sent, **wrong}, SCHEMA)


def test_a_body_about_an_incident_is_what_the_schema_of_version_2_says():
    jsonschema.Draft202012Validator.check_schema(SCHEMA_2)
    notice = Notice(
        "msg_2", "updated", NOTICE.at, sample(2) | {"changes": [{"change": "kind", "detail": "drift"}]}, None
    )
    sent = json.loads(body(notice))
    jsonschema.validate(sent, SCHEMA_2)
    assert (sent["version"], sent["type"], sent["data"]["id"]) == (2, "incident.updated", SAMPLE_INCIDENT["id"])
    optional = {"belated", "folded", "folded_count", "escalated"}
    assert set(sent["data"]) | optional == set(SCHEMA_2["$defs"]["incident"]["properties"])
    for wrong in ({"version": 1}, {"type": "alert.firing"}, {"data": {**sent["data"], "severity": "other"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**sent, **wrong}, SCHEMA_2)


def test_the_schema_names_every_field_that_is_sent():
    sent = json.loads(body(NOTICE))
    assert set(sent) == set(SCHEMA["properties"])
    alert = SCHEMA["$defs"]["alert"]["properties"]
    assert set(sent["data"]) == set(alert) - {"belated", "folded", "folded_count"}
    assert not {"belated", "folded", "folded_count"} & set(SCHEMA["$defs"]["alert"]["required"])
    assert set(sent["data"]["evidence"][0]) == set(alert["evidence"]["items"]["properties"])


def test_the_specifications_own_example_has_its_signature():
    content = b'{"test": 2432232314}'
    headers = sign([base64.b64decode(SECRET[6:])], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_secret_signs_and_any_receiver_that_knows_one_verifies():
    content = body(NOTICE)
    headers = sign(settings("https://x.example/", secrets=[SECRET, NEWER]).keys, "msg_1", int(time.time()), content)
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (SECRET, NEWER):
        assert Verifier(secret).verify(content, headers)["type"] == "alert.firing"
        assert verify(secret, headers, content)
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(content + b" ", headers)
        assert not verify(secret, headers, content + b" ")
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert not verify(other, headers, content)
    assert not verify(SECRET, {**headers, "webhook-timestamp": str(int(time.time()) - 3600)}, content)


def test_what_is_posted_is_verified_by_the_standards_library():
    with listening(lambda c: c.sendall(OK)) as (url, requests):
        receipt = Webhook(settings(url)).send(NOTICE)
    assert receipt.status == 200
    head, _, content = requests[0].partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    assert line == "POST /hook?k=1 HTTP/1.1"
    assert headers["host"] == url.split("/")[2]
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "msg_1"
    assert Verifier(SECRET).verify(content, headers) == json.loads(body(NOTICE))


def test_the_demos_receiver_takes_what_is_signed_and_refuses_the_rest():
    got: list[Received] = []
    with Receiver(got.append) as receiver:
        good = settings(receiver.url, secrets=receiver.secret)
        assert Webhook(good).send(NOTICE).status == 204
        with pytest.raises(Undelivered, match="401"):
            Webhook(settings(receiver.url)).send(NOTICE)
    assert [(r.id, r.verified) for r in got] == [("msg_1", True), ("msg_1", False)]
    assert got[0].body == json.loads(body(NOTICE))
    assert got[1].body is None


def test_an_answer_of_500_is_a_failure_that_says_what_came_back():
    error, _ = failure_of(lambda c: c.sendall(b"HTTP/1.1 500 No\r\ncontent-length: 12\r\n\r\nbroken\x1b[31m\n"))
    assert str(error) == "answered 500: broken [31m"
    assert (error.status, error.receiver_down, error.final) == (500, False, False)


def test_a_receiver_that_asks_to_wait_is_left_alone_as_long():
    error, _ = failure_of(lambda c: c.sendall(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"))
    assert error.retry_after == 7_000_000
    assert error.receiver_down
    error, _ = failure_of(lambda c: c.sendall(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"))
    assert error.final


def test_a_redirect_is_not_followed():
    with listening(lambda c: c.sendall(OK)) as (inner, reached):
        answer = f"HTTP/1.1 307 Go\r\nlocation: {inner}\r\ncontent-length: 0\r\n\r\n".encode()
        error, _ = failure_of(lambda c: c.sendall(answer))
    assert "answered 307, a redirect to 127.0.0.1: redirects are not followed" in str(error)
    assert reached == []


def test_a_receiver_that_hangs_holds_the_sender_no_longer_than_the_deadline():
    error, seconds = failure_of(lambda c: time.sleep(3), 0.4)
    assert "no whole answer within 0.4 s" in str(error)
    assert error.receiver_down
    assert seconds < 2.8  # it answers nothing for 3


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100], ids=["head", "endless body"])
def test_a_receiver_that_answers_byte_by_byte_has_the_same_deadline_for_the_whole(answer):
    def trickle(connection: socket.socket) -> None:
        for place in range(len(answer)):
            connection.sendall(answer[place : place + 1])
            time.sleep(0.1)

    error, seconds = failure_of(trickle, 0.5)
    assert "no whole answer within 0.5 s" in str(error)
    assert seconds < 3  # the shorter answer takes nearly 4


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", b"nonsense\r\n\r\n"]
)
def test_a_receiver_that_closes_mid_reply_was_not_reached(part):
    error, _ = failure_of(lambda c: c.sendall(part))
    assert "the connection broke" in str(error)


def test_no_more_of_a_reply_is_read_than_a_few_kib():
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 1 << 30:
            sent += connection.send(b"x" * 65536)

    with listening(flood) as (url, _):
        assert Webhook(settings(url), seconds=5).send(NOTICE).status == 200
    time.sleep(0.1)
    assert REPLY_BYTES <= sent < 1 << 26


def test_nobody_listening_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Undelivered, match="cannot connect") as caught:
        Webhook(settings(f"http://127.0.0.1:{port}/")).send(NOTICE)
    assert caught.value.receiver_down


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.9", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.3.4", "private"),
        ("192.168.1.1", "private"),
        ("fd00::1", "private"),
        ("fec0::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("100.64.0.1", "reserved"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::1", "private"),
        ("2002:7f00:1::", "loopback"),
    ],
)
def test_an_address_that_is_not_the_internets_is_refused(address, kind):
    assert kind in (refusal(address) or "")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_not_refused(address):
    assert refusal(address) is None


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_an_address_in_an_odd_spelling_is_still_one(host):
    assert "loopback" in (literal_refusal(host) or "")


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    """A name that answers differently the second time (DNS rebinding) reaches nothing private."""
    asked: list[str] = []
    connected: list[str] = []
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    def create_connection(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError("no network in a test")

    with listening(lambda c: c.sendall(OK)) as (url, requests):
        rebinding = url.replace("127.0.0.1", "rebind.example")
        webhook = Webhook(settings(rebinding, allow_private=False), resolver=resolver)
        monkeypatch.setattr(socket, "create_connection", create_connection)
        with pytest.raises(Undelivered, match="cannot connect"):
            webhook.send(NOTICE)
        assert (asked, connected) == (["rebind.example"], ["8.8.8.8"])
        with pytest.raises(Undelivered, match=r"rebind.example is 127.0.0.1, a loopback address"):
            webhook.send(NOTICE)
        assert connected == ["8.8.8.8"]
        assert requests == []


def test_of_a_name_with_a_private_and_a_public_address_only_the_public_one_is_tried(monkeypatch):
    connected: list[str] = []

    def create_connection(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError

    monkeypatch.setattr(socket, "create_connection", create_connection)
    webhook = Webhook(
        settings("https://two.example/", allow_private=False), resolver=lambda *_: ["10.0.0.1", "8.8.8.8", "::1"]
    )
    with pytest.raises(Undelivered):
        webhook.send(NOTICE)
    assert connected == ["8.8.8.8"]


def test_a_private_address_is_reached_where_it_is_allowed_and_the_host_header_keeps_the_name():
    with listening(lambda c: c.sendall(OK)) as (url, requests):
        named = url.replace("127.0.0.1", "hooks.desk.internal")
        assert Webhook(settings(named), resolver=lambda *_: ["127.0.0.1"]).send(NOTICE).status == 200
    assert b"\r\nhost: hooks.desk.internal:" in requests[0].lower()


def test_a_resolver_that_hangs_does_not_hold_the_sender():
    started = time.monotonic()
    webhook = Webhook(settings("http://slow.example/"), seconds=0.3, resolver=lambda *_: time.sleep(2) or [])
    with pytest.raises(Undelivered, match=r"slow\.example was not resolved in time"):
        webhook.send(NOTICE)
    assert time.monotonic() - started < 1.8  # it hangs for 2


def test_behind_a_proxy_the_proxy_resolves_and_may_be_private():
    def resolver(host: str, port: int) -> list[str]:
        assert host == "proxy.internal", "the receiver's name is the proxy's to resolve"
        return ["127.0.0.1"]

    with listening(lambda c: c.sendall(OK)) as (url, requests):
        proxy = f"http://proxy.internal:{url.split(':')[2].split('/')[0]}"
        through = settings("http://receiver.example/hook", proxy=proxy, allow_private=False)
        assert Webhook(through, resolver=resolver).send(NOTICE).status == 200
    assert requests[0].startswith(b"POST http://receiver.example/hook HTTP/1.1\r\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context for hooks.example; its certificate lies in `certificate.folder`."""
    folder = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=hooks.example"),
            *("-addext", "subjectAltName=DNS:hooks.example", "-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.folder = folder  # type: ignore[attr-defined]
    return context


def answer_over_tls(connection: socket.socket, context: ssl.SSLContext) -> None:
    with context.wrap_socket(connection, server_side=True) as secure:
        while not secure.recv(65536).endswith(b"}"):  # closing on unread bytes would reset the connection
            pass
        secure.sendall(OK)


def test_over_tls_the_certificate_is_checked_against_the_name(certificate, monkeypatch):
    names: list[str | None] = []
    certificate.sni_callback = lambda _socket, name, _context: names.append(name)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _address = server.accept()
            with suppress(OSError):
                answer_over_tls(connection, certificate)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    trusted = ssl.create_default_context(cafile=str(certificate.folder / "cert.pem"))
    monkeypatch.setattr(connection, "_trusted", lambda: trusted)
    port = server.getsockname()[1]
    right = Webhook(settings(f"https://hooks.example:{port}/"), resolver=lambda *_: ["127.0.0.1"], seconds=3)
    assert right.send(NOTICE).status == 200
    wrong = Webhook(settings(f"https://other.example:{port}/"), resolver=lambda *_: ["127.0.0.1"], seconds=3)
    with pytest.raises(Undelivered, match=r"(?i)certificate"):
        wrong.send(NOTICE)
    thread.join(5)
    server.close()
    assert names == ["hooks.example", "other.example"]


def test_through_a_proxy_tls_goes_to_the_receiver_itself(certificate, monkeypatch):
    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        answer_over_tls(connection, certificate)

    trusted = ssl.create_default_context(cafile=str(certificate.folder / "cert.pem"))
    monkeypatch.setattr(connection, "_trusted", lambda: trusted)
    with listening(tunnel) as (url, requests):
        proxy = f"http://me:word@127.0.0.1:{url.split(':')[2].split('/')[0]}"
        through = settings("https://hooks.example/hook", proxy=proxy, allow_private=False)
        assert Webhook(through, seconds=30).send(NOTICE).status == 200
    assert requests[0].startswith(b"CONNECT hooks.example:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: basic " + base64.b64encode(b"me:word").lower() in requests[0].lower()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secrets": "whsec_no base64!"}, "webhook 'desk': secret 1 is not base64"),
        ({"secrets": [SECRET, "whsec_" + "AAAA"]}, "webhook 'desk': secret 2 has 3 bytes, and needs 24 to 64"),
        ({"secrets": []}, "webhook 'desk': has no secret"),
        ({"secrets_file": "/nowhere/secret"}, "webhook 'desk': /nowhere/secret cannot be read"),
        ({"url": "ftp://x.example/"}, "webhook 'desk': url: expected http:// or https:// and a host"),
        ({"url": "file:///etc/passwd"}, "url: expected http:// or https://"),
        ({"url": "https://x.example:99999/"}, "url: cannot be read as a URL"),
        ({"url": "https:///x"}, "url: expected http:// or https:// and a host"),
        ({"url": "https://me:hunter2@x.example/"}, "url: a user or password in the URL is not sent"),
        ({"url": "http://127.0.0.1/", "allow_private": False}, "url: 127.0.0.1 is a loopback address"),
        ({"url": "http://[::ffff:10.0.0.1]/", "allow_private": False}, "a private address"),
        ({"url": "http://0x7f.1/", "allow_private": False}, "a loopback address"),
        ({"proxy": "socks5://x.example"}, "proxy: expected http:// and a host"),
        ({"name": ""}, "name"),
    ],
)
def test_settings_that_cannot_work_are_errors_that_name_the_webhook_and_no_secret(wrong, said):
    with pytest.raises(ValidationError) as caught:
        settings(**{"url": "https://x.example/", **wrong})
    assert said in str(caught.value)
    for secret in ("hunter2", "no base64!", SECRET):
        assert secret not in str(caught.value)


def test_secrets_come_from_a_file_one_a_line(tmp_path):
    file = tmp_path / "secrets"
    file.write_text(f"{SECRET}\n\n{NEWER}\n")
    assert len(settings("https://x.example/", secrets=[], secrets_file=file).keys) == 2
    file.write_text(f"{SECRET}\nnonsense!\n")
    with pytest.raises(ValidationError, match="line 2 is not base64"):
        settings("https://x.example/", secrets=[], secrets_file=file)


def test_what_is_secret_is_shown_nowhere():
    one = settings("https://hooks.example/T0/TOKEN?key=TOKEN", proxy="http://me:TOKEN@proxy.example:3128")
    for shown in (repr(one), str(one.model_dump(mode="json")), one.model_dump_json()):
        assert "TOKEN" not in shown
        assert SECRET[6:] not in shown
    assert one.model_dump(mode="json")["url"] == "https://hooks.example/***"


def test_the_documented_receiver_verifies_and_the_documented_body_is_valid():
    page = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text()
    told = json.loads(page.partition("```json\n")[2].partition("```")[0])
    jsonschema.validate(told, SCHEMA_2)
    assert set(told["data"]) == set(json.loads(body(Notice("msg_2", "firing", NOTICE.at, sample(2), "")))["data"])
    made: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], made)
    content = body(NOTICE)
    headers = sign(settings("https://x.example/", secrets=[NEWER, SECRET]).keys, "msg_1", int(time.time()), content)
    assert made["verify"](SECRET, headers, content)
    assert not made["verify"](SECRET, headers, content + b" ")
    assert not made["verify"](SECRET, {}, content)
