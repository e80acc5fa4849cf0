"""Cross-validation and search for hyper-parameters, most of them with a stand-in for the training."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import WORDS, labelled_rows, small_base

from foreshock.cli import main
from foreshock.model.errors import Diverged, LabelledDataError, ModelError
from foreshock.model.labels import read_labelled
from foreshock.model.training import finetuning
from foreshock.model.training.base import write_base
from foreshock.model.training.crossvalidation import cross_validate
from foreshock.model.training.searching import search

pytestmark = pytest.mark.slow

SETTINGS = {"epochs": 4, "data_sha256": {"one_train": "a", "one_valid": "b"}}


def _fold(
    train: Callable[[Path, Path], dict[str, Any]], data: Path, out: Path, folds: int = 3, **changes: Any
) -> dict[str, Any]:
    return cross_validate(train, data, out, folds=folds, sets=("one",), seed=0, settings=SETTINGS | changes)


def _search(train: Callable[..., dict[str, Any]], data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    return search(train, data, out, trials=4, seed=0, settings=SETTINGS | changes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    labels = ("negative", "neutral", "positive")
    for part, numbers in (("train", range(20)), ("valid", range(20, 27))):
        rows = [{"text": f"story {i}", "label": labels[i % 3]} for i in numbers]
        if part == "train":
            rows.append({"text": "Story 3!", "label": "neutral"})  # a copy
        (tmp_path / "data" / f"one_{part}.jsonl.gz").write_bytes(
            gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
        )
    return tmp_path / "data"


def _record(out: Path, f1: float, **settings: Any) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "command": "foreshock model finetune",
        "settings": settings,
        "validation": {"one": {"weighted_f1": f1}},
        "seconds": 1,
    }
    (out / "record.json").write_text(json.dumps(record))
    return record


def test_each_row_is_held_out_once_and_copies_together(data: Path, tmp_path: Path) -> None:
    held_out: list[set[str]] = []

    def train(folder: Path, out: Path) -> dict[str, Any]:
        valid = read_labelled(folder / "one_valid.jsonl.gz")
        kept = read_labelled(folder / "one_train.jsonl.gz")
        assert len(valid.texts) + len(kept.texts) == 28
        held_out.append(set(valid.texts))
        return _record(out, 0.5 + 0.1 * len(held_out))

    record = _fold(train, data, tmp_path / "out")
    assert sorted(text for fold in held_out for text in fold) == sorted(
        [f"story {i}" for i in range(27)] + ["Story 3!"]
    )
    assert any({"story 3", "Story 3!"} <= fold for fold in held_out)
    assert record["weighted_f1"]["one"] == {
        "mean": pytest.approx(0.7),
        "deviation": pytest.approx(0.1),
        "folds": pytest.approx([0.6, 0.7, 0.8]),
    }
    assert json.loads((tmp_path / "out" / "cross-validation.json").read_text()) == record


def test_a_finished_fold_is_not_trained_again(data: Path, tmp_path: Path) -> None:
    calls = 0

    def train(folder: Path, out: Path) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return _record(out, 0.5)

    with pytest.raises(KeyboardInterrupt):
        _fold(train, data, tmp_path / "out")
    _fold(train, data, tmp_path / "out")
    assert calls == 4


@pytest.mark.parametrize(
    ("changes", "differing"),
    [({"epochs": 5}, "epochs"), ({"data_sha256": {"one_train": "c"}}, "data_sha256"), ({"folds": 4}, "folds")],
)
def test_folds_with_other_settings_data_or_number_are_refused(
    data: Path, tmp_path: Path, changes: dict[str, Any], differing: str
) -> None:
    def train(folder: Path, out: Path) -> dict[str, Any]:
        return _record(out, 0.5)

    _fold(train, data, tmp_path / "out")
    with pytest.raises(ModelError, match=rf"folds\.json: belongs to a training with other {differing}; give another"):
        _fold(train, data, tmp_path / "out", **changes)
    (tmp_path / "out" / "folds.json").unlink()
    with pytest.raises(ModelError, match=r"folds\.json: is missing, so the settings of .*fold-0 are unknown"):
        _fold(train, data, tmp_path / "out")


def test_more_folds_than_texts_are_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelledDataError, match="27 different texts are too few for 28 folds"):
        _fold(lambda folder, out: _record(out, 0.5), data, tmp_path / "out", folds=28)


def _trial(data: Path, out: Path, **settings: float) -> dict[str, Any]:
    """Stand in for a training: the F1 is highest at a learning rate of 1e-4."""
    record = _record(out, 1 - abs(settings["learning_rate"] - 1e-4) * 1_000, **settings)
    for name in ("model.safetensors", "model.json", "tokenizer.json"):
        (out / name).write_text(f"{settings['learning_rate']}")
    return record


def test_a_trial_that_diverges_is_not_repeated_and_another_is_tried(data: Path, tmp_path: Path) -> None:
    tried: list[float] = []

    def train(data: Path, out: Path, **settings: float) -> dict[str, Any]:
        tried.append(settings["learning_rate"])
        if settings["learning_rate"] > 1e-4:
            raise Diverged("the loss is nan")
        return _trial(data, out, **settings)

    settings = {"learning_rate": 1e-3, "epochs": 1}
    record = search(train, data, tmp_path / "out", trials=8, seed=0, settings=settings)
    assert len(record["search"]) == sum(rate <= 1e-4 for rate in tried) < len(tried) == 8
    search(train, data, tmp_path / "out", trials=10, seed=0, settings={**settings, "learning_rate": 1e-5})
    assert len(set(tried)) == len(tried), "no trial is repeated"

    def diverge(data: Path, out: Path, **settings: float) -> dict[str, Any]:
        raise Diverged("the loss is nan")

    with pytest.raises(ModelError, match="all trials of the search diverged"):
        search(diverge, data, tmp_path / "none", trials=2, seed=0, settings=settings)


def test_a_search_keeps_the_weights_of_its_best_trial(data: Path, tmp_path: Path) -> None:
    record = _search(_trial, data, tmp_path / "out")
    assert len(record["search"]) == 4
    best = max(record["search"], key=lambda row: row["mean_weighted_f1"])
    assert record["settings"]["learning_rate"] == best["learning_rate"]
    assert (tmp_path / "out" / "model.safetensors").read_text() == str(best["learning_rate"])


def test_an_interrupted_search_resumes(data: Path, tmp_path: Path) -> None:
    calls: list[float] = []

    def interrupted(data: Path, out: Path, **settings: float) -> dict[str, Any]:
        calls.append(settings["learning_rate"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return _trial(data, out, **settings)

    with pytest.raises(KeyboardInterrupt):
        _search(interrupted, data, tmp_path / "out")
    record = _search(interrupted, data, tmp_path / "out")
    assert [row["learning_rate"] for row in record["search"]] == [*calls[:2], *calls[3:]]
    assert len(calls) == 5


def test_trials_with_other_settings_are_refused(data: Path, tmp_path: Path) -> None:
    _search(_trial, data, tmp_path / "out")
    with pytest.raises(ModelError, match=r"search\.json: belongs to a training with other epochs; give another --out"):
        _search(_trial, data, tmp_path / "out", epochs=5)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A command that fine-tunes a very small encoder on few rows."""
    (tmp_path / "rows").mkdir()
    for part, count in (("train", 36), ("valid", 12)):
        rows = "".join(json.dumps(row) + "\n" for row in labelled_rows(count, count))
        (tmp_path / "rows" / f"one_{part}.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    write_base(tmp_path / "base", small_base(tmp_path, [word for words in WORDS.values() for word in words]))
    options = {"data": "rows", "base": "base", "out": "out"}
    paths = [word for option, name in options.items() for word in (f"--{option}", str(tmp_path / name))]
    return ["model", "finetune", *paths, "--sets", "one", "--epochs", "1", "--batch", "12"]


@pytest.mark.parametrize("way", ["folds", "search"])
def test_the_command_binds_its_folder_to_the_base_and_the_data(
    command: list[str], tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, f"--{way}", "2"]) == 0
    (tmp_path / "rows" / "one_valid.jsonl.gz").write_bytes((tmp_path / "rows" / "one_train.jsonl.gz").read_bytes())
    write_base(tmp_path / "base", replace(small_base(tmp_path, ["rises"]), name="other"))
    assert main([*command, f"--{way}", "2"]) == 2
    assert f"{way}.json: belongs to a training with other base, data_sha256; give another" in capsys.readouterr().err


def test_each_fold_logs_its_own_curves(command: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main([*command, "--folds", "2", "--board", str(tmp_path / "board")]) == 0
    for fold in ("fold-0", "fold-1"):
        events = EventAccumulator(str(tmp_path / "board" / fold)).Reload()
        assert [event.step for event in events.Scalars("loss")] == [1, 2]


def test_each_fold_trains_on_the_generated_set_and_none_holds_it_out(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "GENERATED_ROWS", 24)
    assert main([*command, "--folds", "2", "--sets", "one,generated"]) == 0
    record = json.loads((tmp_path / "out" / "cross-validation.json").read_text())
    assert list(record["weighted_f1"]) == ["one"]
    assert sorted(record["settings"]["data_sha256"]) == ["generated", "one_train", "one_valid"]
    fold = json.loads((tmp_path / "out" / "fold-1" / "record.json").read_text())
    assert fold["data"]["generated"] == {"train": 24, "valid": 0}
