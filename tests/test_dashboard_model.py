"""The dashboard's own model: its settings are those of the scorer, and its work has a bound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreshock.cli import main
from foreshock.dashboard import own_model, serve
from foreshock.dashboard.errors import DashboardError
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.model.settings import ModelSettings

SETTINGS = """
[store]
url = "sqlite:///a.db"
[watchlist]
file = "names.csv"
[model]
weights = "{}"
labels = ["positive", "neutral", "negative"]
languages = ["de"]
"""


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("default", "default"),
        ("weights", "{here}/weights"),
        ("hf:finbert", "hf:{here}/finbert"),
        ("hf:~/finbert", "hf:{here}/home/finbert"),
        ("/srv/weights", "/srv/weights"),
    ],
)
def test_the_server_runs_in_another_folder_and_gets_what_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Path("foreshock.toml").write_text(SETTINGS.format(written))
    Path("names.csv").write_text("topic\nBanks\n")
    handed_on: list[str] = []

    def popen(command: Sequence[str], *, env: dict[str, str], **_: Any) -> None:
        handed_on.append(env[VARIABLE])
        raise DashboardError("not started in this test")

    monkeypatch.setattr(serve.subprocess, "Popen", popen)
    monkeypatch.setattr(serve, "_refuse_a_taken_port", lambda settings: None)
    main(["dashboard"])
    (settings,) = (ServeSettings.model_validate_json(one) for one in handed_on)
    assert settings.model.weights == found.format(here=tmp_path)
    assert settings.model.labels == ("positive", "neutral", "negative")
    assert settings.model.languages == ("de",)
    assert settings.store == f"sqlite:///{tmp_path}/a.db"
    assert settings.watchlist_file == tmp_path / "names.csv"


def test_the_dashboards_model_has_the_settings_of_the_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scorer:
        def embed(self, texts: Sequence[str]) -> Any:
            return np.ones((len(texts), 2), np.float32)

    loaded: list[tuple[str, dict[str, Any]]] = []

    def load(weights: str, **rest: Any) -> Scorer:
        loaded.append((weights, rest))
        return Scorer()

    monkeypatch.setattr("foreshock.model.scorer.load_scorer", load)
    model = ModelSettings(weights="hf:/srv/finbert", labels=("bad", "so-so", "good"), languages=("de",), device="cuda")
    monkeypatch.setenv(VARIABLE, ServeSettings(store="sqlite:///a.db", model=model).handed_on())
    own_model.of_this_process.cache_clear()
    own_model.of_this_process().closeness("a", ["b"])
    own_model.of_this_process.cache_clear()
    ((weights, rest),) = loaded
    assert weights == "hf:/srv/finbert"
    assert (rest["labels"], rest["languages"]) == (("bad", "so-so", "good"), ("de",))
    assert (rest["device"], rest["threads"]) == ("cpu", 1)
