"""Delivery from the command line: `replay --deliver`, `alerts test`, `alerts ack` and `alerts silence`."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import jsonschema
import pytest
import rows
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.cli.errors import explain
from foreshock.demo.receiver import Received, Receiver
from foreshock.monitor.delivery.sender import Retries
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.errors import NoSuchAlert, NoSuchIncident, NoSuchReceiver
from foreshock.monitor.store import decided, desk_actions, incident_history, open_store, schema
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.units import NEW
from foreshock.processes import replay
from foreshock.settings.load import SettingsError, load
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "webhook.schema.json").read_text())
SCHEMA_2 = json.loads((Path(__file__).parents[1] / "docs" / "webhook.v2.schema.json").read_text())
HOUR = 3600
LETTERS = str.maketrans("0123456789", "ghijklmnop")


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve days of a topic with two stories an hour, and a day of bad news near the end."""
    return made_feed(tmp_path_factory.mktemp("feed"), 12, range(9 * 24, 10 * 24))


def made_feed(folder: Path, days: int, bad_hours: range, gap: range = range(0)) -> Path:
    """Days of a topic with two stories an hour, with sixteen that are bad in some hours, and with none in the gap."""
    file = folder / "news.jsonl"
    start = 1_704_067_200
    with file.open("w") as lines:
        for hour in range(days * 24):
            bad = hour in bad_hours
            for place in range(16 if bad else 2 * (hour not in gap)):
                draw = (hour * 7919 + place * 104_729) % 97 / 97
                negative = 0.95 if bad else 0.3 * draw
                words = " ".join(sha256(f"{hour} {place}".encode()).hexdigest()[i : i + 6] for i in range(0, 36, 6))
                story = {
                    "id": f"{hour}-{place}",
                    "title": words.translate(LETTERS),
                    "published_at": start + hour * HOUR + place * 200,
                    "source": f"wire-{(hour + place) % 7}",
                    "topics": ["Banks"],
                    "scores": {"negative": negative, "neutral": 1 - negative, "positive": 0.0},
                }
                lines.write(json.dumps(story) + "\n")
    return file


def settings(tmp_path: Path, receiver: Receiver | None = None, version: int = 1) -> Settings:
    text = '[watchlist]\ndefaults = false\n[dashboard]\nexternal_url = "https://desk.example"\n'
    if receiver is not None:
        text += f'[[webhooks]]\nname = "desk"\nurl = "{receiver.url}"\nsecrets = "{receiver.secret}"\n'
        text += f"allow_private = true\nversion = {version}\n"
    file = tmp_path / "desk.toml"
    file.write_text(text)
    return load(file, flags={"store.url": f"sqlite:///{tmp_path}/store.db"}, environ={}).settings


def outbox_states(url: str) -> set[str]:
    with reading(open_store(url).engine) as connection:
        return set(connection.execute(select(schema.outbox.c.state)).scalars())


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, feed: Path, quick_scorer) -> Path:
    """The store that a replay makes of the feed, and delivers nothing of. Not to be written to; copy the file."""
    folder = tmp_path_factory.mktemp("replayed")
    assert replay.replay(settings(folder), [feed], scorer=quick_scorer).counts["alerts"] >= 1
    return folder / "store.db"


def test_a_replay_delivers_nothing_unless_told_to_not_even_later(tmp_path, feed, replayed, quick_scorer):
    got: list[Received] = []
    with Receiver(got.append) as receiver:
        here = settings(tmp_path, receiver)
        shutil.copy(replayed, tmp_path)
        assert outbox_states(here.store.url) == {"withheld"}
        replay.replay(here, [feed], deliver=True, scorer=quick_scorer)
    assert got == []


def test_a_replay_with_deliver_ends_when_every_alert_is_delivered(tmp_path, feed, quick_scorer):
    got: list[Received] = []
    with Receiver(got.append) as receiver:
        here = settings(tmp_path, receiver)
        counts = replay.replay(here, [feed], deliver=True, scorer=quick_scorer).counts
    assert counts["alerts"] >= 1
    store = open_store(here.store.url)
    alerts = {alert["id"]: alert for alert in store.alerts()}
    bodies = [received.body for received in got]
    assert all(received.verified for received in got)
    for sent in bodies:
        assert sent is not None
        jsonschema.validate(sent, SCHEMA)
        alert = alerts[sent["data"]["id"]]
        assert sent["data"]["link"] == f"https://desk.example/Alerts?alert={alert['id']}"
        assert sent["timestamp"] == alert["fired_at" if sent["type"] == "alert.firing" else "resolved_at"]
        if sent["type"] == "alert.resolved" or alert["state"] == "firing":
            assert sent["data"] == {**alert, "link": sent["data"]["link"]}
    expected = [(a["id"], "alert.firing") for a in alerts.values()]
    expected += [(a["id"], "alert.resolved") for a in alerts.values() if a["resolved_at"]]
    assert sorted((sent["data"]["id"], sent["type"]) for sent in bodies if sent) == sorted(expected)
    assert outbox_states(here.store.url) == {"dispatched"}
    assert all(alert["group_id"] and alert["severity"] for alert in alerts.values())
    summary = store.overview()["delivery"]
    assert summary["deliveries"] == {"delivered": len(got)}
    told = next(alert for alert in alerts.values() if alert["kind"] == "negativity_spike")
    why = ["alerts", "why", told["id"], "--store", here.store.url]
    found = json.loads(CliRunner().invoke(app, [*why, "--json"]).output)
    assert found["alert"] == told
    assert found["window"]["events"] == told["events"]
    assert found["window"]["negative_share"] > 0.6
    assert found["before"]["negative_share"] < 0.3
    assert len(found["window"]["sources"]) == told["sources"]
    assert found["steps"][-1]["end"] == found["window"]["end"]
    assert {row["state"] for row in found["deliveries"]} == {"delivered"}
    said = CliRunner().invoke(app, why).output
    assert told["sentence"] in said
    assert "firing to desk: delivered" in said


def test_one_incident_is_one_message_and_its_end(tmp_path, feed, quick_scorer):
    """Each incident is announced once, under one id in all messages, and ends once if it has ended."""
    got: list[Received] = []
    with Receiver(got.append) as receiver:
        here = settings(tmp_path, receiver, version=2)
        replay.replay(here, [feed], deliver=True, scorer=quick_scorer)
    store = open_store(here.store.url)
    incidents = {incident["id"]: incident for incident in store.incidents()}
    assert incidents
    for received in got:
        sent = received.body
        assert received.verified
        assert sent is not None
        jsonschema.validate(sent, SCHEMA_2)
        assert sent["data"]["link"] == f"https://desk.example/Alerts?incident={sent['data']['id']}"
        assert {alert["group_id"] for alert in sent["data"]["alerts"]} == {sent["data"]["id"]}
        assert sent["data"]["stories"] == sorted(sent["data"]["stories"], key=lambda story: story["published_at"])
    told = [(sent["data"]["id"], sent["type"]) for received in got if (sent := received.body)]
    assert [one for one in told if one[1] == "incident.firing"] == [(i, "incident.firing") for i in incidents]
    ended = {one for one, kind in told if kind == "incident.resolved"}
    assert ended == {i["id"] for i in incidents.values() if i["state"] == "ended"}
    grouped = {alert["group_id"] for alert in store.alerts()}
    assert grouped == set(incidents)
    shown = next(iter(incidents))
    found = CliRunner().invoke(app, ["incidents", "show", shown[:8], "--store", here.store.url])
    assert incidents[shown]["title"] in found.output
    listed = CliRunner().invoke(app, ["incidents", "list", "--json", "--store", here.store.url]).output
    assert [json.loads(line) for line in listed.splitlines()] == list(incidents.values())
    table = CliRunner().invoke(app, ["incidents", "list", "--store", here.store.url]).output.splitlines()
    assert table[1::2] == [f"  {incident['title']}" for incident in incidents.values()]
    assert all(len(line) <= 80 for line in table[::2])  # each fits a narrow terminal; a title wraps as text


def test_incidents_are_the_same_however_buckets_are_split_into_closings(tmp_path, quick_scorer, monkeypatch):
    """Incidents, alerts and messages follow from the records alone: one closing or hundreds.

    Time stands still while the feed does, so no incident ends then.
    """
    bad, gap = range(8 * 24, 8 * 24 + 6), range(9 * 24 + 12, 13 * 24)
    stores, feed = [], made_feed(tmp_path, 15, bad, gap)
    for number, at_once in enumerate((1_000, 5)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setattr(decided, "BUCKETS_AT_A_TIME", at_once)
        here = settings(folder)
        replay.replay(here, [feed], scorer=quick_scorer)
        stores.append(rows.promised_rows(here.store.url))
    whole, split = stores
    rows.assert_same(split, whole)
    (ended,) = (incident["ended_at"] for incident in open_store(here.store.url).incidents())
    assert ended == "2024-01-14T01:00:00Z", "the first whole hour after the gap"


def test_an_id_that_is_no_beginning_of_one_incident_is_an_error(replayed):
    failed = CliRunner().invoke(app, ["incidents", "show", "nothing", "--store", f"sqlite:///{replayed}"])
    assert isinstance(failed.exception, NoSuchIncident)
    assert explain(failed.exception) == (
        "No incident begins with 'nothing'. To list the incidents, run: foreshock incidents list",
        2,
    )


def test_deliver_without_a_receiver_is_an_error_of_the_settings(tmp_path, feed, quick_scorer):
    with pytest.raises(SettingsError, match="name no receiver"):
        replay.replay(settings(tmp_path), [feed], deliver=True, scorer=quick_scorer)


def test_alerts_test_says_what_came_back_and_fails_if_one_did(tmp_path):
    got: list[Received] = []
    with Receiver(got.append) as good:
        text = ""
        for name, secret in (("good", good.secret), ("bad", SECRET)):
            text += f'[[webhooks]]\nname = "{name}"\nurl = "{good.url}"\nallow_private = true\nsecrets = "{secret}"\n'
        file = tmp_path / "desk.toml"
        file.write_text(text)
        command = ["alerts", "test", "--config", str(file)]
        both = CliRunner().invoke(app, command)
        assert both.exit_code == 1
        one, two = both.output.splitlines()
        assert one.startswith("good: answered 204, ")
        assert "bad: FAILED after" in two
        assert "answered 401" in two
        named = CliRunner().invoke(app, [*command, "--to", "good", "--json"])
        assert named.exit_code == 0
        row = json.loads(named.output)
        assert (row["receiver"], row["ok"], row["status"], row["error"]) == ("good", True, 204, None)
    sample = got[-1].body
    jsonschema.validate(sample, SCHEMA_2)
    assert sample is not None
    assert sample["type"] == "incident.test"
    unknown = CliRunner().invoke(app, [*command, "--to", "nobody"])
    assert isinstance(unknown.exception, NoSuchReceiver)
    assert explain(unknown.exception) == ("There is no receiver 'nobody'. The settings name: good, bad.", 2)


def test_what_a_receiver_missed_is_sent_when_the_desk_asks_for_it(tmp_path, feed, quick_scorer, monkeypatch):
    got: list[Received] = []
    with Receiver(got.append) as receiver:
        here = settings(tmp_path, receiver)
        monkeypatch.setattr("foreshock.monitor.delivery.sender.WAITED_FOR", Retries(attempts=1))
        wrong = WebhookSettings.model_validate(here.webhooks[0].model_dump() | {"secrets": SECRET})
        refused = here.model_copy(update={"webhooks": (wrong,)})
        replay.replay(refused, [feed], deliver=True, scorer=quick_scorer)
        missed = open_store(here.store.url).overview()["delivery"]["deliveries"]["parked"]
        resend = ["alerts", "resend", "--config", str(tmp_path / "desk.toml"), "--store", here.store.url]
        unknown = CliRunner().invoke(app, [*resend, "--to", "nobody"]).exception
        assert isinstance(unknown, NoSuchReceiver)
        assert isinstance(CliRunner().invoke(app, [*resend, "nothing"]).exception, NoSuchAlert)
        done = CliRunner().invoke(app, [*resend, "--to", "desk"])
        assert done.output.startswith(f"Deliveries back in the queue: {missed}."), done.output
        got.clear()
        replay.replay(here, [feed], deliver=True, scorer=quick_scorer)
    assert len(got) == missed > 0
    assert all(received.verified for received in got)
    assert "No parked delivery can be sent" in CliRunner().invoke(app, resend).output


def test_the_desk_acknowledges_and_silences(tmp_path, replayed):
    here = settings(tmp_path)
    shutil.copy(replayed, tmp_path)
    store = open_store(here.store.url)
    before = list(store.alerts())
    at = ["--store", here.store.url, "--by", "Ada"]
    run = CliRunner().invoke
    assert run(app, ["alerts", "ack", before[0]["id"], *at, "--note", "looking"]).exit_code == 0
    error = run(app, ["alerts", "ack", "nothing", *at]).exception
    assert isinstance(error, Exception)
    assert explain(error)[1] == 2
    silenced = run(app, ["alerts", "silence", "Banks", "--for", "8h", *at])
    assert "Banks is silenced until" in silenced.output
    assert "No story of 'Ports'" in run(app, ["alerts", "silence", "Ports", "--for", "8h", *at]).output
    assert run(app, ["alerts", "silence", "banks", "--for", "0s", *at]).exit_code == 0
    likely = run(app, ["alerts", "silence", "banks", "--for", "8h", *at])
    assert "banks is silenced" in likely.output, "a topic of the settings, though no story of it came"
    for slip in ("BANKS", "Bnaks"):
        refused = run(app, ["alerts", "silence", slip, "--for", "8h", *at])
        assert refused.exit_code == 2
        assert "did you mean Banks?" in " ".join(refused.output.replace("│", "").split())
    with writing(store.engine) as connection:
        mine = schema.alerts.c.id == before[0]["id"]
        was = connection.execute(select(schema.alerts.c.topic, schema.alerts.c.kind).where(mine)).one()
        connection.execute(update(schema.alerts).where(mine).values(topic=f"{NEW}Bankd", kind="new_name"))
    named = run(app, ["alerts", "silence", "Bankd", "--for", "8h", *at])
    assert "Bankd is silenced until" in named.output, "a name that fired, and is like a topic's"
    assert "No story" not in named.output
    with reading(store.engine) as connection:
        assert [act.topic for act in incident_history.acts(connection, [], [f"{NEW}Bankd"], 0, None)] == ["Bankd"]
    with writing(store.engine) as connection:
        connection.execute(update(schema.alerts).where(mine).values(**was._mapping))
    for command in (["ack", before[0]["id"]], ["silence", "Banks", "--for", "8h"]):
        assert run(app, ["alerts", *command, *at[:2], "--by", " "]).exit_code == 2
    listed = run(app, ["alerts", "list", *at[:2]]).output
    assert listed.count("acknowledged by Ada, 20") == 1
    assert run(app, ["alerts", "silence", "Banks", "--for", "soon", *at]).exit_code == 2
    assert run(app, ["alerts", "silence", "Banks", "--for", "8h", "--store", here.store.url]).exit_code == 2
    with reading(store.engine) as connection:
        assert connection.execute(select(func.count()).select_from(schema.desk_actions)).scalar_one() == 6
        assert desk_actions.silenced_until(connection, "Banks") is not None
    assert list(store.alerts()) == before, "what people do changes no detection"
