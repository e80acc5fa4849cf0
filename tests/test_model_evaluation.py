"""Metrics against figures computed by hand, and labelled files with errors."""

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.accuracy import near_copies
from foreshock.model.errors import LabelledDataError
from foreshock.model.evaluation import ece, ece_by_chance, evaluate, measure


class Table:
    """A scorer that returns fixed answers."""

    def __init__(self, answers: dict[str, tuple[float, float, float]]) -> None:
        self.answers = answers

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.answers[text] for text in texts], dtype=np.float32)


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_a_near_copy_shares_four_fifths_of_its_words_with_another_text() -> None:
    texts = ["Net profit rose to 5 mln", "Net profit fell to 5 mln today", "https://t.co/a"]
    assert near_copies(texts, ["NET profit rose, to 5 mln!", "We say no"]).tolist() == [True, False, False]
    assert near_copies(["a b c d e"], ["a b c d"]).tolist() == [True]


def test_figures_by_hand() -> None:
    # Labels 0 0 0 1 1 2, predicted 0 0 1 1 2 2: per class (hits, predicted, present) = (2, 2, 3), (1, 2, 2), (1, 2, 1).
    predicted = np.eye(3)[[0, 0, 1, 1, 2, 2]]
    figures = measure(predicted, np.array([0, 0, 0, 1, 1, 2]))
    f1 = (4 / 5, 2 / 4, 2 / 3)
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["weighted_f1"] == pytest.approx((3 * f1[0] + 2 * f1[1] + 1 * f1[2]) / 6)
    assert figures["macro_f1"] == pytest.approx(sum(f1) / 3)


def test_a_class_that_is_neither_predicted_nor_present_does_not_count_in_macro_f1() -> None:
    assert measure(np.eye(3)[[0, 2, 0]], np.array([0, 2, 0]))["macro_f1"] == 1


def test_ece_of_one_bin_by_hand() -> None:
    # Confidence 0.9 throughout, 6 of 10 right: gap -0.3, its standard deviation sqrt(0.6 * 0.4 / 10).
    probabilities = np.tile([0.9, 0.05, 0.05], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    deviation = math.sqrt(0.6 * 0.4 / 10)
    ratio = 0.3 / deviation
    folded = deviation * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2) + 0.3 * math.erf(ratio / math.sqrt(2))
    assert ece(probabilities, labels, bins=1) == pytest.approx(2 * 0.3 - folded, abs=1e-9)


def test_ece_of_nan_is_nan() -> None:
    assert math.isnan(ece(np.full((10, 3), np.nan), np.arange(10) % 3))


def test_ece_agrees_with_drawing_the_bins_again() -> None:
    random = np.random.default_rng(0)
    confidence = np.sort(random.uniform(0.4, 1.0, 600))
    right = random.random(600) < confidence - 0.08
    probabilities = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)
    labels = np.where(right, 0, 1)
    size = 40
    accuracy = right.reshape(15, size).mean(axis=1)
    meant = confidence.reshape(15, size).mean(axis=1)
    again = random.normal(accuracy, np.sqrt(accuracy * (1 - accuracy) / size), (200_000, 15))
    plain = np.abs(accuracy - meant).mean()
    assert ece(probabilities, labels) == pytest.approx(2 * plain - np.abs(again - meant).mean(), abs=5e-4)


def test_debiasing_brings_a_calibrated_model_nearer_to_zero_than_the_plain_estimate() -> None:
    debiased, plain = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        confidence = random.uniform(0.4, 1.0, 400)
        right = random.random(400) < confidence
        probabilities = np.stack([confidence, 1 - confidence, np.zeros(400)], axis=1)
        probabilities[confidence < 0.5] = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)[
            confidence < 0.5
        ]
        labels = np.where(right, 0, 2)
        debiased.append(ece(probabilities, labels))
        order = np.argsort(confidence)
        plain.append(sum(len(b) / 400 * abs(right[b].mean() - confidence[b].mean()) for b in np.array_split(order, 15)))
    assert np.mean(debiased) < 0.75 * np.mean(plain)


def test_chance_alone_makes_less_error_with_more_rows_and_none_where_all_is_sure() -> None:
    def chance(rows: int, confidence: float) -> NDArray[np.float64]:
        return ece_by_chance(np.tile([confidence, 1 - confidence, 0.0], (rows, 1)), draws=100)

    few, many = chance(100, 0.7), chance(2_500, 0.7)
    assert list(few) == sorted(few)
    assert np.array_equal(few, chance(100, 0.7))
    assert 0 < many.mean() < few.mean() / 2
    assert chance(100, 1.0).max() == 0


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_with_other_labels_are_skipped_and_counted(tmp_path: Path, name: str) -> None:
    rows = [
        {"text": "up", "label": "positive", "source": "x"},
        {"text": "down", "label": "negative"},
        {"text": "both", "label": "mixed"},
    ]
    table = Table({"up": (0.1, 0.2, 0.7), "down": (0.2, 0.5, 0.3)})
    figures = evaluate(table, _write(tmp_path / name, rows))
    assert (figures["n"], figures["skipped"], figures["accuracy"]) == (2, 1, 0.5)
    assert sorted(figures) == ["accuracy", "ece", "macro_f1", "n", "skipped", "weighted_f1"]


def test_a_missing_column_is_an_error_that_names_file_line_and_the_existing_columns(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [{"text": "x", "label": "neutral"}, {"headline": "y", "label": "neutral"}])
    with pytest.raises(LabelledDataError, match=r"a\.jsonl, line 2: no column `text`; the row has `headline`, `label`"):
        evaluate(Table({}), path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{text: 1}", "line 1: not JSON"),
        (b"[1, 2]", "line 1: a JSON list"),
        (b'{"text": 5, "label": "neutral"}', "line 1: `text` is 5, not text"),
        (b'{"text": "x", "label": "bullish"}', "no row is labelled negative, neutral, positive"),
        (b"\xff\xfe", "line 1: not JSON"),
    ],
)
def test_a_file_that_is_not_labelled_text_is_an_error(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(LabelledDataError, match=says):
        evaluate(Table({}), path)


def test_a_missing_file_and_an_unknown_kind_of_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(LabelledDataError, match="no such file"):
        evaluate(Table({}), tmp_path / "none.jsonl")
    (tmp_path / "rows.csv").write_text("text,label\n")
    with pytest.raises(LabelledDataError, match=r"rows\.csv: unknown kind of file"):
        evaluate(Table({}), tmp_path / "rows.csv")


def test_a_truncated_or_damaged_gz_is_an_error(tmp_path: Path) -> None:
    path = _write(tmp_path / "cut.jsonl.gz", [{"text": f"t{i * 7919}", "label": "neutral"} for i in range(5_000)])
    whole = path.read_bytes()
    for damaged in (whole[:-200], whole[:10] + b"\xff" * 20):
        path.write_bytes(damaged)
        with pytest.raises(LabelledDataError, match="is the file whole"):
            evaluate(Table({}), path)
