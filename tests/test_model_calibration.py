"""Calibration makes the labels more likely and changes no decision."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foreshock.model.answers import Answers
from foreshock.model.calibration import Calibration, calibrated, cross_fitted, fit_calibration, read_calibration
from foreshock.model.errors import LabelledDataError
from foreshock.model.evaluation import ece
from foreshock.model.style import Style, fit_style


def _drawn(seed: int, n: int = 3_000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw logits, and labels from their softmax."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3))
    odds = np.exp(logits)
    cumulative = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (random.random((n, 1)) > cumulative).sum(axis=1).clip(max=2)
    return logits.astype(np.float32), labels.astype(np.int64)


def _nll(logits: NDArray[np.float32], labels: NDArray[np.int64], calibration: Calibration) -> float:
    probabilities = calibrated(torch.from_numpy(logits), calibration).numpy()
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def test_the_scale_of_overconfident_logits_is_recovered() -> None:
    logits, labels = _drawn(1)
    found = fit_calibration(logits * 3, labels)
    for margin in (1.0, 3.0, 6.0):
        scale = math.log1p(math.exp(found.offset + found.slope * margin))
        assert scale == pytest.approx(1 / 3, rel=0.15)


def test_calibration_improves_the_likelihood_of_other_rows_too() -> None:
    found = fit_calibration(_drawn(1)[0] * 3, _drawn(1)[1])
    logits, labels = _drawn(2)
    assert _nll(logits * 3, labels, found) < _nll(logits * 3, labels, Calibration()) - 0.1


def test_clear_and_doubtful_cases_are_both_corrected() -> None:
    # As after contrastive training: doubtful cases are overconfident, clear ones underconfident.
    def distorted(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        logits, labels = _drawn(seed)
        top = np.sort(logits, axis=1)
        margin = (top[:, 2] - top[:, 1])[:, None]
        return logits * (1.5 / (0.5 + margin)), labels

    found = fit_calibration(*distorted(5))
    logits, labels = distorted(6)
    assert found.slope > 0.1
    assert ece(calibrated(torch.from_numpy(logits), found).numpy(), labels) < 0.03
    assert ece(calibrated(torch.from_numpy(logits), Calibration()).numpy(), labels) > 0.06


def test_the_defaults_change_nothing() -> None:
    logits, _ = _drawn(4)
    same = calibrated(torch.from_numpy(logits), Calibration())
    torch.testing.assert_close(same, torch.softmax(torch.from_numpy(logits), dim=1))


def test_calibration_changes_no_decision() -> None:
    logits, _ = _drawn(4)
    changed = calibrated(torch.from_numpy(logits), Calibration(-2.0, 0.4)).numpy()
    assert (changed.argmax(axis=1) == logits.argmax(axis=1)).all()
    np.testing.assert_allclose(changed.sum(axis=1), 1, atol=1e-6)


def test_separable_rows_send_nothing_to_infinity() -> None:
    logits = np.eye(3, dtype=np.float32).repeat(5, axis=0)
    found = fit_calibration(logits, np.arange(3).repeat(5))
    assert abs(found.offset) < 30
    assert abs(found.slope) < 30


def test_one_class_only_cannot_be_calibrated() -> None:
    with pytest.raises(LabelledDataError, match="two classes"):
        fit_calibration(np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=np.int64))


def test_sources_have_the_same_weight_however_many_rows_they_have() -> None:
    few, many = _drawn(7, 100), _drawn(8, 3_000)
    logits = np.concatenate([few[0] * 4, many[0]])  # the few are far overconfident
    labels = np.concatenate([few[1], many[1]])
    plain, fair = (
        _nll(few[0] * 4, few[1], fit_calibration(logits, labels, sources))
        for sources in (None, np.repeat([0, 1], [100, 3_000]))
    )
    assert fair < plain - 0.1


def test_cross_fitted_scores_come_from_calibrations_that_have_not_seen_the_row() -> None:
    # One row is confident and wrong: a calibration that has seen it trusts confident rows less.
    logits = np.concatenate([np.eye(3, dtype=np.float32).repeat(4, axis=0) * 3, [[9.0, 0.0, 0.0]]]).astype(np.float32)
    labels = np.array([*np.arange(3).repeat(4), 1])
    seen = calibrated(torch.from_numpy(logits), fit_calibration(logits, labels)).numpy()
    held_out = cross_fitted(logits, labels, np.zeros(13, dtype=np.int64))
    assert held_out[-1, 0] > seen[-1, 0]
    np.testing.assert_allclose(held_out.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0, 0]])
def test_few_rows_are_cross_fitted_though_a_fold_may_hold_all_of_a_class(labels: list[int]) -> None:
    logits, sources = np.eye(3, dtype=np.float32)[labels], np.zeros(len(labels), dtype=np.int64)
    assert np.isfinite(cross_fitted(logits, np.array(labels), sources)).all()
    with pytest.raises(LabelledDataError, match="two classes"):
        cross_fitted(logits, np.zeros(len(labels), dtype=np.int64), sources)


def _two_styles(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Logits twice too large in one set and half too small in the other, and embeddings that differ."""
    random = np.random.default_rng(seed)
    first, second = _drawn(seed), _drawn(seed + 100)
    sources = np.repeat([0, 1], 3_000)
    embedded = (random.normal(0, 1, (6_000, 8)) + 6 * sources[:, None] * np.eye(8)[0]).astype(np.float32)
    logits = np.concatenate([first[0] * 2, second[0] / 2])
    return logits, np.concatenate([first[1], second[1]]), sources, embedded


def test_a_style_calibrates_sets_of_which_the_model_is_too_sure_and_too_unsure() -> None:
    logits, labels, sources, embedded = _two_styles(1)
    style = fit_style([embedded[sources == i] for i in range(2)])
    found = fit_calibration(logits, labels, sources, (style, embedded))
    logits, labels, sources, embedded = _two_styles(2)
    scores = calibrated(torch.from_numpy(logits), found, embedded).numpy()
    plain = calibrated(torch.from_numpy(logits), fit_calibration(logits, labels, sources)).numpy()
    assert (scores.argmax(axis=1) == logits.argmax(axis=1)).all()
    for i in range(2):
        rows = sources == i
        assert ece(scores[rows], labels[rows]) < 0.05 < ece(plain[rows], labels[rows])
    held_out = cross_fitted(logits, labels, sources, (style, embedded))
    np.testing.assert_allclose(held_out.sum(axis=1), 1, atol=1e-5)


def test_a_style_is_read_again_and_each_row_is_computed_alone() -> None:
    logits, labels, sources, embedded = _two_styles(3)
    style = fit_style([embedded[sources == i] for i in range(2)])
    found = fit_calibration(logits, labels, sources, (style, embedded))
    again = read_calibration(json.loads(json.dumps(asdict(found))))
    assert again == found
    rows = np.arange(0, 6_000, 400)
    whole = style.shares(embedded[rows])
    alone = np.concatenate([style.shares(embedded[[row]]) for row in rows])
    assert whole.tobytes() == alone.tobytes()
    np.testing.assert_allclose(whole.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"offsets": [0.1]}, "need 2 numbers"),
        ({"slopes": [0.1, float("inf")]}, "not finite"),
        ({"neutral_slope": float("nan")}, "not finite"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_calibration_is_refused(change: dict[str, object], says: str) -> None:
    style = Style("AAAAAA==", (0.0, 1.0))
    stated = asdict(Calibration(1.0, 0.1, 0.0, 0.0, style, (0.0, 0.0), (0.0, 0.0)))
    assert read_calibration(stated).style == style
    with pytest.raises((TypeError, ValueError), match=says):
        read_calibration(stated | change)
    with pytest.raises(ValueError, match="reshape"):
        style.shares(np.zeros((1, 7), dtype=np.float32))


def test_the_host_and_torch_calibrate_alike() -> None:
    logits, labels, sources, embedded = _two_styles(4)
    style = fit_style([embedded[sources == i] for i in range(2)])
    found = fit_calibration(logits, labels, sources, (style, embedded))
    head = {"head.weight": np.ones((3, 8)) * [[0.3], [0.1], [-0.2]], "head.bias": np.array([0.1, 0.0, 0.2])}
    answers = Answers(head, {"calibration": asdict(found)})
    made = torch.from_numpy(embedded[:50].astype(np.float64) @ head["head.weight"].T + head["head.bias"])
    np.testing.assert_allclose(
        answers.of_texts(embedded[:50]), calibrated(made, found, embedded[:50]).numpy(), atol=1e-5
    )
