"""Alignment, uniformity and linear heads against values computed by hand."""

import math

import pytest
import torch

from foreshock.model.training.probing import alignment, fit_head, flip_probe, head_logits, uniformity


def test_alignment_is_the_mean_squared_distance_of_pairs() -> None:
    left = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[5.0, 0.0], [3.0, 0.0]])
    assert alignment(left, right) == pytest.approx((0 + 2) / 2)


def test_uniformity_by_hand() -> None:
    # Two pairs at a right angle (squared distance 2), one opposite (4).
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
    assert uniformity(rows) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), abs=1e-6)


def test_a_head_finds_a_direction_and_the_penalty_shrinks_its_weights() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 10)
    labels = torch.tensor([0, 1] * 10)
    weight, bias = fit_head(rows, labels, classes=2)
    assert head_logits(rows, (weight, bias)).argmax(dim=1).tolist() == labels.tolist()
    # By symmetry the weight is a * [[1, -1], [-1, 1]]; the derivative of 20 * log(1 + exp(-2a)) + 2a^2 is 0.
    a = weight[0, 0].item()
    assert -40 * math.exp(-2 * a) / (1 + math.exp(-2 * a)) + 4 * a == pytest.approx(0, abs=1e-3)
    assert fit_head(rows, labels, classes=2, penalty=10.0)[0].abs().max() < a


def test_the_flip_probe_tests_the_group_that_it_was_not_fitted_on() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(80, 16, generator=generator)
    shift = torch.zeros(16)
    shift[0] = 3.0
    group = torch.arange(80) % 2
    assert flip_probe(noise + shift, noise - shift, group) == 1.0
    # Exchange better and worse in the second group: what a head learns from one group is wrong for the other.
    signs = torch.where(group == 0, 1.0, -1.0)[:, None]
    assert flip_probe(noise + signs * shift, noise - signs * shift, group) == 0.0


def test_the_flip_probe_of_one_group_is_nan() -> None:
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert math.isnan(flip_probe(rows, -rows, torch.zeros(4, dtype=torch.int64)))
