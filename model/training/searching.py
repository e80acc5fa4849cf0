"""Search for hyper-parameters on the validation splits.

The one idea: a trial is a training like any other, in `out/trial-N`, and `out/search.db` holds the results. So an
interrupted search resumes after its last finished trial, and a search that is given more trials adds to them.
`out/search.json` holds the settings that all trials share.
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
"""The hyper-parameters to search: the lowest value, the highest, and whether to draw them on a logarithmic scale."""


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

    The best trial has the highest weighted F1 on the validation rows, averaged over the sets. Because it was chosen by
    this figure, the figure is slightly too high. Optuna proposes the trials (TPE, Bergstra et al. 2011).

    Parameters
    ----------
    train
        train(data, out, learning_rate=, layer_decay=, contrastive=, temperature=, smoothing=, dropout=) trains and
        returns its record.
    data, out
        The folder of the labelled sets, and the folder for the trials, the best weights and the record.
    trials
        How many trials to have in all. A run tries as many as `out` still lacks. A trial that diverges is not kept, so
        a later run tries another in its place.
    seed
        The seed of the proposals.
    settings
        All else that decides what `train` makes.

    Returns the record that is written to `out/record.json`: the best trial's, with all trials under `search`. Raises
    ModelError where Optuna is not installed, `out` holds a search with other settings, or all trials diverged.
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
            raise optuna.TrialPruned from None  # Optuna learns from it: it does not try these values again

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
        # This trial was interrupted: try its hyper-parameters again.
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    complete = [optuna.trial.TrialState.COMPLETE]
    study.optimize(objective, n_trials=max(0, trials - len(study.get_trials(states=complete))))

    if not study.get_trials(states=complete):
        raise ModelError(f"{out}: all trials of the search diverged; check the data, or search with more trials")
    best = out / f"trial-{study.best_trial.number}"
    for name in ("model.safetensors", "model.json", "tokenizer.json"):
        shutil.copyfile(best / name, out / name)
    record = json.loads((best / "record.json").read_text(encoding="utf-8"))
    record["search"] = [_row(trial) for trial in study.get_trials(states=complete)]
    return write_record(out / "record.json", record)


def mean_f1(record: dict[str, Any]) -> float:
    """Return a training's weighted F1 on validation rows, averaged over the sets."""
    found = [metrics["weighted_f1"] for metrics in record["validation"].values()]
    return float(sum(found) / len(found))


def _row(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial as the record shows it."""
    return {"trial": trial.number, "mean_weighted_f1": trial.value} | trial.params
