"""Calibration makes probabilities more likely and leaves decisions alone."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foreshock.model.calibration import Calibration, calibrated, fit_calibration
from foreshock.model.errors import LabelledDataError


def _drawn(seed: int, n: int = 3_000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and labels that were really drawn from their softmax."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3))
    odds = np.exp(logits)
    cumulative = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (random.random((n, 1)) > cumulative).sum(axis=1).clip(max=2)
    return logits.astype(np.float32), labels.astype(np.int64)


def _nll(logits: NDArray[np.float32], labels: NDArray[np.int64], calibration: Calibration) -> float:
    probabilities = calibrated(torch.from_numpy(logits), calibration).numpy()
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def test_temperature_of_overconfident_logits_is_found_again() -> None:
    logits, labels = _drawn(1)
    found = fit_calibration(logits * 3, labels)
    assert found.temperature == pytest.approx(3, rel=0.08)
    assert found.bias == (0, 0, 0)


def test_calibration_improves_the_likelihood_of_other_rows_too() -> None:
    found = fit_calibration(_drawn(1)[0] * 3, _drawn(1)[1])
    logits, labels = _drawn(2)
    assert _nll(logits * 3, labels, found) < _nll(logits * 3, labels, Calibration()) - 0.1


def test_biases_take_back_a_shift_of_one_class() -> None:
    logits, labels = _drawn(3)
    found = fit_calibration(logits + np.array([1, 0, 0], dtype=np.float32), labels, biases=True)
    assert found.bias[0] - found.bias[1] == pytest.approx(-1, abs=0.2)
    assert found.bias[2] - found.bias[1] == pytest.approx(0, abs=0.2)


def test_a_temperature_changes_no_decision() -> None:
    logits, _ = _drawn(4)
    changed = calibrated(torch.from_numpy(logits), Calibration(2.5)).numpy()
    assert (changed.argmax(axis=1) == logits.argmax(axis=1)).all()
    np.testing.assert_allclose(changed.sum(axis=1), 1, atol=1e-6)


def test_separable_rows_do_not_send_the_temperature_to_zero() -> None:
    logits = np.eye(3, dtype=np.float32).repeat(5, axis=0)
    found = fit_calibration(logits, np.arange(3).repeat(5))
    assert 0.001 < found.temperature < 1


def test_one_class_only_cannot_be_calibrated() -> None:
    with pytest.raises(LabelledDataError, match="two classes"):
        fit_calibration(np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=np.int64))
