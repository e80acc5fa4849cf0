"""Similarities against values computed by hand, on their common scale."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foreshock.model.training.similarity import SIMILARITIES, angular, cosine, euclidean, manhattan

LEFT = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
RIGHT = torch.tensor([[0.0, 2.0], [-5.0, 0.0], [6.0, 8.0]])


def test_cosine_of_each_row_with_each_row() -> None:
    torch.testing.assert_close(cosine(LEFT, RIGHT), torch.tensor([[0.8, -0.6, 1.0], [0.0, -1.0, 0.6]]))


def test_angular_is_the_angle_in_right_angles() -> None:
    # The angles of (1, 0) with these rows are 45, 135, 90 and 0 degrees.
    right = torch.tensor([[2.0, 2.0], [-1.0, 1.0], [0.0, -3.0], [7.0, 0.0]])
    torch.testing.assert_close(angular(LEFT[1:], right), torch.tensor([[0.5, -0.5, 0.0, 1.0]]), atol=0.007, rtol=0)
    torch.testing.assert_close(angular(LEFT[1:], right[:3]), torch.tensor([[0.5, -0.5, 0.0]]), atol=1e-6, rtol=0)


def test_euclidean_distance_is_in_units_of_a_right_angle() -> None:
    # (0.6, 0.8) and (0, 1): squared distance 0.36 + 0.04; (1, 0) and (-1, 0): distance 2.
    values = euclidean(LEFT, RIGHT)
    assert values[0, 0].item() == pytest.approx(1 - math.sqrt(0.4) / math.sqrt(2), abs=1e-6)
    assert values[1, 1].item() == pytest.approx(1 - math.sqrt(2), abs=1e-6)
    assert values[1, 0].item() == pytest.approx(0, abs=1e-6)
    assert values[0, 2].item() == pytest.approx(1, abs=1e-3)


def test_manhattan_distance_is_in_units_of_random_directions() -> None:
    # In two dimensions the unit is 2 * sqrt(2 / pi). (0.6, 0.8) and (0, 1) are 0.6 + 0.2 apart, (1, 0) and (0, 1) 2.
    unit = 2 * math.sqrt(2 / math.pi)
    values = manhattan(LEFT, RIGHT)
    assert values[0, 0].item() == pytest.approx(1 - 0.8 / unit, abs=1e-6)
    assert values[1, 0].item() == pytest.approx(1 - 2 / unit, abs=1e-6)
    assert values[0, 2].item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", SIMILARITIES)
@given(scale=st.floats(0.01, 100))
def test_only_the_direction_counts_and_the_same_direction_is_1(name: str, scale: float) -> None:
    rows = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    similarity = SIMILARITIES[name]
    torch.testing.assert_close(similarity(rows * scale, rows), similarity(rows, rows), atol=2e-3, rtol=0)
    torch.testing.assert_close(similarity(rows, rows).diagonal(), torch.ones(4), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_random_directions_of_many_dimensions_are_about_0(name: str) -> None:
    rows = torch.randn(200, 384, generator=torch.Generator().manual_seed(3))
    off = SIMILARITIES[name](rows[:100], rows[100:])
    assert off.mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_gradients_are_finite_even_for_a_row_with_itself(name: str) -> None:
    rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(4), requires_grad=True)
    SIMILARITIES[name](rows, rows).sum().backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
