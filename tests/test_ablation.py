"""The ablation says of rows only what their seeds show, and judges by rows that nothing was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ablation, fewshot, recording
from benchmarks.ablation import PLAIN, ROWS, SUBSET, split, table
from foreshock.model.labels import Labelled
from foreshock.model.training.labelled import fingerprint

pytestmark = pytest.mark.slow


def _cell(row: str, seed: int, mean: float) -> dict[str, Any]:
    return {"row": row, "seed": seed, "mean": mean, "weighted_f1": dict.fromkeys(SUBSET, mean)}


def _lines(other: list[float]) -> dict[str, Any]:
    reference = [0.70, 0.72, 0.71, 0.70][: len(other)]
    cells = [_cell(PLAIN, seed, mean) for seed, mean in enumerate(reference)]
    cells += [_cell("loss mse", seed, mean) for seed, mean in enumerate(other)]
    return {line["row"]: line for line in table(cells)}


def test_a_row_differs_where_its_seeds_agree_on_more_than_twice_the_standard_error() -> None:
    line = _lines([0.65, 0.68, 0.66])["loss mse"]
    assert line["differs"] is True
    assert line["against"] == pytest.approx(-0.14 / 3)
    assert line["mean"] == pytest.approx(0.6633, abs=1e-4)
    assert line["spread"] == pytest.approx(0.01528, abs=1e-5)


@pytest.mark.parametrize("other", [[0.71, 0.71, 0.72], [0.69, 0.715, 0.60]])
def test_a_row_whose_seeds_disagree_or_scatter_does_not_differ(other: list[float]) -> None:
    assert _lines(other)["loss mse"]["differs"] is False


@pytest.mark.parametrize("other", [[0.5], [0.5, 0.5]])
def test_nothing_is_said_of_fewer_than_three_seeds(other: list[float]) -> None:
    assert _lines(other)["loss mse"]["differs"] is None


def test_a_row_without_cells_has_no_line_and_lines_keep_the_rows_order() -> None:
    lines = _lines([0.6])
    assert list(lines) == [row for row in ROWS if row in {PLAIN, "loss mse"}]


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []

    def cell(row: str, seed: int, *_: Any) -> dict[str, Any]:
        made.append((row, seed))
        return _cell(row, seed, 0.5)

    monkeypatch.setattr(ablation, "RESULTS", tmp_path)
    monkeypatch.setattr(recording, "RESULTS", tmp_path)
    monkeypatch.setattr(ablation, "cell", cell)
    for _ in range(3):
        monkeypatch.setattr("sys.argv", ["ablation", "--cells", "4", "--only", "reference; loss mse"])
        ablation.main()
    assert made == [(row, seed) for seed in range(3) for row in ("reference", "loss mse")]
    assert len(json.loads((tmp_path / "ablation.json").read_text())["cells"]) == 6


def test_what_is_judged_was_not_fine_tuned_on(shared: Path) -> None:
    subset, judged = split(shared / "data" / "labelled")
    trained = {fingerprint(text) for rows in subset.values() for text in rows.texts}
    for s, rows in judged.items():
        assert {s: len(subset[s].texts)} == {s: SUBSET[s]}
        assert not trained & {fingerprint(text) for text in rows.texts}
        assert len(rows.texts) == len(rows.labels) >= 400


def test_few_shots_are_so_many_of_each_class_or_all_there_are() -> None:
    labels = torch.tensor([0] * 20 + [1] * 5 + [2] * 30).numpy()
    rows = Labelled([f"text {i}" for i in range(55)], labels, 0)
    texts, drawn = fewshot.draw(rows, 8, seed=1)
    assert torch.bincount(drawn).tolist() == [8, 5, 8]
    assert len(set(texts)) == 21
    assert fewshot.draw(rows, 8, seed=1)[0] == texts != fewshot.draw(rows, 8, seed=2)[0]
