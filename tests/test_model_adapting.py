"""Adapted heads: the fit and its invariants, the rows that teach it, the file, and what is refused."""

import itertools
import json
import os
import random
import shutil
import sqlite3
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import labelled_rows

from benchmarks.adapt import agreeing, apart, drawn
from foreshock.cli import main
from foreshock.model.adapted import to_bytes, to_card, write_adapted
from foreshock.model.comparing import set_of, trained_on
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.labels import LABELS, Labelled
from foreshock.model.scorer import load_scorer
from foreshock.model.settings import absolute
from foreshock.model.storage import SHIPPED, check_weights, describe_weights, open_weights
from foreshock.model.trained_on import years
from foreshock.model.training import desk_labels
from foreshock.model.training.adapting import OFFSETS, Adaptation, Head, _refusals, _strongest
from foreshock.model.training.check import WORDS, built_in_check
from foreshock.model.training.desk_labels import _sampled, folds, group_near_copies, read_desk_labels, row_key
from foreshock.model.training.head_fitting import Rows, Whitening, fit
from foreshock.model.training.headlines import headlines
from foreshock.model.training.labelled import fingerprint

WIDTH = 5


def _rows(labels: list[int], seed: int = 0, *, even: bool = False) -> Rows:
    random_ = np.random.default_rng(seed)
    n = len(labels)
    embedded = random_.normal(size=(n, WIDTH)).astype(np.float32)
    logits = np.zeros((n, 3)) if even else random_.normal(size=(n, 3))
    whitened = np.column_stack([embedded.astype(np.float64), np.ones(n)])
    return Rows(embedded, whitened, logits, np.ones(n), np.array(labels, dtype=np.int64))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=30), st.integers(0, 99))
def test_the_order_of_rows_changes_no_bit_and_a_stronger_pull_never_changes_more(labels: list[int], seed: int) -> None:
    """Invariants: fit(shuffled rows) == fit(rows), to the bit; the change shrinks as the pull grows."""
    rows = _rows(labels, seed)
    changes = fit(rows, (100.0, 10.0, 1.0))
    shuffled = fit(rows.part(np.random.default_rng(seed).permutation(len(rows))), (100.0, 10.0, 1.0))
    assert [one.tobytes() for one in changes] == [one.tobytes() for one in shuffled]
    sizes = [float(np.square(one).sum()) for one in changes]
    assert sizes[0] <= sizes[1] * (1 + 1e-6) + 1e-12
    assert sizes[1] <= sizes[2] * (1 + 1e-6) + 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 12), st.integers(0, 99))
def test_rows_that_say_what_the_head_says_change_nothing(times: int, seed: int) -> None:
    """Invariant: labels as likely as the head says leave it as it is; so do no rows."""
    one = _rows([0] * times, seed, even=True)
    thrice = one.part(np.tile(np.arange(times), 3))
    rows = Rows(thrice.embedded, thrice.whitened, thrice.logits, thrice.scales, np.repeat([0, 1, 2], times))
    assert np.abs(fit(rows, (1.0,))[0]).max() < 1e-6


def test_rows_of_one_class_and_labels_that_no_row_has_move_nothing() -> None:
    assert not fit(_rows([1] * 9), (1.0,))[0].any()
    change = fit(_rows([0, 2] * 9), (1.0,))[0]
    assert not change[1].any()
    assert change[0].any()


def test_the_measure_of_a_change_is_what_it_does_to_the_anchors() -> None:
    random_ = np.random.default_rng(3)
    anchors = random_.normal(size=(400, WIDTH)).astype(np.float32) * np.array([9, 1, 1, 1, 0.1], dtype=np.float32)
    whitening = Whitening(anchors)
    change = random_.normal(size=(3, WIDTH + 1))
    back = whitening.back(change)
    moved = anchors.astype(np.float64) @ back.weight.T + back.bias
    assert np.allclose(moved, whitening.rows(anchors) @ change.T)
    squares = np.square(moved).sum(axis=1).mean()
    assert squares <= np.square(change).sum()
    assert squares > 0.5 * np.square(change).sum()


def test_the_strongest_pull_within_a_standard_error_is_chosen_among_the_allowed() -> None:
    noise = np.tile([0.4, -0.4], 50)
    losses = np.array([np.full(100, 1.0), np.full(100, 0.5), 0.49 + noise, np.full(100, 0.1)])
    assert _strongest(losses, [True, True, True, False]) == 1
    assert _strongest(losses, [True] * 4) == 3
    assert _strongest(losses, [True, False, False, False]) == 0
    assert _strongest(losses[:, :1], [False, True, True, True]) == 1, "one row says nothing"
    assert _strongest(losses[:, :0], [True] * 4) == 0


def test_the_smallest_shift_within_a_standard_error_is_chosen() -> None:
    sizes = [abs(shift) for shift in OFFSETS]
    assert sizes == sorted(sizes)
    assert OFFSETS[0] == 0
    noise = np.tile([0.4, -0.4], 50)
    losses = np.array([1.0 + noise if shift >= 0 else 0.5 - shift / 100 + noise[::-1] for shift in OFFSETS])
    losses[OFFSETS.index(-0.6)] = 0.5
    assert OFFSETS[_strongest(losses, [True] * len(OFFSETS))] == -0.15


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=1, max_size=60), st.integers(2, 6))
def test_a_group_is_in_one_fold_and_each_fold_gets_its_part(rows: list[tuple[int, int]], count: int) -> None:
    labels, groups = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    fold = folds(labels, groups, count)
    for group in set(groups.tolist()):
        assert len(set(fold[groups == group].tolist())) == 1
    alone = folds(labels, np.arange(len(labels)), count)
    for label in range(3):
        sizes = np.bincount(alone[labels == label], minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_near_copies_share_a_group() -> None:
    texts = [
        "Acme recalls 40,000 pumps in France and Spain over a fire risk",
        "Bolt opens a plant in Leeds",
        "ACME recalls 40,000 pumps in France and Spain over fire risk!",
        "",
    ]
    assert group_near_copies(texts).tolist() == [0, 1, 0, 3]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from("abcdefghijkl"), max_size=14),
        max_size=20,
    )
)
def test_groups_are_those_of_comparing_each_text_with_each(texts: list[list[str]]) -> None:
    """Invariant: two texts share a group if and only if a chain of near copies joins them, and its first names it."""
    bags = [set(words) for words in texts]
    groups = list(range(len(bags)))
    for i, j in itertools.combinations(range(len(bags)), 2):
        if len(bags[i] & bags[j]) >= desk_labels.NEAR * len(bags[i] | bags[j]) > 0:
            groups = [groups[i] if group == groups[j] else group for group in groups]
    names = {group: groups.index(group) for group in groups}
    assert group_near_copies([" ".join(words) for words in texts]).tolist() == [names[group] for group in groups]


def test_words_that_all_texts_share_cost_no_comparison_of_all_with_all() -> None:
    texts = [f"shares of company {n}a rise by {n}b to {n}c after results" for n in range(5_000)]
    begun = time.process_time()
    assert len(set(group_near_copies(texts).tolist())) == 5_000
    assert time.process_time() - begun < 2  # 0.1 s; comparing all with all took 5 s


def _file(folder: Path, rows: list[dict[str, Any]], name: str = "labels.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _plain(n: int) -> list[dict[str, Any]]:
    return [dict(row) for row in labelled_rows(n, seed=1)]


def test_rows_are_the_same_from_any_order_and_format(tmp_path: Path) -> None:
    rows = _plain(40)
    first = read_desk_labels(_file(tmp_path, rows))
    again = [*rows, {"text": str(rows[3]["text"]).upper() + " .", "label": str(rows[3]["label"]).upper()}]
    random.Random(2).shuffle(again)
    csv = tmp_path / "labels.csv"
    lines = "".join(f'"{row["text"]}",{row["label"]},x\n' for row in again)
    csv.write_text("Headline,Sentiment,why\n" + lines + "unlabelled text,,x\n")
    second = read_desk_labels(csv, text_column="Headline", label_column="Sentiment")
    assert first.sha256() == second.sha256()
    assert first.groups.tolist() == second.groups.tolist()
    assert second.copies == 1 + first.copies
    assert second.unlabelled == 1


def test_an_export_of_corrections_says_how_many_are_mistakes(tmp_path: Path) -> None:
    rows = [{**row, "scored": "neutral", "id": str(i), "by": "Ada"} for i, row in enumerate(_plain(40))]
    found = read_desk_labels(_file(tmp_path, rows))
    assert found.compared == len(found.texts)
    assert found.corrections == int((found.labels != LABELS.index("neutral")).sum())


def test_a_story_teaches_with_its_title_and_body(tmp_path: Path) -> None:
    rows = [{"title": row["text"], "body": "More.", "label": row["label"]} for row in _plain(40)]
    assert all(text.endswith("\nMore.") for text in read_desk_labels(_file(tmp_path, rows)).texts)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [*_plain(30), {"text": "x", "label": "mixed"}],
            r"1 of 31 rows have a label that is none.*'mixed' \(1, first in row 31\). Rename",
        ),
        ([{"text": "x"}], "row 1: no column `label` or `sentiment`; there is `text`: name it with --label-column"),
        ([{"words": "x", "label": "neutral"}], "row 1: no column `text` or `title`.*--text-column"),
        ([{"text": "", "label": "neutral"}], "row 1: `text` is '', not a text"),
        ([{"text": 5, "label": "neutral"}], "row 1: `text` is 5, not a text"),
        (_plain(10), "10 different labelled texts, and fewer than 20 say too little; label 10 more"),
        ([{"text": f"text {chr(97 + i)}", "label": "neutral"} for i in range(25)], "all 25 texts are neutral"),
        (
            [*_plain(30), {"text": "Same!", "label": "neutral"}, {"text": "same", "label": "positive"}],
            r"1 texts stand there several times with different labels: row 31: neutral, row 32: positive",
        ),
        ([{"text": "x" * (1 << 20), "label": "neutral"}], "row 1: .*Shorten or leave out this row"),
    ],
)
def test_a_file_that_cannot_teach_is_refused_with_rows_and_remedy(
    tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(LabelledDataError, match=said):
        read_desk_labels(_file(tmp_path, rows))


def test_of_many_rows_the_same_are_taken_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_labels, "MOST", 25)
    rows = _plain(60)
    first = read_desk_labels(_file(tmp_path, rows))
    second = read_desk_labels(_file(tmp_path, rows[::-1]))
    assert len(first.texts) <= 25
    assert first.left_out >= 35 - first.copies
    assert first.sha256() == second.sha256()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 14), min_size=1, max_size=12), st.integers(0, 99))
def test_a_sample_is_full_and_cuts_no_group_but_one_that_cannot_fit(sizes: list[int], seed: int) -> None:
    """Invariants of _sampled: at most MOST rows; all where there are no more; a group is whole, absent for lack of
    room, or larger than MOST."""
    most = 10
    mixed = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    groups = np.array([int(np.flatnonzero(mixed == group)[0]) for group in mixed])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk_labels, "MOST", most)
        taken = _sampled(groups)
    assert 0 < len(taken) == len(set(taken.tolist())) <= most
    assert taken.tolist() == sorted(taken.tolist())
    for group in set(groups.tolist()):
        size, part = int((groups == group).sum()), int((groups[taken] == group).sum())
        assert part in (0, size) or size > most
        if part == 0 and size <= most:
            assert len(taken) + size > most
    assert len(groups) > most or len(taken) == len(groups)


def test_a_feed_of_near_copies_does_not_end_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share of the sample is its share of the rows; the others follow."""
    monkeypatch.setattr(desk_labels, "MOST", 20)
    groups = np.array([0] * 30 + list(range(30, 50)))
    taken = _sampled(groups)
    assert int((groups[taken] == 0).sum()) == 12
    assert len(taken) == 20


def test_the_built_in_check_has_its_own_texts_of_each_class() -> None:
    check = built_in_check()
    assert len(set(check.texts)) == len(check.texts) > 700
    assert np.bincount(check.labels, minlength=3).min() > 200
    assert not set("{}[]|") & set("".join(check.texts))
    assert not set(check.texts) & {row.text for row in headlines(3_000, seed=0)}


def test_no_template_of_the_built_in_check_is_trained_on() -> None:
    folder = WORDS.parent
    theirs = {name: _templates(folder / f"{name}.toml") for name in ("check", "headlines", "contrasts", "generated")}
    assert {name: len(found) for name, found in theirs.items() if len(found) < 50} == {}
    assert len(theirs["headlines"]) == 571
    check = theirs.pop("check")
    assert {name: sorted(check & found) for name, found in theirs.items() if check & found} == {}


def _templates(path: Path) -> set[str]:
    """Return the words of all texts of a file of templates, without its slots."""
    left = [value for key, value in tomllib.loads(path.read_text()).items() if key != "slots"]
    found = set()
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.add(fingerprint(one))
        else:
            left.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
    return {words for words in found if " " in words}


def test_the_benchmark_judges_by_no_near_copy_of_a_drawn_row_and_draws_what_the_command_would_read() -> None:
    rows = ["Bolt opens a plant in Leeds", "bolt opens a plant in leeds!", "Acme wins", "acme wins", "Acme loses"]
    pool = agreeing(Labelled(rows, np.array([1, 1, 2, 0, 0]), 0))
    assert (pool.texts, pool.labels.tolist()) == ([rows[0], rows[4]], [1, 0])
    desk = drawn(pool, 2, 0)
    assert sorted(desk.texts) == sorted(pool.texts)
    assert [row_key(text) for text in desk.texts] == sorted(map(row_key, desk.texts))
    fresh = Labelled(["Bolt opens plant in Leeds", "Acme gains"], np.array([1, 2]), 0)
    assert apart(fresh, desk.texts).texts == ["Acme gains"]


FIGURES = {"accuracy": 0.8, "weighted_f1": 0.8, "macro_f1": 0.8, "ece": 0.05, "log_loss": 0.5}
NOTHING = np.zeros((3, 384), dtype=np.float32)


def _head(pull: float | None = 100.0, barred: float | None = None, barred_f1: float = 0.0) -> Head:
    return Head(NOTHING, NOTHING[:, 0], 0.0, pull, barred, barred_f1)


@pytest.mark.parametrize(
    ("head", "after", "check", "said"),
    [
        (_head(), {}, {}, ()),
        (_head(None), {}, {}, ("teach nothing",)),
        (_head(None, 100.0, 0.75), {}, {}, ("costs the built-in check 5.0 points",)),
        (_head(), {"weighted_f1": 0.79}, {}, ("weighted F1 falls from 0.8000 to 0.7900",)),
        (_head(), {"log_loss": 0.51}, {}, ("the log loss rises from 0.5000 to 0.5100",)),
        (_head(), {}, {"weighted_f1": 0.785}, ("check loses 1.5 points",)),
        (_head(), {"weighted_f1": 0.81}, {"weighted_f1": 0.791}, ()),
    ],
)
def test_a_head_that_loses_is_refused_with_the_figures(
    head: Head, after: dict[str, float], check: dict[str, float], said: tuple[str, ...]
) -> None:
    found = _refusals(head, 1, FIGURES, FIGURES | after, FIGURES, FIGURES | check)
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_a_head_that_changes_no_label_of_a_text_left_out_is_refused() -> None:
    better = FIGURES | {"log_loss": 0.4}
    [said] = _refusals(_head(), 0, FIGURES, better, FIGURES, FIGURES)
    assert "No label changed on texts that were left out" in said
    [said] = _refusals(_head(None), 0, FIGURES, FIGURES, FIGURES, FIGURES)
    assert "teach nothing" in said, "it is said once"


def _adapted(folder: Path, *, bias: float = 0.0, name: str = "desk", weights: str = "default") -> Path:
    card = to_card(
        name=name,
        weights=weights,
        made_for=open_weights(weights).identity(""),
        weight=NOTHING,
        bias=np.array([bias, 0, 0], dtype=np.float32),
        offset=0.0,
        about={"trained_on": ["desk"]},
    )
    path = folder / f"{name}.json"
    write_adapted(path, card)
    return path


TEXTS = ["Acme wins a large order", "Bolt files for bankruptcy protection", "", "The plant is in Leeds. " * 60]


def test_an_adapted_head_scores_with_an_identity_of_its_own(tmp_path: Path) -> None:
    shipped = load_scorer(device="cpu")
    same = load_scorer(str(_adapted(tmp_path, name="same")), device="cpu")
    moved = load_scorer(str(_adapted(tmp_path, bias=2.0)), device="cpu")
    assert same.score(TEXTS).tobytes() == shipped.score(TEXTS).tobytes(), "a change of zero changes no bit"
    assert (moved.score(TEXTS)[:, 0] > shipped.score(TEXTS)[:, 0]).all()
    assert moved.severity(TEXTS[:2]).tobytes() == shipped.severity(TEXTS[:2]).tobytes()
    assert moved.score(TEXTS[::-1]).tobytes() == moved.score(TEXTS)[::-1].tobytes()
    assert len({shipped.identity, same.identity, moved.identity}) == 3
    assert moved.identity.startswith("desk-")
    assert shipped.read_by(moved.answers).score(TEXTS).tobytes() == moved.score(TEXTS).tobytes()


def test_an_adapted_head_is_described_by_the_weights_that_it_reads(tmp_path: Path) -> None:
    path = str(_adapted(tmp_path, bias=1.0))
    check_weights(path)
    described = describe_weights(path)
    assert (described["name"], described["adapted_from"], described["sha256_ok"]) == ("desk", "default", True)
    assert {"news", "desk"} <= set(trained_on(path) or ())
    assert years(path) == years("default")


def test_a_file_that_is_damaged_foreign_or_of_other_weights_is_refused(tmp_path: Path) -> None:
    path = _adapted(tmp_path, bias=1.0)
    card = json.loads(path.read_text())
    path.write_text(path.read_text().replace('"name": "desk"', '"name": "Desk"'))
    with pytest.raises(ModelError, match="its SHA-256 is not the one that it states"):
        open_weights(str(path))
    del card["sha256"]
    path.write_bytes(to_bytes({**card, "base": {"weights": "default", "identity": "default-0"}}))
    with pytest.raises(ModelError, match=r"was adapted from default-0, and default is .* now; adapt it again"):
        open_weights(str(path))
    path.write_bytes(to_bytes({**card, "change": {"weight": "AAAA", "bias": "AAAA"}}))
    with pytest.raises(ModelError, match="cannot be read"):
        open_weights(str(path))
    for text in ("{}", "[1]", "no", '{"kind": "adapted head", "format": 2}'):
        path.write_text(text)
        with pytest.raises(ModelError, match=r"desk\.json: .*adapt"):
            open_weights(str(path))


def test_what_cannot_be_adapted_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, out = _file(tmp_path, _plain(40)), tmp_path / "new.json"
    adapted = _adapted(tmp_path)
    for weights, said in ((str(adapted), "is an adapted head itself"), ("hf:x", "only the head of Foreshock's own")):
        assert main(["model", "adapt", str(labels), "--weights", weights, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
    assert main(["model", "adapt", str(labels), "--out", str(adapted)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert not out.exists()


def test_where_the_weights_lie_changes_no_identity_and_names_the_file_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED / "default", tmp_path / "a:b", copy_function=os.symlink)
    (tmp_path / "tokenizer.json").symlink_to(SHIPPED / "tokenizer.json")
    there = _adapted(tmp_path, weights="~/a:b")
    first = open_weights(str(there)).identity("")
    there.unlink()
    again = _adapted(tmp_path, weights=str(tmp_path / "a:b"))
    assert open_weights(str(again)).identity("") == first
    again.unlink()
    moved = _adapted(tmp_path, weights="a:b", bias=1.0)
    assert open_weights(str(moved)).identity("") != first
    (tmp_path / "a:b" / "model.json").unlink()
    with pytest.raises(
        ModelError, match=r"desk\.json: was adapted from a:b, which cannot be used: .*has no model\.json"
    ):
        open_weights(str(moved))


def test_a_file_is_not_taken_for_the_name_of_shipped_weights_or_for_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = _adapted(tmp_path, bias=1.0)
    known = years("default")
    Path("default").write_text("a note")
    assert open_weights("desk.json").adapted is not None
    assert years("~/desk.json") == years("default") == known
    card = json.loads(path.read_text())
    del card["sha256"]
    path.write_bytes(to_bytes({**card, "base": {**card["base"], "weights": "~/desk.json"}}))
    with pytest.raises(ModelError, match="a file; adapt the weights that it names itself"):
        open_weights("desk.json")
    path.write_bytes(to_bytes({**card, "calibration": {"offset": 10**400}}))
    with pytest.raises(ModelError, match="cannot be read"):
        open_weights("desk.json")


def test_a_file_gets_its_name_only_once_it_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "desk.json"
    write_adapted(path, {"a": 1})
    write_adapted(path, {"a": 1})
    with pytest.raises(FileExistsError):
        write_adapted(path, {"a": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["desk.json"]
    labels = _file(tmp_path, _plain(40))
    assert main(["model", "adapt", str(labels), "--out", str(tmp_path / "missing" / "desk.json")]) == 2
    assert "no folder that can be written to" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_weights_of_a_head_are_named_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert [absolute(one) for one in ("default", "hf:x", "hf:~/x", "~/mine", "a:b")] == [
        "default",
        f"hf:{tmp_path / 'x'}",
        f"hf:{tmp_path / 'x'}",
        str(tmp_path / "mine"),
        str(tmp_path / "a:b"),
    ]


@pytest.mark.parametrize(
    ("name", "set_"),
    [
        ("fpb_valid.jsonl.gz", "fpb"),
        ("desk.csv", "desk"),
        ("desk_train.CSV.zst", "desk"),
        ("desk.2026.xlsx", "desk.2026"),
        ("labels.parquet", "labels"),
        ("csv", "csv"),
    ],
)
def test_a_set_is_called_like_its_file_without_the_suffixes(name: str, set_: str) -> None:
    assert set_of(Path(name)) == set_


def test_each_story_records_the_adapted_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name the file as it stands beside them; whatever scores, a row says which head it was."""
    _adapted(tmp_path, bias=2.0)
    (tmp_path / "foreshock.toml").write_text('[model]\nweights = "desk.json"\nscore_cache = "off"\n')
    story: dict[str, Any] = {"id": "1", "title": TEXTS[0], "published_at": "2026-03-02T10:00:00Z"}
    feed = _file(tmp_path, [story], "feed.jsonl")
    monkeypatch.chdir(tmp_path)
    assert main(["replay", str(feed), "--store", "sqlite:///a.db"]) == 0
    with sqlite3.connect("a.db") as connection:
        [(model, *scores)] = connection.execute("SELECT model, negative, neutral, positive FROM stories").fetchall()
    scorer = load_scorer("desk.json", device="cpu")
    assert model == scorer.identity
    assert scores == scorer.score_stories([(TEXTS[0], "")])[0].tolist()


@pytest.mark.slow
def test_adapting_gives_the_same_file_from_any_order_and_refuses_what_loses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up headlines of a house for which plain news is good news, and good news is plain."""
    from foreshock.model.training import adapting

    check = built_in_check()
    some = np.arange(0, len(check.texts), 8)
    monkeypatch.setattr(adapting, "anchors", lambda: [row.text for row in headlines(60, seed=5)])
    monkeypatch.setattr(
        adapting, "built_in_check", lambda: Labelled([check.texts[i] for i in some], check.labels[some], 0)
    )
    monkeypatch.setattr(adapting, "FOLDS_OF_FEW", 3)  # each costs twenty-four fits
    monkeypatch.setattr(adapting, "MOST_LOST", 1.0)
    house = {"neutral": "positive", "positive": "neutral", "negative": "negative"}
    rows: list[dict[str, Any]] = [{"text": row.text, "label": house[row.label]} for row in headlines(60, seed=9)]
    out = [tmp_path / part / "house.json" for part in ("a", "b")]
    for path, order in zip(out, (rows, rows[::-1]), strict=True):
        path.parent.mkdir()
        labels = _file(path.parent, order)
        assert main(["model", "adapt", str(labels), "--out", str(path), "--device", "cpu", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert out[0].read_bytes() == out[1].read_bytes()
    assert said["adapted"] is True
    assert said["held_out"]["after"]["weighted_f1"] > said["held_out"]["before"]["weighted_f1"]
    assert describe_weights(str(out[0]))["adapted_from"] == "default"
    # The same labels cost the check more than a point: so nothing of it is written.
    monkeypatch.setattr(adapting, "MOST_LOST", 0.0)
    refused = tmp_path / "refused.json"
    assert main(["model", "adapt", str(labels), "--out", str(refused), "--device", "cpu"]) == 1
    shown = capsys.readouterr()
    assert "Refused, and nothing was written: What these labels teach costs the built-in check" in shown.err
    assert "weighted F1" in shown.out
    assert not refused.exists()


def test_an_adaptation_in_json_has_no_change_in_it() -> None:
    found = Adaptation(_head(), FIGURES, FIGURES, 3, (0.0, -0.1, 0.1), FIGURES, FIGURES, ()).to_json()
    assert json.loads(json.dumps(found))["gain"] == {"weighted_f1": 0.0, "low": -0.1, "high": 0.1}
