"""No output shows a secret: lists of settings, errors, logs, reports and pages.

Invariant: a secret that stands in the settings, in any place that may hold one, is in nothing that a command prints,
whatever its characters and however a library repeats it. What a random secret is made of is drawn by hypothesis.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import random
import re
import string
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.cli import errors, logs, main
from foreshock.ingest import redaction
from foreshock.ingest.redaction import redacted, remember, remember_value, without_secrets
from foreshock.monitor.errors import StoreError, Undelivered
from foreshock.monitor.store.database import connect
from foreshock.observability.log import hide_secrets_of_libraries
from foreshock.settings.load import SettingsError, load

MARK = "Zq7"
"""Begins each drawn secret, so that finding it in an output is no chance."""


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test remembers is forgotten at its end."""
    monkeypatch.setattr(redaction, "_remembered", {})
    monkeypatch.setattr(redaction, "_search", None)


printable = st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_categories=("Cc", "Zs"))
secrets = st.text(printable, min_size=6, max_size=30).map(lambda text: MARK + text)
plain = st.text(string.ascii_letters + string.digits, min_size=6, max_size=30).map(lambda text: MARK + text)


@st.composite
def tokens(draw: st.DrawFn) -> str:
    """What a service draws as a token: 20 and more characters at random."""
    drawn = random.Random(draw(st.integers(0, 2**32)))
    alphabet = draw(st.sampled_from([string.ascii_letters + string.digits, "0123456789abcdef"]))
    return "".join(drawn.choice(alphabet) for _ in range(draw(st.integers(20, 44))))


def shows(text: str, secret: str) -> bool:
    return any(form in text for form in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]))


@given(secrets)
def test_a_database_url_shows_no_secret_wherever_it_stands(secret: str) -> None:
    """As it is, and percent-encoded; in the password, and under any key of the query."""
    for way in (secret, quote(secret, safe="")):
        for url in (
            f"postgresql://me:{way}@host/db",
            f"postgresql+psycopg://me:{way}@host:5432/db?sslmode=require",
            f"postgresql://host/db?user=me&password={way}",
            f"postgresql://host/db?sslmode=require&sslpassword={way}&application_name=x",
            f"postgresql://me@host/db?options={way}",
            f"postgresql://me@host/db?{way}",
            f"postgresql://me@host/db?pass%77ord={way}",
        ):
            assert MARK not in redacted(url), redacted(url)


@given(plain)
def test_a_feeds_url_shows_no_user_no_password_and_no_value_of_an_unknown_key(secret: str) -> None:
    for url in (
        f"https://{secret}@feeds.example/rss",
        f"https://me:{secret}@feeds.example/rss",
        f"https://me:x/{secret}@feeds.example/rss",
        f"https://feeds.example/rss?token={secret}",
        f"https://feeds.example/rss?format=rss&k={secret}#x",
        f"https://feeds.example/rss?{secret}",
        f"https://feeds.example/rss#{secret}",
        f"https://feeds.example/rss?x=me@host&key={secret}",
    ):
        assert secret not in redacted(url), redacted(url)


@settings(derandomize=True)
@given(tokens())
def test_a_token_in_the_path_of_a_feed_is_hidden(token: str) -> None:
    assert redacted(f"https://feeds.example/u/{token}/rss.xml") == "https://feeds.example/u/***/rss.xml"
    assert token not in redacted(f"https://feeds.example/rss?feed={token}")
    assert token not in redacted(token)


@pytest.mark.parametrize(
    "url",
    [
        "https://feeds.example/markets/news.rss",
        "https://www.example.com/companies-and-markets?format=rss&lang=en",
        "https://news.example/rss/search?q=oil&hl=en-US&gl=US&ceid=US:en",
        "https://news.example/rss/combinedcms/view.xml?id=10000664",
        "https://medium.example/feed/@user/stories-of-2026",
        "postgresql://me@host:5432/db?sslmode=require",
        "sqlite:////tmp/a@b.db",
    ],
)
def test_what_is_harmless_is_shown(url: str) -> None:
    assert redacted(url) == url
    assert without_secrets(f"cannot read {url}: refused") == f"cannot read {url}: refused"


@given(secrets)
def test_a_remembered_secret_is_in_no_text_however_a_library_repeats_it(secret: str) -> None:
    remember(f"postgresql://me:{quote(secret, safe='')}@host/db")
    for text in (
        f'invalid connection option "{secret}"',
        f"dsn: {quote(secret, safe='')}",
        f"x={quote_plus(secret)}",
        f"KeyError: {secret!r}",
        json.dumps({"value": secret}, ensure_ascii=False),
        f"{secret}{secret}",
    ):
        assert not shows(without_secrets(text), secret), without_secrets(text)


def test_a_short_word_that_is_a_secret_is_hidden_as_a_word_alone() -> None:
    remember("postgresql://app:news@host/db")
    assert without_secrets("the newspaper said news") == "the newspaper said ***"
    remember_value("abc")
    assert without_secrets("abc is too short to be found in texts") == "abc is too short to be found in texts"


def test_what_follows_a_secrets_name_is_hidden_without_having_been_remembered() -> None:
    for text in (
        "connection failed: password=hunter2 host=db",
        "token = 'hunter2'",
        '{"api_key": "hunter2"}',
        "authorization: Bearer hunter2",
        "GET https://me:hunter2@feeds.example/rss: 401",
    ):
        assert "hunter2" not in without_secrets(text), without_secrets(text)
    for text in ("password_file: /run/secrets/pw cannot be read", "has no secret: set secrets or secrets_file"):
        assert without_secrets(text) == text


def settings_with(secret: str, folder: Path) -> str:
    """A settings file in which every setting that may hold a secret holds this one."""
    signing = base64.b64encode(secret.encode().ljust(32, b"x")[:48]).decode()
    way = quote(secret, safe="")
    (folder / "kafka.txt").write_text(secret, encoding="utf-8")
    return f"""
[store]
url = "postgresql://me:{way}@127.0.0.1:1/db?sslpassword={way}"
[kafka]
bootstrap_servers = "127.0.0.1:1"
security_protocol = "SASL_SSL"
sasl_mechanism = "PLAIN"
sasl_plain_username = "me"
sasl_plain_password = {json.dumps(secret)}
ssl_password_file = "kafka.txt"
sasl_oauth_token_url = "https://me:{way}@id.example/token?client={way}"
[dashboard]
external_url = "https://desk.example"
[sign_in]
metadata_url = "https://login.example/.well-known/openid-configuration"
client_id = "foreshock"
client_secret = {json.dumps(secret)}
[[feeds]]
rss = "https://me:{way}@127.0.0.1:1/rss?key={way}"
[[webhooks]]
name = "desk"
url = "https://hooks.example/{way}?sig={way}"
secrets = "{signing}"
[[messages]]
name = "chat"
apprise_url = "slack://T1JJ3T3L2/A1BRTD4JD/{way}/#alerts"
"""


SECRETS = [
    "Zq7hunter2",
    "Zq7pässwörd",
    "Zq7 with space+plus",
    "Zq7'\"\\q",
    "Zq7%40x%%s{}",
    "Zq7@/?#&=:",
    "Zq7;DROP--<b>",
]


@pytest.mark.slow
def test_no_command_prints_a_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "".join(SECRETS)
    file = tmp_path / "foreshock.toml"
    file.write_text(settings_with(secret, tmp_path), encoding="utf-8")
    monkeypatch.setenv("FORESHOCK_TRACEBACK", "1")
    for command in (
        *(["config", "show"], ["config", "show", "--json"], ["config", "check"], ["doctor"]),
        *(["topics", "list"], ["sources", "list"], ["alerts", "list"]),
    ):
        main([*command, "--config", str(file)])
        out, err = capsys.readouterr()
        assert out + err
        assert MARK not in out + err, command


BROKEN = [
    '[[messages]]\nname = "x"\napprise_url = {text}',
    '[[messages]]\nname = "x"\napprise_url = "nothing://{url}"',
    "[store]\nurl = {text}",
    '[store]\nurl = "mysql://me:{url}@host/db"',
    '[store]\nurl = ["postgresql://me:{url}@host/db"]',
    "[[feeds]]\nrss = {text}",
    '[[feeds]]\nrss = "https://me:{url}@host:x/rss"',
    "[kafka]\nsasl_plain_password = [{text}]",
    "[sign_in]\nclient_secret = {text}\nlasts = {text}",
    "[sign_in]\nclient_secret = {text}",
    '[dashboard]\nexternal_url = "https://me:{url}@desk.example"',
    '[[webhooks]]\nname = "x"\nurl = {text}\nsecrets = {text}',
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("secret", SECRETS)
def test_no_error_about_a_setting_repeats_it(broken: str, secret: str, tmp_path: Path) -> None:
    file = tmp_path / "foreshock.toml"
    text = json.dumps(secret, ensure_ascii=False)
    file.write_text(broken.replace("{text}", text).replace("{url}", quote(secret, safe="")), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file, environ={})
    assert MARK not in str(caught.value), broken


def test_the_errors_of_a_store_that_cannot_be_reached_show_no_secret() -> None:
    for url in ("postgresql://me:Zq7hunter2@127.0.0.1:1/db?sslpassword=Zq7hunter2", "postgresql://x/db?Zq7hunter2=1"):
        with pytest.raises(StoreError) as caught:
            connect(url, create=False)
        assert MARK not in str(caught.value)


def test_a_receivers_answer_that_repeats_its_url_shows_no_secret() -> None:
    remember("https://hooks.example/services/Zq7x9Kd03LmqQ81vBzT4/x?sig=Zq7hunter2")
    error = Undelivered("HTTP 404: no route /services/Zq7x9Kd03LmqQ81vBzT4/x?sig=Zq7hunter2")
    assert MARK not in str(error)


def test_logs_and_tracebacks_show_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import structlog

    factory, hook = logging.getLogRecordFactory(), threading.excepthook
    threading.excepthook = threading.__excepthook__
    logging.setLogRecordFactory(logging.LogRecord)
    remember("https://me:Zq7hunter2@feeds.example/rss")
    try:
        logs.configure()
        password = "Zq7hunter2"
        try:
            raise ValueError(f"cannot use {password}")
        except ValueError as error:
            structlog.get_logger().exception(
                "failed", url=f"https://me:{password}@x", parts=[password, {"a": password}]
            )
            errors.report(error)
        told = io.StringIO()
        handler = logging.StreamHandler(told)
        logger = logging.getLogger("a.library")
        logger.addHandler(handler)
        hide_secrets_of_libraries()
        try:
            raise ValueError(password)
        except ValueError:
            logger.exception("asked %s", f"https://me:{password}@feeds.example/rss")
        thread = threading.Thread(target=lambda: (_ for _ in ()).throw(ValueError(password)))
        thread.start()
        thread.join()
        logger.removeHandler(handler)
        said = capsys.readouterr()
        assert "cannot use ***" in said.err
        assert "Traceback" in told.getvalue()
        assert MARK not in said.out + said.err + told.getvalue()
    finally:
        logging.setLogRecordFactory(factory)
        threading.excepthook = hook
        structlog.reset_defaults()


def test_nothing_else_redacts() -> None:
    """One redactor: no module hides a password by means of its own."""
    root = Path(__file__).parents[1]
    own = re.compile(r"hide_password=True|\bpassword.{0,20}\*\*\*|render_as_string\(\)")
    for room in ("ingest", "model", "monitor", "dashboard", *map(str, (root / "foreshock").iterdir())):
        for file in (root / room).rglob("*.py"):
            if file.name != "redaction.py":
                assert not own.search(file.read_text(encoding="utf-8")), file


def test_a_feeds_name_in_the_store_has_no_token() -> None:
    from foreshock.settings.models import FeedSettings

    named: Any = FeedSettings(rss="https://me:Zq7hunter2@feeds.example/rss?format=rss&key=Zq7hunter2")
    assert named.partition == "rss:https://feeds.example/rss?format=rss&key=***"
    assert MARK not in repr(named) + named.model_dump_json()


def test_a_short_word_in_a_header_is_no_secret_and_a_token_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "desk.toml"
    file.write_text(
        '[[receivers]]\nname = "desk"\nkind = "json"\nurl = "https://x.example/"\n'
        'template = \'{"a": "{title}"}\'\n'
        'headers = { X-Team = "desk", Authorization = "Bearer hunter", X-Gateway = "correcthorsebattery" }\n'
    )
    load(file, environ={})
    shown = without_secrets("receiver desk, hunter, correcthorsebattery")
    assert shown.startswith("receiver desk, ")
    assert "hunter" not in shown
    assert "correcthorse" not in shown
