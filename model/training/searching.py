"""Search for hyper-parameters, by the validation splits.

The one idea: a trial is a training like any other, in `out/trial-N`; what was found so far is in `out/search.db`, so
that a search that was interrupted goes on after its last whole trial, and one that is given more trials adds to them.
`out/search.json` holds the settings that all of them share.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreshock.model.errors import Diverged, ModelError
from foreshock.model.training.steps import bind, write_record

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

TRIED = {
    "learning_rate": (3e-5, 5e-4, True),
    "layer_decay": (0.75, 1.0, False),
    "contrastive": (0.0, 0.5, False),
    "temperature": (0.03, 0.3, True),
    "smoothing": (0.0, 0.15, False),
    "dropout": (0.0, 0.25, False),
}
"""Hyper-parameters that are searched: lowest, highest, whether by their logarithm."""


def search(
    train: Callable[..., dict[str, Any]],
    data: Path,
    out: Path,
    *,
    trials: int,
    seed: int,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Try `trials` sets of hyper-parameters, and copy the best trial's weights to `out`.

    train(data, out, learning_rate=, layer_decay=, contrastive=, temperature=, smoothing=, dropout=) trains and returns
    its record; the best has the highest mean over the sets of weighted F1 on the validation rows, of which the figure
    is then a little too good. Proposals are Optuna's (Bergstra et al. 2011, TPE; seeded). settings: all else that
    decides what `train` makes.

    Returns the record in `out/record.json`, the best trial's, with all trials under `search`.
    A trial that diverges is none of them. Raises ModelError where Optuna is not installed, where `out` holds a search
    under other settings, and where all diverged.
    """
    try:
        import optuna
    except ImportError as error:
        raise ModelError("--search needs Optuna: pip install 'foreshock[train]'") from error

    def objective(trial: Trial) -> float:
        tried = {name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in TRIED.items()}
        try:
            return mean_f1(train(data, out / f"trial-{trial.number}", **tried))
        except Diverged:
            raise optuna.TrialPruned from None  # which is an answer, too

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bound = {name: value for name, value in settings.items() if name not in TRIED}
    bind(out / "search.json", {**bound, "seed": seed}, [*out.glob("search.db")])
    study = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{out / 'search.db'}",
        load_if_exists=True,
        direction="maximize",
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        # It was interrupted: its hyper-parameters are tried again.
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    complete = [optuna.trial.TrialState.COMPLETE]
    study.optimize(objective, n_trials=max(0, trials - len(study.get_trials(states=complete))))

    if not study.get_trials(states=complete):
        raise ModelError(f"{out}: every training diverged")
    best = out / f"trial-{study.best_trial.number}"
    for name in ("model.safetensors", "model.json", "tokenizer.json"):
        shutil.copyfile(best / name, out / name)
    record = json.loads((best / "record.json").read_text(encoding="utf-8"))
    record["search"] = [_row(trial) for trial in study.get_trials(states=complete)]
    return write_record(out / "record.json", record)


def mean_f1(record: dict[str, Any]) -> float:
    """The mean over the sets of a training's weighted F1 on validation rows."""
    found = [metrics["weighted_f1"] for metrics in record["validation"].values()]
    return float(sum(found) / len(found))


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {"trial": trial.number, "mean_weighted_f1": trial.value} | trial.params
