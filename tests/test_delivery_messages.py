"""Messages in Slack, Teams and e-mail: which receivers are taken, and that a feed's text stays text in them."""

from __future__ import annotations

import smtplib
import time
from email import message_from_string
from email.header import decode_header, make_header
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from foreshock.monitor.delivery.messages import LONGEST, Message, defused, plain
from foreshock.monitor.delivery.notice import SAMPLE_ALERT, Notice
from foreshock.monitor.delivery.settings import MessageSettings
from foreshock.monitor.errors import Undelivered

pytestmark = pytest.mark.slow

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"
TEAMS = "workflows://prod-03.westeurope.logic.azure.com:443/3e1f9c/SIGNATURE"
MAIL = "mailto://user:hunter2@mail.internal:2525?from=foreshock@desk.example&to=ada@desk.example"
LINK = "https://desk.example/Alerts?alert=1"
HOSTILE = (
    "<!here> @channel <https://evil.example|click> [x](https://evil.example) *b* <at>Ada</at>\n&lt;!channel&gt;\u202eX"
)


class Reply:
    def __init__(self, status: int) -> None:
        self.status_code = status
        self.content = b"ok"
        self.headers: dict[str, str] = {}
        self.text = "ok"


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been posted; nothing leaves."""
    sent: list[dict[str, Any]] = []

    def post(url: str, *_: Any, **asked: Any) -> Reply:
        sent.append({"url": url, **asked})
        return Reply(200)

    monkeypatch.setattr(requests, "post", post)
    monkeypatch.setattr(requests, "request", lambda _method, url, **asked: post(url, **asked))
    return sent


def notice(topic: str = "Banks", sentence: str = "Polarity of Banks has fallen.", event: str = "firing") -> Notice:
    return Notice("msg_1", event, 0, {**SAMPLE_ALERT, "topic": topic, "sentence": sentence}, LINK)


def message(url: str, **more: Any) -> Message:
    return Message(MessageSettings.model_validate({"name": "chat", "apprise_url": url}), **more)


@pytest.mark.parametrize("url", [SLACK, TEAMS])
def test_a_message_is_the_sentence_and_the_link(posts, url):
    message(url).send(notice())
    (post,) = posts
    assert "Polarity of Banks has fallen." in post["data"]
    assert LINK in post["data"]
    assert post["allow_redirects"] is False


@pytest.mark.parametrize("url", [SLACK, TEAMS])
def test_text_of_a_feed_makes_no_mention_no_link_and_no_markup(posts, url):
    message(url).send(notice(topic=HOSTILE, sentence=f"Polarity of {HOSTILE} has fallen."))
    data = posts[0]["data"].encode().decode("unicode_escape") if "\\u" in posts[0]["data"] else posts[0]["data"]
    data = data.replace(f"[{LINK}]({LINK})", "")
    for harmful in ("<!here>", "@channel", "&lt;!", "<https", "github", "](", "*b*", "<at>", "\u202e", "https://evil"):
        assert harmful not in data, harmful
    assert "evil.example" in data, "it is shown, as text"


def test_plain_text_is_one_line_of_what_can_be_seen():
    assert plain("a\nb\x1b[2J\u202ec\u200bd") == "a b [2J c d"
    assert len(plain("x" * 10_000)) == LONGEST
    assert defused("R&D <b>") == "R＆D ‹b›"


def test_an_e_mail_has_the_topic_as_subject_and_no_header_of_the_feeds(monkeypatch):
    sent: list[str] = []

    class Server:
        def __init__(self, host: str, port: int, *_: Any, **__: Any) -> None:
            assert (host, port) == ("mail.internal", 2525)

        def login(self, *_: Any) -> None: ...
        def sendmail(self, sender: str, to: Any, text: str) -> None:
            sent.append(text)

        def quit(self) -> None: ...

    monkeypatch.setattr(smtplib, "SMTP", Server)
    message(MAIL).send(notice(topic="Banks\r\nBcc: eve@evil.example", sentence="It fell.\r\n.\r\nQUIT"))
    mail = message_from_string(sent[0])
    assert mail["Bcc"] is None
    assert mail["To"] == "ada@desk.example"
    assert str(make_header(decode_header(mail["Subject"]))) == "Alert: “Banks Bcc: eve@evil.example”"
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert b"It fell. . QUIT" in payload
    assert LINK.encode() in payload


def test_what_the_service_answers_is_said(monkeypatch):
    monkeypatch.setattr(requests, "request", lambda *_, **__: Reply(404))
    with pytest.raises(Undelivered, match="404"):
        message(SLACK).send(notice())


def test_a_service_that_hangs_holds_the_sender_no_longer_than_the_deadline(monkeypatch):
    monkeypatch.setattr(requests, "request", lambda *_, **__: time.sleep(6))
    started = time.monotonic()
    with pytest.raises(Undelivered, match=r"not sent within 0\.3 s"):
        message(SLACK, seconds=0.3).send(notice())
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("discord://a/b", "begins with 'discord': expected one of slack://"),
        ("json://127.0.0.1/", "begins with 'json'"),
        ("file:///etc/passwd", "begins with 'file'"),
        ("https://hooks.slack.com/services/T/A/B", "three parts, as Slack shows it"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD", "three parts, as Slack shows it"),
        ("https://hooks.slack.com/triggers/T1JJ3T3L2/123/hunter2", "three parts, as Slack shows it"),
        ("https://hooks.slack.com.evil.example/services/T/A/B", "begins with 'https'"),
        ("hunter2", "expected one of slack://"),
        (SLACK + "?template=/etc/passwd", "templates and redirects are not allowed"),
        (SLACK + "?%74emplate=/etc/passwd", "templates and redirects are not allowed"),
        (TEAMS + "?redirect=yes", "templates and redirects are not allowed"),
        ("workflows://127.0.0.1:80/hunter2/s", "is not a host of Teams"),
        ("workflows://logic.azure.com.evil.example/hunter2/s", "is not a host of Teams"),
        (None, "needs one of apprise_url and apprise_url_file"),
    ],
)
def test_other_services_hosts_and_options_are_refused(url, said):
    with pytest.raises(ValidationError) as caught:
        MessageSettings.model_validate({"name": "chat", "apprise_url": url})
    assert f"message 'chat': {'apprise_url' if url else 'needs'}" in str(caught.value)
    assert said in str(caught.value)
    assert "/hunter2" not in str(caught.value)


def test_a_messages_url_comes_from_a_file_and_is_never_shown(tmp_path):
    file = tmp_path / "url"
    file.write_text(SLACK + "\n")
    assert MessageSettings(name="chat", apprise_url_file=file).target == SLACK
    shown = MessageSettings.model_validate({"name": "chat", "apprise_url": SLACK})
    assert "TIiajkdn" not in repr(shown) + shown.model_dump_json()


def test_the_address_that_slack_shows_is_taken(posts):
    """`https://hooks.slack.com/services/...` is posted to, and its token is never shown."""
    shown = SLACK.replace("slack://", "https://hooks.slack.com/services/").partition("/#")[0]
    settings = MessageSettings.model_validate({"name": "chat", "apprise_url": shown})
    assert settings.target == SLACK.partition("/#")[0]
    Message(settings).send(notice())
    assert posts[0]["url"] == shown
    assert shown.split("/")[-1] not in repr(settings) + settings.model_dump_json()
