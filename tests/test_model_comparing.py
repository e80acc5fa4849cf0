"""`foreshock model compare`: several models side by side, and which of them knew the set."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_model_huggingface import _make

from foreshock.cli import main
from foreshock.model import storage
from foreshock.model.comparing import set_of, trained_on, was_trained_on
from foreshock.model.storage import describe_weights
from foreshock.model.training.news_rows import MIXES

ROWS = [
    ("Profit falls as demand slows", "negative"),
    ("Castellor names a new chief", "neutral"),
    ("Tarvale wins a large order", "positive"),
    ("Pemmond cuts its dividend", "negative"),
    ("Both at once", "mixed"),
]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    file = tmp_path / "fpb_valid.jsonl"
    file.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS))
    return file


def test_models_are_compared_side_by_side(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each model is measured in a process of its own, which imports `__main__` again. A test of a page may have left its
    # script there.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    folder = _make(tmp_path / "tiny", "roberta")
    assert main(["model", "compare", "default", str(folder), "--on", str(labelled), "--device", "cpu", "--json"]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)
    assert (ours["model"], ours["n"], ours["skipped"]) == ("default", 4, 1)
    assert ours["accuracy"] == 1.0
    assert (ours["trained_on_it"], theirs["trained_on_it"]) == (True, None)
    assert theirs["identity"].startswith("hf-tiny-")
    assert 30 < theirs["memory_mb"] < ours["memory_mb"], "each has a process of its own"
    assert min(ours["texts_per_second"], theirs["one_text_ms"]) > 0
    (folder / "README.md").write_text("---\ndatasets:\n- zeroshot/twitter-financial-news-sentiment\n---\n")
    assert main(["model", "compare", f"hf:{folder}", "--on", str(labelled), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "trained on fpb" in shown
    assert "4 texts of" in shown
    assert "1 rows with other labels left out" in shown
    assert "unknown" not in shown


@pytest.mark.parametrize(
    ("set_", "sets", "was"),
    [
        ("fpb", ["takala/financial_phrasebank"], True),
        ("fpb", ["zeroshot/twitter-financial-news-sentiment"], False),
        ("tfns", ["zeroshot/twitter-financial-news-sentiment"], True),
        ("fpb", ["news", "fpb"], True),
        ("mine", ["our/Mine"], True),
        ("mine", [], False),
        ("our-news", ["our/our_news"], True),
        ("news", ["zeroshot/twitter-financial-news-sentiment"], False),
        ("ニュース", ["takala/financial_phrasebank"], False),
    ],
)
def test_a_set_is_recognised_by_what_readmes_call_it(set_: str, sets: list[str], was: bool) -> None:
    assert was_trained_on(set_, sets) is was


def test_the_set_is_named_by_the_file() -> None:
    assert [set_of(Path(name)) for name in ("a/fpb_valid.jsonl.gz", "fiqa_train.jsonl", "our-news.jsonl")] == [
        "fpb",
        "fiqa",
        "our-news",
    ]


def test_the_shipped_weights_say_what_they_were_trained_on() -> None:
    assert {"news", "fpb", "tfns", "fiqa", "sentfin", "finentity"} <= set(trained_on("default") or ())
    assert set(trained_on("permissive") or ()) == {"tfns", "contrasts", "headlines", "generated", "lines", "rivals"}


RUNS = Path(storage.__file__).parent / "runs"
MADE_OF_OTHERS = {"own", "swapped", "joined", "streams", "variants"}
"""Rows in a record that are labels of our own, or made of the other sets."""


@pytest.mark.parametrize(
    ("weights", "runs"),
    [
        ("default", ("default", "default-companies-1", "default-companies-2", "default-kinds")),
        ("permissive", ("permissive", "permissive-companies")),
    ],
)
def test_a_card_names_all_that_the_records_of_its_trainings_name(weights: str, runs: tuple[str, ...]) -> None:
    def sets(found: Any) -> Iterator[str]:
        for key, value in found.items():
            if key == "data":
                yield from (name for name, rows in value.items() if rows and name not in MADE_OF_OTHERS)
            elif key == "data_sha256":
                yield from (name.removesuffix("_train") for name in value if "." not in name)
            elif isinstance(value, dict):
                yield from sets(value)

    learned = {name for run in runs for name in sets(json.loads((RUNS / f"{run}.json").read_text()))}
    learned = {"rivals" if name == "written" else name for name in learned}
    assert learned == set(trained_on(weights) or ())
    licence = describe_weights(weights)["licence"]
    assert {name for name in learned if name not in licence} == set()


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_names_the_sets_of_all_its_rows(name: str) -> None:
    mix = MIXES[name]
    drawn = {*mix.repeats, *mix.alike, *mix.differing} - {"own"}
    assert drawn <= set(mix.names)
    assert set(mix.names) <= drawn | {"contrasts"}


def test_a_model_that_cannot_be_read_stops_the_comparison_before_it_begins(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _make(tmp_path / "five", "bert", {i: f"{i} stars" for i in range(5)})
    assert main(["model", "compare", "default", str(folder), "--on", str(labelled)]) == 2
    assert "the model has 5 labels" in capsys.readouterr().err
    assert main(["model", "compare", "default", "--on", str(tmp_path / "none.jsonl")]) == 2
    assert "no such file" in capsys.readouterr().err
