"""The dashboard's own model: its settings are those of the scorer, and its work has a bound."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from numpy.typing import NDArray

from foreshock.cli import main
from foreshock.dashboard import one_story, own_model, serve, underlined
from foreshock.dashboard.errors import DashboardError
from foreshock.dashboard.own_model import OwnModel
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.model.explain import Explanation, explain
from foreshock.model.settings import ModelSettings
from foreshock.monitor.store.story import StoryText

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

    monkeypatch.setattr("foreshock.dashboard.serve.subprocess.Popen", popen)
    monkeypatch.setattr(serve, "_refuse_a_taken_port", lambda settings: None)
    main(["dashboard"])
    (settings,) = (ServeSettings.model_validate_json(one) for one in handed_on)
    assert settings.model.weights == found.format(here=tmp_path)
    assert settings.model.labels == ("positive", "neutral", "negative")
    assert settings.model.languages == ("de",)
    assert settings.store == f"sqlite:///{tmp_path}/a.db"
    assert settings.watchlist_file == tmp_path / "names.csv"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("sqlite:///a.db", "sqlite:///{here}/a.db"),
        ("sqlite://", "sqlite://"),
        ("postgresql://u:p%40ss@host/news", "postgresql://u:p%40ss@host/news"),
        (
            "postgresql://u@host/news?sslmode=verify-full&sslrootcert=certs/ca.pem",
            "postgresql://u@host/news?sslmode=verify-full&sslrootcert={here}/certs/ca.pem",
        ),
        ("postgresql://u@host/news?sslrootcert=system", "postgresql://u@host/news?sslrootcert=system"),
        ("postgresql://u@host/news?sslkey=pkcs11:desk", "postgresql://u@host/news?sslkey=pkcs11:desk"),
        ("postgresql://u@host/news?sslcert=a&sslcert=b", "postgresql://u@host/news?sslcert=a&sslcert=b"),
    ],
)
def test_the_url_of_a_store_names_files_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unquote(serve.absolute(url)) == unquote(found.format(here=tmp_path))


def test_the_dashboards_model_has_the_settings_of_the_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scorer:
        def embed(self, texts: Sequence[str]) -> Any:
            return np.ones((len(texts), 2), np.float32)

    loaded: list[dict[str, Any]] = []

    def load(**settings: Any) -> Scorer:
        loaded.append(settings)
        return Scorer()

    monkeypatch.setattr("foreshock.model.scorer.load_scorer", load)
    model = ModelSettings(
        weights="hf:/srv/finbert", labels=("bad", "so-so", "good"), languages=("de",), device="cuda", precision="bf16"
    )
    monkeypatch.setenv(VARIABLE, ServeSettings(store="sqlite:///a.db", model=model).handed_on())
    own_model.of_this_process.cache_clear()
    own_model.of_this_process().closeness("a", ["b"])
    own_model.of_this_process.cache_clear()
    (settings,) = loaded
    assert settings == {**model.loading(), "device": "cpu", "precision": "auto", "threads": 1, "cached": 1_000}


@pytest.mark.parametrize("title", ["Shares plunge", "Shares plunge https://a.example/1"])
def test_the_whole_body_is_shown_also_where_the_encoder_reads_a_part_of_it(title: str) -> None:
    class Scorer:
        def score(self, texts: Sequence[str], entities: object = None) -> NDArray[np.float32]:
            return np.full((len(texts), 3), 1 / 3, np.float32)

    words = [f"word{n}" for n in range(560)]
    body = " ".join(f"{word} https://b.example/{word}" if word.endswith("9") else word for word in words)
    story = StoryText(("0", 1), "1", title, body, "Wire", "", 0, 0, False, (3333, 3334, 3333), None, None)
    explained = explain(Scorer(), own_model.read(story))
    assert len(explained.text) < len(body) < one_story.LONGEST
    shown = underlined.body_of(explained, story, one_story.LONGEST).striptags()
    assert shown.split() == words
    links = " https://b.example/word" * one_story.LONGEST
    for more, cut in ((links, False), (links + " word" * one_story.LONGEST, True)):
        longer = replace(story, body=body + more)
        explained = explain(Scorer(), own_model.read(longer))
        assert underlined.exceeds(explained, longer, one_story.LONGEST) == cut
        shown = underlined.body_of(explained, longer, one_story.LONGEST).striptags()
        assert shown.endswith("…") == cut


@pytest.mark.parametrize(
    ("title", "body"), [("工厂爆炸,三人死亡", "公司股价 下跌 12 %。"), ("Plant  explodes", "Three die, says Acme.")]
)
def test_a_text_is_shown_with_the_spaces_that_it_has(title: str, body: str) -> None:
    class Scorer:
        def score(self, texts: Sequence[str], entities: object = None) -> NDArray[np.float32]:
            return np.full((len(texts), 3), 1 / 3, np.float32)

    story = StoryText(("0", 1), "1", title, body, "Wire", "", 0, 0, False, (3333, 3334, 3333), None, None)
    explained = explain(Scorer(), own_model.read(story))
    assert underlined.title_of(explained, story).striptags() == " ".join(title.split())
    assert underlined.body_of(explained, story).striptags() == " ".join(body.split())


class Held:
    """A scorer that scores only once it may, and remembers the texts that it was given first."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.begun = threading.Event()
        self.texts: list[str] = []

    def score(self, texts: Sequence[str], entities: object = None) -> NDArray[np.float32]:
        self.texts.append(texts[0])
        self.begun.set()
        assert self.may.wait(10)
        return np.full((len(texts), 3), 1 / 3, np.float32)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.append("embedded")
        return np.ones((len(texts), 2), np.float32)


def test_a_visitor_who_asks_for_many_texts_leaves_no_more_than_a_few_to_be_worked_out() -> None:
    scorer = Held()
    model = OwnModel(lambda: scorer)
    model.explained(["first"], wait=0)
    assert scorer.begun.wait(10)
    for page in range(20):
        assert model.explained([f"page {page}, story {n}" for n in range(12)], wait=0) == {}
    wanted = "page 3, story 3"
    assert model.explained([wanted], wait=0) == {}  # it was forgotten, and is asked for again
    scorer.may.set()
    found = model.explained(["first", wanted], wait=10)
    assert set(found) == {"first", wanted}
    assert all(isinstance(one, Explanation) for one in found.values())
    assert len(scorer.texts) <= own_model.WAITING + 1


def test_what_a_page_no_longer_waits_for_is_not_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Held()
    model = OwnModel(lambda: scorer)
    model.explained(["first"], wait=0)
    assert scorer.begun.wait(10)
    monkeypatch.setattr(own_model, "PATIENCE_SECONDS", 0)
    assert model.closeness("a", ["b"]) is None
    scorer.may.set()
    assert set(model.explained(["last"], wait=10)) == {"last"}
    assert scorer.texts == ["first", "last"]
