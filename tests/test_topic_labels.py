"""The labels of topics in the store, and actions of two people at the same moment."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from foreshock.monitor.store import desk_actions, schema, topic_labels
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.topic_labels import Labels
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

of_topics = st.dictionaries(
    st.text(max_size=5),
    st.builds(Labels, st.frozensets(st.text(max_size=5)), st.sampled_from(["topics", "file", "defaults"])),
    max_size=5,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return connect(f"sqlite:///{tmp_path_factory.mktemp('labels')}/store.db", create=True)


@given(st.lists(of_topics, max_size=4))
def test_the_store_has_the_labels_that_were_kept_last(engine: Engine, kept: list[dict[str, Labels]]) -> None:
    for one in kept:
        with writing(engine) as connection:
            topic_labels.keep(connection, one)
        with reading(engine) as connection:
            assert topic_labels.load(connection) == one


def test_a_replay_keeps_tags_and_watchlists_and_a_change_of_tags_is_no_change_of_settings(
    tmp_path: Path, quick_scorer: Any
) -> None:
    (tmp_path / "watchlist.csv").write_text("name,names,tags\nAcme,Acme,small\nBolt,Bolt,\n")
    url = f"sqlite:///{tmp_path / 'store.db'}"
    for number, tags in enumerate((["banks", "europe"], [])):
        feed = tmp_path / f"{number}.jsonl"
        feed.write_text(json.dumps({"title": "Acme opens", "published_at": f"2026-03-0{number + 2}T10:00:00Z"}) + "\n")
        settings = {
            "store": {"url": url},
            "watchlist": {"defaults": False, "file": tmp_path / "watchlist.csv"},
            "topics": [{"name": "Bolt", "names": ["Bolt"], "tags": tags}],
        }
        replay(Settings.model_validate(settings), [feed], scorer=quick_scorer)
        found = connect(url, create=False)
        with reading(found) as connection:
            assert topic_labels.load(connection) == {
                "Acme": Labels(frozenset({"small"}), "file"),
                "Bolt": Labels(frozenset(tags), "topics"),
            }
            assert connection.exec_driver_sql("SELECT count(*) FROM settings_versions").scalar() == 1


def test_of_two_people_who_acknowledge_at_once_both_are_kept(tmp_path: Path) -> None:
    both_are_kept(f"sqlite:///{tmp_path / 'store.db'}")


@pytest.mark.postgres
def test_of_two_people_who_acknowledge_at_once_both_are_kept_on_postgresql(postgres: str) -> None:
    both_are_kept(postgres)


def both_are_kept(url: str) -> None:
    engine = connect(url, create=True)
    alert = {
        **dict.fromkeys(("started_at", "pending_at", "window_start", "window_end", "sources", "events", "settings"), 1),
        **dict.fromkeys(("observed", "baseline", "score"), 1.0),
        **{"id": "a", "topic": "t", "kind": "drift", "direction": "worse", "state": "firing", "origin": "live"},
        **{"evidence": "[]", "sentence": "s"},
    }
    with writing(engine) as connection:
        connection.execute(insert(schema.alerts).values(**alert))
    names = ["Ada", "Grace", "Edsger"]
    together, failed = threading.Barrier(len(names)), list[BaseException]()

    def acknowledge(name: str) -> None:
        met = False

        def act(connection: Any) -> None:
            nonlocal met
            desk_actions.must_exist(connection, "a")
            if not met and engine.dialect.name == "postgresql":  # SQLite lets only one of them begin
                met = True
                together.wait(10)
            desk_actions.acknowledge(connection, "a", by=name, now=1)

        try:
            desk_actions.record(engine, act)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=acknowledge, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with reading(engine) as connection:
        acts = desk_actions.actions(connection, alert_id="a")
        numbers = connection.exec_driver_sql("SELECT number FROM desk_actions ORDER BY number").scalars().all()
    assert sorted(act["by"] for act in acts) == sorted(names)
    assert numbers == [1, 2, 3]
