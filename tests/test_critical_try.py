"""`foreshock critical try` calls those stories critical that a run calls so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from foreshock.analysis import critical_try
from foreshock.cli import main
from foreshock.monitor.store import false_alarms, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.versions import topic_rules

START = 1_770_076_800
FLAGS: dict[str, Any] = {
    "watchlist.defaults": False,
    "topics": [{"name": "Acme", "names": ["Acme"]}, {"name": "Bolt", "names": ["Bolt"]}],
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    grave = {"negative": 0.9, "neutral": 0.1, "positive": 0.0}
    mild = {**grave, "severity": 1.0}
    records = [
        {"id": "a", "title": "Acme rises", "body": "Bolt was hacked.", "scores": grave},
        {"id": "b", "title": "Bolt plant explosion", "scores": grave},
        {"id": "c", "title": "Acme recalls cars", "source": "blog", "scores": grave},
        {"id": "d", "title": "Acme insolvent", "scores": mild},
    ]
    lines = [{"source": "wire", "published_at": START + 4_000 * n, **r} for n, r in enumerate(records)]
    (tmp_path / "news.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    store = f"sqlite:///{tmp_path / 'own.db'}"
    replay(load(None, flags={**FLAGS, "store.url": store}, environ={}).settings, [tmp_path / "news.jsonl"])
    return store


MARKED = [("a", ["Acme"]), ("b", ["Bolt"]), ("c", ["Acme"])]


def tried(engine: Engine, muted: frozenset[str] = frozenset()) -> list[tuple[str, list[str]]]:
    rules = topic_rules(load(None, flags=FLAGS, environ={}).settings)
    found = critical_try.try_on(engine, [CriticalRule()], rules, muted)
    return [(one.story["id"], sorted(one.topics)) for one in found]


def test_what_is_tried_is_what_the_run_marked_and_muted_sources_are_left_out(url: str) -> None:
    engine = connect(url, create=False)
    s, t = schema.stories.c, schema.story_topics.c
    marked = select(s.id, t.topic).join_from(
        schema.stories, schema.story_topics, (s.partition == t.partition) & (s.offset == t.offset)
    )
    with reading(engine) as connection:
        rows = connection.execute(marked.where(t.critical.is_not(None)).order_by(s.counts_at)).all()
    assert tried(engine) == [(row.id, [row.topic]) for row in rows] == MARKED
    assert tried(engine, frozenset({"blog"})) == MARKED[:2]
    engine.dispose()


def test_a_story_is_about_its_title_also_where_it_is_not_negative_towards_that_company(url: str) -> None:
    """As in a run: a title that names Acme is about Acme alone, whatever mood the text has towards it."""
    engine, t = connect(url, create=False), schema.story_topics.c
    with writing(engine) as connection:
        plain = {"negative": 1_000, "neutral": 9_000, "positive": 0}
        connection.execute(update(schema.story_topics).where(t.topic == "Acme").values(plain))
    assert tried(engine) == [("b", ["Bolt"])]
    engine.dispose()


def test_days_are_counted_for_the_budget_only_while_critical_stories_are_on(url: str) -> None:
    engine, v = connect(url, create=False), schema.settings_versions.c
    with writing(engine) as connection:
        assert false_alarms.standing(connection).critical_days == 1
        for number, body in connection.execute(select(v.number, v.body)).all():
            off = {name: value for name, value in json.loads(body).items() if name != "critical"}
            changed = update(schema.settings_versions).where(v.number == number).values(body=json.dumps(off))
            connection.execute(changed)
        assert false_alarms.standing(connection).critical_days == 0
    engine.dispose()


def test_the_command_takes_zero_and_says_what_is_off_or_wrong(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rules = (
        '[watchlist]\ndefaults = false\n[[topics]]\nname = "Acme"\nnames = ["Acme"]\n'
        '[[sources]]\nname = "blog"\nweight = 0\n'
    )
    (tmp_path / "foreshock.toml").write_text(f'critical = []\n[store]\nurl = "{url}"\n{rules}')
    assert main(["critical", "try", "insolvent", "recalls", "--severity", "0", "--json"]) == 0
    assert [json.loads(line)["story"]["id"] for line in capsys.readouterr().out.splitlines()] == ["d"]
    assert main(["critical", "try", "insolvent", "--negative", "0"]) == 2
    assert "--negative" in capsys.readouterr().err
    assert main(["critical", "try"]) == 0
    assert "Critical stories are off" in capsys.readouterr().err
    assert main(["critical", "try", "insolvent", "--topic", "_all"]) == 2
    assert "--topic" in capsys.readouterr().err.replace("--topics", "")
