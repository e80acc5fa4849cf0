"""The mean of several trainings of layers for companies, which reads better than each of them.

The one idea: trainings from the same weights, on other draws of the rows, err in different places (Wortsman et al.
2022, "Model soups"). The mean of their changes has a higher rank; the singular values say what to keep of it.

    python -m foreshock.model.training.company_mean --data DIR --out DIR FOLDER FOLDER ...
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.architecture import Architecture
from foreshock.model.calibration import read_calibration
from foreshock.model.errors import ModelError
from foreshock.model.low_rank import MOST, Change, changed, check_change, matrices
from foreshock.model.storage import open_weights, read_arrays, read_change, write_change
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.companies import loaded
from foreshock.model.training.company_rows import RESEARCH_SETS
from foreshock.model.training.news_figures import judge_companies
from foreshock.model.training.steps import versions, write_record


def mean(changes: Sequence[Change], rank: int = MOST) -> dict[str, NDArray[np.float16]]:
    """Return the mean of changes to the same matrices, cut to the `rank` largest singular values of each matrix."""
    made: dict[str, NDArray[np.float16]] = {}
    for name in sorted(matrices(changes[0])):
        factors = [[change[f"{name}.{factor}"].astype(np.float64) for factor in ("up", "down")] for change in changes]
        whole = sum(up @ down for up, down in factors) / len(changes)
        left, sizes, right = np.linalg.svd(whole, full_matrices=False)
        # Both factors get the root of a value, so that neither is large.
        roots = np.sqrt(sizes[:rank])
        made[f"{name}.up"] = (left[:, :rank] * roots).astype(np.float16)
        made[f"{name}.down"] = (roots[:, None] * right[:rank]).astype(np.float16)
    for name in ("heads.entity.weight", "heads.entity.bias"):
        made[name] = np.mean([change[name].astype(np.float64) for change in changes], axis=0).astype(np.float16)
    return made


def write_mean(data: Path, out: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """Write to `out` the weights of the first folder with the mean of all folders' layers for companies, calibrated on
    the held-out rows in `data`, and `companies.json`, the record, which it returns.

    The held-out rows are for research. So the first folder's calibration for companies stays as it is where the folders
    say what they were trained on, and none of it is for research.

    Raises ModelError where a folder has no such layers or other weights of the encoder, and LabelledDataError.
    """
    opened = [open_weights(str(folder)) for folder in folders]
    changes = [read_change(folder) for folder in opened]
    if None in changes or len({folder.sha256["model.safetensors"] for folder in opened}) != 1:
        raise ModelError("the folders need layers for companies (companies.safetensors) beside one model.safetensors")
    change = mean([one for one in changes if one is not None])
    first = opened[0]
    arrays, architecture = read_arrays(first), Architecture(**first.card["architecture"])
    check_change(change, architecture)
    tokenizer = load_tokenizer(first.tokenizer)
    validation, entity = judge_companies(*loaded(changed(arrays, change), architecture), tokenizer, data)
    sets = {name for folder in opened for name in folder.card.get("trained_on", RESEARCH_SETS)}
    if not sets & set(RESEARCH_SETS):
        entity = read_calibration(first.card["heads"]["entity"])
    out.mkdir(parents=True, exist_ok=True)
    for file in (first.tensors, first.path / "model.json", first.tokenizer):
        shutil.copy(file, out)
    write_change(out, change, entity, [name for folder in opened for name in folder.card.get("trained_on", ())])
    record = {
        "command": "python -m foreshock.model.training.company_mean --data DIR --out DIR FOLDERS",
        "mean_of": [folder.sha256["companies.safetensors"] for folder in opened],
        "calibration": asdict(entity),
        "validation": validation,
        "versions": versions(),
    }
    return write_record(out / "companies.json", record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("folders", type=Path, nargs="+")
    given = parser.parse_args()
    write_mean(given.data, given.out, given.folders)


if __name__ == "__main__":
    main()
