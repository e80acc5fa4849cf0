"""Alignment, uniformity and linear heads against values worked out by hand."""

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


def test_a_head_finds_a_direction_and_its_penalty_holds_it_back() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 10)
    labels = torch.tensor([0, 1] * 10)
    weight, bias = fit_head(rows, labels, classes=2)
    assert head_logits(rows, (weight, bias)).argmax(dim=1).tolist() == labels.tolist()
    # By symmetry weight is a * [[1, -1], [-1, 1]] and the loss 20 * log(1 + exp(-2a)) + 2a^2: its derivative is 0.
    a = weight[0, 0].item()
    assert -40 * math.exp(-2 * a) / (1 + math.exp(-2 * a)) + 4 * a == pytest.approx(0, abs=1e-3)
    assert fit_head(rows, labels, classes=2, penalty=10.0)[0].abs().max() < a


def test_the_flip_probe_asks_about_the_group_that_was_not_shown() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(80, 16, generator=generator)
    shift = torch.zeros(16)
    shift[0] = 3.0
    group = torch.arange(80) % 2
    assert flip_probe(noise + shift, noise - shift, group) == 1.0
    # Where the second group's better and worse are exchanged, what the first teaches is wrong for it, and vice versa.
    signs = torch.where(group == 0, 1.0, -1.0)[:, None]
    assert flip_probe(noise + signs * shift, noise - signs * shift, group) == 0.0


def test_the_flip_probe_of_one_group_only_is_no_number() -> None:
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert math.isnan(flip_probe(rows, -rows, torch.zeros(4, dtype=torch.int64)))
