"""Scores that are kept in a file: the same bits as the encoder's, and whatever happens to the file changes no score."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rows import all_rows
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.model import score_cache
from foreshock.model.bench import headlines
from foreshock.model.choosing import Choice
from foreshock.model.score_cache import ScoreCache
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.settings import ModelSettings

MIB = 1 << 20


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def opened(path: Path, identity: str = "one", limit: int = 64 * MIB) -> ScoreCache:
    cache = ScoreCache(path, limit=limit)
    cache.open(identity)
    return cache


Steps = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.lists(st.integers(0, 20), max_size=6, unique=True)), max_size=20
)


@given(Steps)
@examples(max_examples=40)
def test_what_is_found_is_what_was_kept_for_this_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool, list[int]]]
) -> None:
    """Four caches on one file, two for each of two models, in any order."""
    path = tmp_path_factory.mktemp("cache") / "scores.db"
    caches = [opened(path, identity) for identity in ("one", "one", "two", "two")]
    kept: dict[str, set[int]] = {"one": set(), "two": set()}
    for which, adds, numbers in steps:
        cache, identity = caches[which], ("one", "one", "two", "two")[which]
        if adds:
            cache.keep({key(number): f"{identity} {number}".encode() for number in numbers})
            kept[identity].update(numbers)
        else:
            found = cache.find([key(number) for number in numbers])
            assert found == {
                key(number): f"{identity} {number}".encode() for number in numbers if number in kept[identity]
            }
    assert [cache.problem for cache in caches] == [None] * 4
    for cache in caches:
        cache.close()


KEEP = """
import sys
from hashlib import blake2b
from pathlib import Path
from foreshock.model.score_cache import ScoreCache

path, first = Path(sys.argv[1]), int(sys.argv[2])
cache = ScoreCache(path, limit=1 << 26)
cache.open("one")
for start in range(first, first + 1_000, 50):
    cache.keep({blake2b(b"%d" % n, digest_size=16).digest(): b"%d" % n for n in range(start, start + 50)})
assert cache.problem is None, cache.problem
cache.close()
"""


def test_two_processes_share_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "scores.db"
    both = [subprocess.Popen([sys.executable, "-c", KEEP, str(path), str(first)]) for first in (0, 500)]
    assert [process.wait(120) for process in both] == [0, 0]
    cache = opened(path)
    assert cache.find([key(n) for n in range(1_500)]) == {key(n): b"%d" % n for n in range(1_500)}
    cache.close()


@pytest.mark.parametrize("statement", range(6))
def test_another_process_may_make_the_tables_between_any_two_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    path, connect, executed = tmp_path / "scores.db", sqlite3.connect, itertools.count()

    class Interrupted(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            if next(executed) == statement:
                other = connect(path, timeout=0)
                with suppress(sqlite3.OperationalError):  # it has to wait
                    other.executescript(score_cache._SCHEMA)
                other.close()
            return super().execute(*arguments)

    monkeypatch.setattr(sqlite3, "connect", partial(connect, factory=Interrupted))
    cache = opened(path)
    assert next(executed) > statement
    cache.keep({key(1): b"row"})
    assert cache.problem is None
    assert cache.find([key(1)]) == {key(1): b"row"}
    cache.close()


def test_only_its_user_may_read_the_file(tmp_path: Path) -> None:
    """Its hashes tell whoever has a text that it was read."""
    before = os.umask(0)
    try:
        cache = opened(tmp_path / "folder" / "scores.db")
        cache.keep({key(1): b"row"})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "folder", *(tmp_path / "folder").iterdir())}
    cache.close()
    assert modes.pop("folder") == 0o700
    assert modes == {"scores.db": 0o600, "scores.db-wal": 0o600, "scores.db-shm": 0o600}


def test_a_full_file_forgets_another_model_first_and_then_a_random_part(tmp_path: Path) -> None:
    path, limit = tmp_path / "scores.db", MIB
    other = opened(path, "other", limit)
    other.keep({key(number): bytes(64) for number in range(2_000)})
    other.close()
    cache = opened(path, "own", limit)
    for start in range(0, 40_000, 500):
        cache.keep({key(number): bytes(64) for number in range(start, start + 500)})
    found = cache.find([key(number) for number in range(40_000)])
    assert 6_000 < len(found) < 12_000, "a MiB has room for about 10,000"
    assert any(key(number) in found for number in range(5_000)), "not only the newest"
    assert cache.problem is None
    cache.close()
    assert path.stat().st_size < 1.2 * limit
    again = opened(path, "other", limit)
    assert not again.find([key(number) for number in range(2_000)])
    again.close()


def test_a_model_that_another_process_forgot_is_known_again_once_it_keeps_scores(tmp_path: Path) -> None:
    """Otherwise nothing would know its later rows, and they would stay for ever."""
    path, limit = tmp_path / "scores.db", MIB
    forgotten, busy = opened(path, "forgotten", limit), opened(path, "busy", limit)
    for start in range(0, 15_000, 500):
        busy.keep({key(number): bytes(64) for number in range(start, start + 500)})
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT identity FROM models").fetchall() == [("busy",)]
    forgotten.keep({key(1): b"row"})
    assert forgotten.find([key(1)]) == {key(1): b"row"}
    with sqlite3.connect(path) as connection:
        models = connection.execute("SELECT identity FROM models ORDER BY identity").fetchall()
        orphans = "SELECT count(*) FROM scores WHERE model NOT IN (SELECT number FROM models)"
        assert connection.execute(orphans).fetchone() == (0,)
    assert ("forgotten",) in models
    forgotten.close()
    busy.close()


def _no_database(path: Path) -> None:
    path.write_bytes(b"This is a text, and no database at all. " * 200)


def _another_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")


def _a_folder(path: Path) -> None:
    path.mkdir()


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("spoil", [_no_database, _another_database, _a_folder, _below_a_file])
def test_a_file_that_cannot_be_used_is_named_and_left_alone(tmp_path: Path, spoil: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "scores.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    cache = opened(path)
    assert cache.problem is not None
    assert str(path) in cache.problem
    assert cache.find([key(1)]) == {}
    cache.keep({key(1): b"row"})
    assert (cache.reused, cache.kept) == (0, 0)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_file_that_another_process_holds_costs_the_scores_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.model.score_cache._WAIT_SECONDS", 0.05)
    path = tmp_path / "scores.db"
    cache = opened(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    cache.keep({key(1): b"row"})
    holder.execute("ROLLBACK")
    holder.close()
    assert cache.problem is None
    assert cache.find([key(1)]) == {}
    cache.keep({key(1): b"row"})
    assert cache.find([key(1)]) == {key(1): b"row"}
    cache.close()


def test_the_settings_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ModelSettings(score_cache="here.db").kept_scores().path == Path("here.db")
    usual = ModelSettings().kept_scores()
    assert usual.path == tmp_path / "foreshock" / "scores.db"
    assert not usual.path.exists(), "it is made when it is needed"
    assert "score_cache" not in "".join(ModelSettings().loading())


# With the shipped weights.

TEXTS = [*headlines(30, seed=3), " ".join(headlines(12, seed=4)), "", "Acme sues Bolt Inc. over patents"]
STORIES = [(text, "") for text in TEXTS] + [("Title", "A body of its own")]
ASKED = [(TEXTS[-1], "", "Acme"), (TEXTS[-1], "", "Bolt Inc."), (TEXTS[0], "", "Not in there")]


def _all_answers(scorer: Scorer) -> list[bytes]:
    found = [
        scorer.score_stories(STORIES),
        scorer.grade_stories(STORIES),
        scorer.sign_stories(STORIES),
        scorer.score_companies(ASKED),
        scorer.score(TEXTS),
    ]
    assert all(one is not None for one in found)
    return [np.asarray(one).tobytes() for one in found]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of texts that scorers encode from now on."""
    found: list[int] = []
    for name in ("_encode", "_encode_marked"):
        real = getattr(Scorer, name)

        def counted(self: Scorer, texts: list[Any], real: Any = real) -> Any:
            found.append(len(texts))
            return real(self, texts)

        monkeypatch.setattr(Scorer, name, counted)
    return found


@pytest.mark.slow
def test_kept_scores_are_those_of_the_encoder_bit_for_bit(tmp_path: Path, encoded: list[int]) -> None:
    plain = _all_answers(load_scorer(device="cpu"))
    first, second = (ScoreCache(tmp_path / "scores.db", limit=64 * MIB) for _ in range(2))
    assert _all_answers(load_scorer(device="cpu", kept=first)) == plain
    assert (first.reused, first.kept) == (0, len(set(STORIES)) + 2)
    encoded.clear()
    assert _all_answers(load_scorer(device="cpu", kept=second)) == plain
    assert not encoded
    assert (second.reused, second.kept) == (first.kept, 0)


@pytest.mark.slow
def test_torch_on_another_machine_has_scores_of_its_own_and_the_store_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch has other kernels for other processors and GPUs, and they round otherwise."""
    path, identities = tmp_path / "scores.db", set()
    monkeypatch.setattr("foreshock.model.scorer.choose", lambda *_: Choice("cpu", "float32", "torch"))
    for kernels in ("AVX2", "AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda kernels=kernels: kernels)
        cache = ScoreCache(path, limit=64 * MIB)
        identities.add(load_scorer(device="cpu", kept=cache).identity)
        cache.close()
    assert len(identities) == 1
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM models").fetchone() == (2,)


@pytest.mark.slow
def test_a_second_replay_with_other_topics_and_budget_encodes_nothing_and_gives_the_rows_of_one_without(
    tmp_path: Path, encoded: list[int]
) -> None:
    """As its user would: by the command, into three stores."""
    feed = tmp_path / "news.jsonl"
    rows = [
        {"id": str(i), "title": text or "Empty", "published_at": 1_770_000_000 + 600 * i}
        for i, text in enumerate(TEXTS)
    ]
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = len({row["title"] for row in rows})
    cache = tmp_path / "scores.db"

    def run(store: str, topic: str, *more: str) -> str:
        config = tmp_path / f"{store}.toml"
        config.write_text(
            f'[model]\nscore_cache = "{cache.name}"\n[alerts]\nfalse_alarms = "{2 if topic == "A" else 1} per week"\n'
            f'[watchlist]\ndefaults = false\n[[topics]]\nname = "{topic}"\nnames = ["profit", "{topic}"]\n'
        )
        url = str(tmp_path / f"{store}.db")
        found = CliRunner().invoke(app, ["replay", str(feed), "--store", url, "--config", str(config), "--json", *more])
        assert found.exit_code == 0, found.output
        return found.stderr

    assert "scores were in the file" not in run("first", "A")
    assert sum(encoded) == texts
    encoded.clear()
    assert f"{texts} of {texts} scores were in the file {cache}." in run("second", "B")
    assert not encoded
    assert "scores were in the file" not in run("third", "B", "--no-score-cache")
    assert sum(encoded) == texts
    assert all_rows(f"sqlite:///{tmp_path / 'second.db'}") == all_rows(f"sqlite:///{tmp_path / 'third.db'}")


@pytest.mark.slow
def test_a_damaged_file_is_said_and_changes_no_row(tmp_path: Path) -> None:
    feed, cache = tmp_path / "news.jsonl", tmp_path / "scores.db"
    feed.write_text(json.dumps({"title": TEXTS[0], "published_at": 1_770_000_000}) + "\n")
    _no_database(cache)
    found = CliRunner().invoke(
        app,
        ["replay", str(feed), "--store", str(tmp_path / "store.db"), "--json"],
        env={"FORESHOCK_MODEL__SCORE_CACHE": str(cache)},
    )
    assert found.exit_code == 0, found.output
    assert f"Scores are not kept in {cache}" in found.stderr
    assert json.loads(found.stdout)["scored"] == 1
