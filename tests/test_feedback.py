"""What the desk says of alerts: verdicts, the precision they give, labels; and ids by their beginnings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select
from test_delivery_sender import fire
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.cli.errors import explain
from foreshock.monitor.errors import NoSuchAlert
from foreshock.monitor.store import desk_actions, feedback, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.feedback import Tally

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path}/store.db", create=True)
    yield engine
    engine.dispose()


def judge(engine: Engine, alert: str, verdict: str, by: str = "Ada", note: str = "") -> None:
    with writing(engine) as connection:
        feedback.give(connection, alert, verdict, by=by, note=note, now=1_767_622_800_000_000)


verdicts = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(feedback.VERDICTS)), max_size=12)


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('feedback')}/store.db", create=True)
    for number in range(1, 7):
        fire(engine, number, topic="Banks" if number < 4 else "Oil")
    yield engine
    engine.dispose()


@given(verdicts)
def test_the_last_verdict_on_each_alert_counts_once(one_store, given_verdicts):
    """Invariants: an alert counts once, with its last verdict; kinds and topics each sum to the whole; acknowledgements
    and silences do not count; no other table changes."""
    with writing(one_store) as connection:
        connection.execute(schema.desk_actions.delete())
        before = connection.execute(select(func.count()).select_from(schema.alerts)).scalar_one()
        last: dict[int, str] = {}
        for number, verdict in given_verdicts:
            identity = f"00000000-0000-0000-0000-{number:012}"
            feedback.give(connection, identity, verdict, by="Ada", now=1)
            desk_actions.acknowledge(connection, identity, by="Ben", now=2)
            last[number] = verdict
        desk_actions.silence(connection, "Oil", until=3, by="Ben", now=2)
        found = feedback.precision(connection)
        labels = list(feedback.labels(connection))
        assert connection.execute(select(func.count()).select_from(schema.alerts)).scalar_one() == before
    assert found.judged == Tally(sum(v == "useful" for v in last.values()), len(last))
    assert found.fired == 6
    for tallies in (found.by_kind, found.by_topic):
        assert sum(t.useful for t in tallies.values()) == found.judged.useful
        assert sum(t.judged for t in tallies.values()) == found.judged.judged
    assert [(label["alert"]["id"][-1], label["label"]) for label in labels] == [
        (str(number), last[number]) for number in sorted(last)
    ]


def test_a_verdict_needs_an_alert_and_one_of_two_words(engine):
    alert = fire(engine)
    with writing(engine) as connection, pytest.raises(NoSuchAlert):
        feedback.give(connection, "nothing", "useful", by="Ada", now=1)
    with pytest.raises(ValueError, match="useful or useless"):
        judge(engine, alert, "meh")


def test_a_verdict_is_no_acknowledgement(engine):
    alert = fire(engine)
    judge(engine, alert, "useless")
    with reading(engine) as connection:
        assert desk_actions.actions(connection, alert_id=alert, action="acknowledge") == []
        assert [a["action"] for a in desk_actions.actions(connection, alert_id=alert)] == ["useless"]


def test_an_alert_is_named_by_the_beginning_of_its_id(engine):
    one, two = fire(engine, 1), fire(engine, 12)
    with reading(engine) as connection:
        assert desk_actions.alert_id_of(connection, two[:-1]) == two
        assert desk_actions.alert_id_of(connection, f" {one.upper()} ") == one
        for unknown in ("", " ", "x", "%", "_", one + "0"):
            with pytest.raises(NoSuchAlert, match="There is no alert"):
                desk_actions.alert_id_of(connection, unknown)
        with pytest.raises(NoSuchAlert, match="Several alerts have an id that begins with 0000: 00000000"):
            desk_actions.alert_id_of(connection, "0000")


def test_the_desk_judges_from_the_command_line(tmp_path, engine):
    first, second = fire(engine, 11), fire(engine, 2, topic="Oil")
    at = ["--store", f"sqlite:///{tmp_path}/store.db"]

    def run(*command: str) -> str:
        done = CliRunner().invoke(app, ["alerts", *command, *at])
        assert done.exit_code == 0, done.output
        return done.output

    assert "No alert was judged yet" in run("feedback")
    assert f"{first} is called useful by Ada." in run("feedback", first[:-1], "useful", "--by", "Ada")
    run("feedback", second, "useful", "--by", "Ada")
    run("feedback", second, "useless", "--by", "Ben", "--note", "an old story")
    assert "1 of 2 useful, 2 fired." in run("feedback")
    found = json.loads(run("feedback", "--json"))
    assert (found["useful"], found["judged"], found["fired"]) == (1, 2, 2)
    assert found["by_topic"]["Oil"] == {"useful": 0, "judged": 1}
    labels = [json.loads(line) for line in run("feedback", "--labels").splitlines()]
    assert {(row["alert"]["topic"], row["label"], row["note"]) for row in labels} == {
        ("Banks", "useful", ""),
        ("Oil", "useless", "an old story"),
    }
    listed = run("list")
    assert "called useless by Ben" in listed
    assert f"{first[:8]}  " in listed
    shown = CliRunner().invoke(app, ["doctor", *at]).output
    assert "feedback   1 of 2 useful" in shown
    assert "drift: 1 of 2 useful" in shown


@pytest.mark.parametrize(
    "command",
    [
        ["feedback", "0000", "useful"],
        ["feedback", "0000", "usefull", "--by", "Ada"],
        ["feedback", "0000", "--by", "Ada"],
        ["feedback", "0000", "useful", "--by", " "],
        ["feedback", "0000", "useful", "--by", "Ada", "--json"],
    ],
)
def test_a_command_that_lacks_something_is_refused(tmp_path, engine, command):
    fire(engine)
    done = CliRunner().invoke(app, ["alerts", *command, "--store", f"sqlite:///{tmp_path}/store.db"])
    assert done.exit_code == 2
    with reading(engine) as connection:
        assert desk_actions.actions(connection) == []


def test_an_ambiguous_beginning_is_an_error_of_usage(tmp_path, engine):
    fire(engine, 1)
    fire(engine, 2)
    command = ["alerts", "ack", "00", "--by", "Ada", "--store", f"sqlite:///{tmp_path}/store.db"]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, NoSuchAlert)
    assert explain(error)[1] == 2
