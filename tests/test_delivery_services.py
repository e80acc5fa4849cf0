"""On-call services: PagerDuty, Opsgenie, Alertmanager and JSON by template, each against a server that checks its
schema; headers from the environment; and settings with a typing error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from services import Services

from foreshock.monitor.delivery.notice import SAMPLE_ALERT, SAMPLE_INCIDENT, Notice
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings
from foreshock.monitor.delivery.services import Service
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.delivery.template import FIELDS, Template, fields
from foreshock.monitor.delivery.testing import send_samples
from foreshock.monitor.delivery.webhook import Webhook
from foreshock.monitor.errors import Undelivered
from foreshock.settings.load import SettingsError, load

AT = 1_767_622_800_000_000
INCIDENT = "5f0c1a52-9a43-5d0c-8d2f-3c1f7a100b1f"
LINK = "https://desk.example/Alerts?alert=1"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "k" * 32


def settings(kind: str, url: str, **more: Any) -> ReceiverSettings:
    given = {"name": "on-call", "kind": kind, "url": url, "allow_private": True, **more}
    if kind in ("pagerduty", "opsgenie"):
        given.setdefault("key", KEY)
    return ReceiverSettings.model_validate(given)


def notice(event: str = "firing", **alert: Any) -> Notice:
    """Return a notice of an incident, which has the `group_id` and the `severity` of the alert that it is about."""
    about = {**SAMPLE_ALERT, "severity": "warning", "state": event, **alert}
    incident = {**SAMPLE_INCIDENT, "id": about["group_id"] or about["id"], "severity": about["severity"]}
    return Notice("msg_1", event, AT, {**about, "incident": incident, "changes": []}, LINK)


PATHS = {"pagerduty": "/v2/enqueue", "opsgenie": "/v2/alerts", "alertmanager": ""}


@pytest.mark.parametrize("kind", PATHS)
def test_an_incident_opens_grows_and_closes_under_one_key(kind):
    with Services() as services:
        receiver = Service(settings(kind, services.url + PATHS[kind]))
        receiver.send(notice(group_id=INCIDENT))
        assert len(services.open) == 1
        (key,) = services.open
        assert INCIDENT in key
        if kind != "alertmanager":
            assert key == INCIDENT
        receiver.send(notice("updated", group_id=INCIDENT, severity="critical"))
        assert len(services.open) == 1, "what got graver is the same incident"
        receiver.send(notice(id="another", group_id="other"))
        assert len(services.open) == 2
        receiver.send(notice("resolved", group_id=INCIDENT, severity="critical"))
        assert [INCIDENT in key for key in services.open] == [False]


@pytest.mark.parametrize("kind", PATHS)
def test_without_an_incident_the_alerts_id_is_the_key(kind):
    with Services() as services:
        receiver = Service(settings(kind, services.url + PATHS[kind]))
        receiver.send(notice())
        (key,) = services.open
        assert SAMPLE_ALERT["id"] in key
        receiver.send(notice("resolved"))
        assert not services.open


@pytest.mark.parametrize("kind", PATHS)
def test_a_sample_leaves_nothing_open(kind):
    with Services() as services:
        (row,) = send_samples((), (), [settings(kind, services.url + PATHS[kind])], None)
        assert row["ok"], row
        if kind == "alertmanager":  # closes by itself after five minutes
            return
        assert len(services.requests) == 2
        assert not services.open


@pytest.mark.parametrize(("severity", "said"), [(None, "warning"), ("info", "info"), ("critical", "critical")])
def test_the_severity_is_said_in_the_services_own_words(severity, said):
    with Services() as services:
        for kind, path in PATHS.items():
            Service(settings(kind, services.url + path)).send(notice(severity=severity))
        pagerduty, opsgenie, alertmanager = (body for _, _, body in services.requests)
    assert pagerduty["payload"]["severity"] == said
    assert opsgenie["priority"] == {"info": "P5", "warning": "P3", "critical": "P1"}[said]
    assert alertmanager[0]["labels"]["severity"] == said


@pytest.mark.parametrize("kind", PATHS)
@given(topic=st.text(max_size=400), sentence=st.text(min_size=1, max_size=3_000), title=st.text(max_size=3_000))
def test_whatever_the_feed_says_fits_the_services_schema(kind, topic, sentence, title):
    """Invariant: no text of a feed makes a request that the service refuses."""
    from foreshock.monitor.delivery.services import WRITERS

    story = {**SAMPLE_ALERT["evidence"][0], "title": title}
    alert = {"topic": topic, "sentence": f"It fell. {sentence}", "evidence": [story] * 9}
    services = Services()
    for event in ("firing", "updated", "resolved", "test"):
        for request in WRITERS[kind](settings(kind, "http://127.0.0.1:9" + PATHS[kind]), notice(event, **alert)):
            body = json.loads(json.dumps(request.body, allow_nan=False))
            headers = {name.lower(): value for name, value in request.headers.items()}
            answer = services.take(request.url.raw_path.decode(), headers, body)
            assert answer[0] < 300, answer


def test_alertmanager_gets_times_of_the_clock_and_the_alerts_page():
    with Services() as services:
        Service(settings("alertmanager", services.url + "/api/v2/alerts")).send(notice())
        ((path, _, (alert,)),) = services.requests
    assert path == "/api/v2/alerts"
    assert alert["startsAt"] == SAMPLE_ALERT["fired_at"]
    assert alert["generatorURL"] == LINK
    assert alert["annotations"]["summary"] == SAMPLE_ALERT["sentence"]


def test_pagerduty_refuses_a_wrong_key_and_the_key_is_never_shown():
    wrong = "x7" * 16
    with Services() as services:
        given = {"name": "on-call", "kind": "pagerduty", "url": services.url + "/v2/enqueue", "key": wrong}
        loaded = load(None, flags={"receivers": [{**given, "allow_private": True}]}, environ={}).settings
        services.answer = lambda _path, _headers, body: (400, {}, f"Invalid routing key {body['routing_key']}")
        with pytest.raises(Undelivered, match="Invalid routing key") as caught:
            Service(loaded.receivers[0]).send(notice())
    shown = str(caught.value) + repr(loaded) + loaded.model_dump_json()
    assert wrong not in shown


# JSON by template

TEMPLATE = '{"title": "{topic}: {sentence}", "n": "{sources}", "severity": "{severity}", "raw": "{alert}"}'


def test_a_template_is_filled_and_posted_and_its_end_goes_where_the_settings_say():
    with Services() as services:
        services.answer = lambda *_: (200, {}, "")
        desk = settings(
            *("json", services.url + "/tickets"),
            template=TEMPLATE,
            resolved_url=services.url + "/tickets/{incident}/close",
            resolved_template='{"by": "Foreshock {{auto}}"}',
        )
        Service(desk).send(notice())
        Service(desk).send(notice("resolved", group_id="a/b"))
        (path, _, body), (closing, _, end) = services.requests
    assert (path, closing) == ("/tickets", "/tickets/a%2Fb/close")
    assert (body["n"], body["severity"]) == (1, "warning")
    assert body["raw"]["id"] == SAMPLE_ALERT["id"]
    assert end == {"by": "Foreshock {auto}"}


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(), min_size=len(FIELDS)))
def test_no_text_changes_the_form_of_a_template(values):
    """Invariant: the keys of what is sent are the template's, whatever the fields contain."""
    filled = Template('{"a": ["{topic}", {"b": "x {sentence} {topic}"}]}', "template").fill(values)
    assert list(filled) == ["a"]
    assert filled["a"][0] == values["topic"]
    assert filled["a"][1] == {"b": f"x {values['sentence']} {values['topic']}"}


def test_every_field_of_a_template_exists():
    assert set(fields(notice())) == set(FIELDS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": "{topik}"}', "no field {topik}; did you mean {topic}?"),
        ('{"a": {topic}}', "template: not JSON"),
        ("", "needs one of template and template_file"),
        ("[" * 100_000, "too deep to read"),
    ],
)
def test_a_template_with_a_typing_error_is_refused_with_its_place(text, said):
    with pytest.raises(ValidationError) as caught:
        settings("json", "https://x.example/", template=text)
    assert said in str(caught.value)


# Headers and keys


def test_headers_come_from_the_environment_or_a_file_and_are_redacted_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEWAY_TOKEN", "Zq7hunter2hunter2")
    (tmp_path / "headers.txt").write_text("X-Team: Zq8secret-of-the-file\n")
    file = tmp_path / "desk.toml"
    with Services() as services:
        # A gateway that repeats what it was sent must not bring a secret into the store.
        services.answer = lambda _path, headers, _body: (401, {}, f"who is {headers.get('authorization')}?")
        file.write_text(
            f'[[webhooks]]\nname = "desk"\nurl = "{services.url}"\nsecrets = "{SECRET}"\nallow_private = true\n'
            'headers = { Authorization = "Bearer ${GATEWAY_TOKEN}" }\nheaders_file = "headers.txt"\n'
        )
        loaded = load(file, environ={}).settings
        with pytest.raises(Undelivered) as caught:
            Webhook(loaded.webhooks[0]).send(notice())
        ((_, headers, _),) = services.requests
    assert headers["authorization"] == "Bearer Zq7hunter2hunter2"
    assert headers["x-team"] == "Zq8secret-of-the-file"
    assert headers["content-type"] == "application/json"
    assert "webhook-signature" in headers
    assert "answered 401" in str(caught.value)
    for shown in (str(caught.value), repr(loaded), loaded.model_dump_json()):
        assert "Zq7" not in shown
        assert "Zq8" not in shown


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"headers": {"Authorization": "Bearer ${GATEWAY_TOKNE}"}}, "did you mean GATEWAY_TOKEN?"),
        ({"headers": {"Authorization": "Bearer ${}"}}, "write the name of an environment variable"),
        ({"headers": {"Authorization": "Bearer a\nX-Other: Zq7"}}, "Authorization is not a header"),
        ({"headers": {"Zq7 x": "y"}}, "one of them is not a header"),
        ({"headers": {"Webhook-Id": "1"}}, "Webhook-Id is set by Foreshock"),
        ({"headers_file": "nothing.txt"}, "nothing.txt cannot be read"),
    ],
)
def test_a_header_with_a_typing_error_is_refused_without_its_value(more, said, monkeypatch):
    monkeypatch.setenv("GATEWAY_TOKEN", "Zq7hunter2")
    with pytest.raises(ValidationError) as caught:
        WebhookSettings.model_validate({"name": "desk", "url": "https://x.example/", "secrets": SECRET, **more})
    assert said in str(caught.value)
    assert "Zq7" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("pagerduty", {"key": "Zq7" + "k" * 28}, "has 32 letters and digits, and this has 31 characters"),
        ("pagerduty", {"key": "${NO_SUCH_KEY_HERE}"}, "the environment variable NO_SUCH_KEY_HERE is not set"),
        ("pagerduty", {}, "needs one of key and key_file"),
        ("opsgenie", {"key": "Zq7"}, "has 36 characters, and this has 3"),
        ("alertmanager", {"url": "https://x.example/", "key": "Zq7" * 12}, "a token belongs in headers"),
        ("alertmanager", {"url": "http://127.0.0.1:9093"}, "is a loopback address; to allow it, set allow_private"),
        ("alertmanager", {}, "needs a url"),
        ("json", {"url": "https://x.example/"}, "needs one of template and template_file"),
        ("pagerduty", {"key": "k" * 32, "template": "{}"}, "template: is for kind json only"),
        ("pagerdutty", {}, "Input should be 'pagerduty'"),
    ],
)
def test_a_receiver_that_cannot_work_is_refused_without_its_secret(kind, more, said, tmp_path):
    with pytest.raises(SettingsError) as caught:
        load(None, flags={"receivers": [{"name": "on-call", "kind": kind, **more}]}, environ={})
    assert said in str(caught.value)
    assert "Zq7" not in str(caught.value)


def test_slacks_own_address_as_a_webhook_is_answered_with_what_to_write():
    given = {"name": "x", "url": "https://hooks.slack.com/services/T1JJ3T3L2/B1BRTD4JD/" + "a" * 24, "secrets": SECRET}
    with pytest.raises(ValidationError, match=r"write it as apprise_url of \[\[messages\]\]"):
        WebhookSettings.model_validate(given)


def test_names_of_receivers_are_distinct_and_files_start_beside_the_settings(tmp_path):
    (tmp_path / "key.txt").write_text(KEY + "\n")
    file = tmp_path / "desk.toml"
    one = '[[receivers]]\nname = "on-call"\nkind = "pagerduty"\nkey_file = "key.txt"\n'
    file.write_text(one)
    (receiver,) = load(file, environ={}).settings.receivers
    assert receiver.secret == KEY
    assert receiver.address() == "https://events.pagerduty.com/v2/enqueue"
    file.write_text(one + one)
    with pytest.raises(SettingsError, match="are called 'on-call'; rename one"):
        load(file, environ={})


def test_alerts_test_and_config_check_know_the_receivers(tmp_path: Path):
    from typer.testing import CliRunner

    from foreshock.cli.app import app

    file = tmp_path / "desk.toml"
    with Services() as services:
        file.write_text(
            f'[[receivers]]\nname = "on-call"\nkind = "pagerduty"\nkey = "{KEY}"\nallow_private = true\n'
            f'url = "{services.url}/v2/enqueue"\n'
        )
        done = CliRunner().invoke(app, ["alerts", "test", "--config", str(file)])
        assert done.exit_code == 0, done.output
        assert done.output.startswith("on-call: answered 202, ")
        shown = CliRunner().invoke(app, ["config", "show", "--config", str(file)])
    assert KEY not in shown.output
    assert "on-call" in shown.output
