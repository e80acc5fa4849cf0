"""Calibration makes probabilities more likely, and guesses what a text's source calls neutral."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from foreshock.model.calibration import (
    Calibration,
    calibrated,
    cross_fitted,
    fit_calibration,
    fit_sources,
)
from foreshock.model.errors import LabelledDataError
from foreshock.model.evaluation import ece, measure

Rows = tuple[Tensor, NDArray[np.int64]]
WIDTH = 4
UNTOLD = torch.zeros(0, WIDTH), torch.zeros(0)


def _drawn(seed: int, n: int = 3_000) -> Rows:
    """Logits and labels that were really drawn from their softmax."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3))
    odds = np.exp(logits)
    cumulative = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (random.random((n, 1)) > cumulative).sum(axis=1).clip(max=2)
    return torch.from_numpy(logits.astype(np.float32)), labels.astype(np.int64)


def _embedded(rows: Tensor) -> Tensor:
    return torch.ones(len(rows), WIDTH)


def _fit(logits: Tensor, labels: NDArray[np.int64]) -> Calibration:
    return fit_calibration(logits, _embedded(logits), labels, UNTOLD)


def _scores(logits: Tensor, calibration: Calibration) -> NDArray[np.float32]:
    return calibrated(logits, _embedded(logits), calibration).numpy()


def _nll(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float(-np.log(scores[np.arange(len(labels)), labels]).mean())


def _two_sources(seed: int) -> tuple[Tensor, Tensor, NDArray[np.int64], NDArray[np.int64]]:
    """Logits, embeddings, labels and sources: the second source's labels are drawn where neutral is 2 more likely."""
    random = np.random.default_rng([seed, 9])
    sources = random.integers(0, 2, 3_000)
    logits, _ = _drawn(seed)
    told = logits.numpy() + np.outer(sources, [0.0, 2.0, 0.0])
    odds = np.exp(told)
    labels = (random.random((3_000, 1)) > (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(axis=1)
    embedded = random.normal(0, 0.2, (3_000, WIDTH))
    embedded[np.arange(3_000), sources] += 1
    return logits, torch.from_numpy(embedded).float(), labels.clip(max=2).astype(np.int64), sources


def test_the_scale_of_overconfident_logits_is_found_again() -> None:
    logits, labels = _drawn(1)
    found = _fit(logits * 3, labels)
    for margin in (1.0, 3.0, 6.0):
        scale = math.log1p(math.exp(float(found.scale @ torch.tensor([1.0, margin]))))
        assert scale == pytest.approx(1 / 3, rel=0.15)


def test_calibration_improves_the_likelihood_of_other_rows_too() -> None:
    logits, labels = _drawn(1)
    found = _fit(logits * 3, labels)
    logits, labels = _drawn(2)
    plain = Calibration.none(WIDTH)
    assert _nll(_scores(logits * 3, found), labels) < _nll(_scores(logits * 3, plain), labels) - 0.1


def test_clear_and_doubtful_cases_are_both_put_right() -> None:
    # What contrastive training does: doubtful cases too sure, clear ones not sure enough.
    def distorted(seed: int) -> Rows:
        logits, labels = _drawn(seed)
        first, second = logits.topk(2, dim=1).values.unbind(1)
        return logits * (1.5 / (0.5 + first - second))[:, None], labels

    found = _fit(*distorted(5))
    logits, labels = distorted(6)
    assert found.scale[1] > 0.1
    assert ece(_scores(logits, found), labels) < 0.03
    assert ece(_scores(logits, Calibration.none(WIDTH)), labels) > 0.06


def test_what_a_source_calls_neutral_is_guessed_from_the_embedding() -> None:
    logits, embedded, labels, sources = _two_sources(1)
    guess = fit_sources(embedded, sources, 2)
    found = fit_calibration(logits, embedded, labels, guess)
    logits, embedded, labels, sources = _two_sources(2)
    scores = calibrated(logits, embedded, found).numpy()
    plain = _scores(logits, _fit(logits, labels))  # fitted on these very rows, and yet
    assert measure(scores, labels)["weighted_f1"] > measure(plain, labels)["weighted_f1"] + 0.03
    told, untold = ([ece(of[sources == s], labels[sources == s]) for s in (0, 1)] for of in (scores, plain))
    assert max(told) < 0.025
    assert max(untold) > 0.04


def test_cross_fitted_scores_are_of_calibrations_that_have_not_seen_the_row() -> None:
    # Labels of pure chance: a calibration that had seen them would be better than one third.
    random = np.random.default_rng(3)
    logits, embedded = torch.zeros(60, 3), torch.from_numpy(random.normal(size=(60, WIDTH))).float()
    labels, sources = random.permutation(60) % 3, random.integers(0, 4, 60)
    guess = fit_sources(embedded, sources, 4)
    seen = calibrated(logits, embedded, fit_calibration(logits, embedded, labels, guess)).numpy()
    held_out = cross_fitted(logits, embedded, labels, guess)
    assert _nll(seen, labels) < math.log(3) < _nll(held_out, labels)
    np.testing.assert_allclose(held_out.sum(axis=1), 1, atol=1e-5)


def test_nothing_changes_without_calibration() -> None:
    logits, _ = _drawn(4)
    torch.testing.assert_close(torch.from_numpy(_scores(logits, Calibration.none(WIDTH))), torch.softmax(logits, dim=1))


def test_without_sources_no_decision_changes() -> None:
    logits, _ = _drawn(4)
    changed = _scores(logits, Calibration(torch.tensor([-2.0, 0.4]), torch.zeros(0, 3), *UNTOLD))
    assert (changed.argmax(axis=1) == logits.numpy().argmax(axis=1)).all()
    np.testing.assert_allclose(changed.sum(axis=1), 1, atol=1e-6)


def test_separable_rows_send_nothing_to_infinity() -> None:
    found = _fit(torch.eye(3).repeat_interleave(5, dim=0), np.arange(3).repeat(5))
    assert found.scale.abs().max() < 30


def test_one_class_only_cannot_be_calibrated() -> None:
    with pytest.raises(LabelledDataError, match="two classes"):
        _fit(torch.zeros(4, 3), np.zeros(4, dtype=np.int64))


@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0, 0]])
def test_few_rows_are_cross_fitted_though_a_fold_may_hold_all_of_a_class(labels: list[int]) -> None:
    logits = torch.zeros(len(labels), 3)
    found = cross_fitted(logits, _embedded(logits), np.array(labels), UNTOLD)
    assert np.isfinite(found).all()
    with pytest.raises(LabelledDataError, match="two classes"):
        cross_fitted(logits, _embedded(logits), np.zeros(len(labels), dtype=np.int64), UNTOLD)


def test_few_rows_shift_little() -> None:
    logits, embedded, labels, sources = _two_sources(1)
    guess = fit_sources(embedded, sources, 2)
    few, many = (fit_calibration(logits[:n], embedded[:n], labels[:n], guess).shift.abs().max() for n in (12, 3_000))
    assert few < 0.5 * many


def test_a_single_source_is_not_guessed() -> None:
    weight, bias = fit_sources(torch.ones(5, WIDTH), np.zeros(5, dtype=np.int64), 1)
    assert weight.shape == (0, WIDTH)
    assert bias.shape == (0,)


@pytest.mark.parametrize("name", ["scale", "shift", "weight", "bias"])
def test_tensors_that_do_not_fit_together_are_refused(name: str) -> None:
    logits, embedded, labels, sources = _two_sources(1)
    tensors = fit_calibration(logits, embedded, labels, fit_sources(embedded, sources, 2)).tensors
    assert Calibration.of(tensors).tensors.keys() == tensors.keys()
    with pytest.raises(ValueError, match="do not fit"):
        Calibration.of(tensors | {name: tensors[name][:1]})
    with pytest.raises(ValueError, match="finite"):
        Calibration.of(tensors | {name: torch.full_like(tensors[name], torch.nan)})
    with pytest.raises(ValueError, match="do not fit"):
        Calibration.of(tensors | {name: torch.tensor(1.0)})
    with pytest.raises(KeyError):
        Calibration.of({key: tensor for key, tensor in tensors.items() if key != name})
