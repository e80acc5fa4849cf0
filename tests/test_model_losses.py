"""Losses against values computed by hand."""

import math

import pytest
import torch

from foreshock.model.training.losses import cross_entropy, infonce, mse, supervised_contrastive, triplet
from foreshock.model.training.similarity import cosine


def test_supervised_contrastive_loss_of_three_rows_by_hand() -> None:
    # Rows 0 and 1 share a label; row 2 has a label of its own, so it is not an anchor. Temperature 0.5 doubles.
    similarity = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, -0.5], [0.0, -0.5, 1.0]])
    first = -math.log(math.e**1.0 / (math.e**1.0 + math.e**0.0))
    second = -math.log(math.e**1.0 / (math.e**1.0 + math.e**-1.0))
    loss = supervised_contrastive(similarity, torch.tensor([2, 2, 0]), temperature=0.5)
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_supervised_contrastive_loss_averages_over_several_alike() -> None:
    similarity = torch.tensor([[1.0, 0.2, 0.4], [0.2, 1.0, 0.6], [0.4, 0.6, 1.0]])
    rows = []
    for i, others in enumerate(((0.2, 0.4), (0.2, 0.6), (0.4, 0.6))):
        total = sum(math.exp(value) for value in others)
        rows.append(-sum(math.log(math.exp(value) / total) for value in others) / 2)
        assert similarity[i].sum().item() == pytest.approx(1 + sum(others))
    loss = supervised_contrastive(similarity, torch.tensor([1, 1, 1]), temperature=1.0)
    assert loss.item() == pytest.approx(sum(rows) / 3, abs=1e-6)


def test_supervised_contrastive_loss_is_zero_and_differentiable_where_no_two_are_alike() -> None:
    similarity = torch.eye(3, requires_grad=True)
    loss = supervised_contrastive(similarity, torch.tensor([0, 1, 2]), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert similarity.grad is not None
    assert torch.isfinite(similarity.grad).all()


def test_supervised_contrastive_gradient_is_finite_though_the_diagonal_is_left_out() -> None:
    embedded = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    supervised_contrastive(cosine(embedded, embedded), torch.tensor([0, 0, 1, 1, 2, 2]), 0.1).backward()
    assert embedded.grad is not None
    assert torch.isfinite(embedded.grad).all()


def test_cross_entropy_with_smoothing_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    plain = -math.log(0.7)
    smoothed = 0.9 * plain + 0.1 * -(math.log(0.7) + math.log(0.2) + math.log(0.1)) / 3
    assert cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(plain, abs=1e-6)
    assert cross_entropy(logits, torch.tensor([0]), smoothing=0.1).item() == pytest.approx(smoothed, abs=1e-6)


# Two anchors: their positives are in columns 0 and 1, a hard negative of the second is in column 2.
ALIKE = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.5, 0.6]])


def test_infonce_by_hand() -> None:
    first = -math.log(math.exp(1.8) / (math.exp(1.8) + math.exp(0.2) + math.exp(0.4)))
    second = -math.log(math.exp(1.0) / (math.exp(0.6) + math.exp(1.0) + math.exp(1.2)))
    assert infonce(ALIKE, 0.5).item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_infonce_passes_a_gradient_to_a_learned_temperature() -> None:
    temperature = torch.tensor(0.5, requires_grad=True)
    infonce(ALIKE, temperature).backward()
    above, below = (infonce(ALIKE, 0.5 + step).item() for step in (1e-2, -1e-2))
    assert temperature.grad is not None
    assert temperature.grad.item() == pytest.approx((above - below) / 2e-2, abs=1e-2)


def test_triplet_takes_the_hardest_negative_of_the_batch() -> None:
    # First anchor: 0.9 is more than the margin 0.3 above 0.2. Second: 0.5 against 0.6 misses the margin by 0.4.
    assert triplet(ALIKE, 0.3).item() == pytest.approx((0 + 0.4) / 2, abs=1e-6)


def test_mse_weighs_positives_others_and_hard_negatives_the_same() -> None:
    positives = (0.1**2 + 0.5**2) / 2
    others = (0.1**2 + 0.3**2) / 2
    hard = 0.6**2  # the second anchor's own; with the first anchor it does not count
    assert mse(ALIKE, torch.tensor([1])).item() == pytest.approx((positives + others + hard) / 3, abs=1e-6)


def test_mse_without_hard_negatives() -> None:
    expected = ((0.1**2 + 0.5**2) / 2 + (0.1**2 + 0.3**2) / 2) / 2
    assert mse(ALIKE[:, :2], torch.tensor([], dtype=torch.int64)).item() == pytest.approx(expected, abs=1e-6)
