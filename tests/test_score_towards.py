"""`foreshock score` towards a company: by one name, or by the name in a column."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from small import without_heads

from foreshock.cli import main
from foreshock.model.scorer import load_scorer, quantise

pytestmark = pytest.mark.slow

TEXT = "Norvane sues Castellor over patents"


@pytest.fixture(scope="module")
def expected() -> dict[str | None, list[float]]:
    names = ["Norvane", "Castellor", None]
    scores = quantise(load_scorer("default", "cpu").score([TEXT] * 3, names)) / 10_000
    found: dict[str | None, list[float]] = dict(zip(names, scores.tolist(), strict=True))
    assert found["Norvane"] != found["Castellor"] != found[None]
    return found


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scored(path: str) -> list[list[float]]:
    if path.endswith(".csv"):
        with open(path, newline="") as lines:
            rows: list[Any] = list(csv.DictReader(lines))
    else:
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [[float(row[label]) for label in ("negative", "neutral", "positive")] for row in rows]


def test_towards_one_company_and_as_a_whole_where_a_text_does_not_name_it(expected: Any) -> None:
    Path("f.jsonl").write_text(json.dumps({"title": TEXT}) + "\n")
    for name in ("Norvane", "Castellor"):
        assert main(["score", "f.jsonl", "--entity", name, "-o", f"{name}.jsonl"]) == 0
        assert scored(f"{name}.jsonl") == [expected[name]]
    assert main(["score", "f.jsonl", "--entity", "Norv", "-o", "none.jsonl"]) == 0  # a part of another name
    assert scored("none.jsonl") == [expected[None]]


def test_towards_the_company_that_a_column_names(expected: Any) -> None:
    Path("f.csv").write_text(f"title,who\n{TEXT},Norvane\n{TEXT},$Castellor\n{TEXT},\n{TEXT},Tarvale\n")
    assert main(["score", "f.csv", "--entities", "who", "-o", "out.csv"]) == 0
    assert scored("out.csv") == [expected[name] for name in ("Norvane", "Castellor", None, None)]
    lines = [{"title": TEXT, "about": {"name": "Castellor"}}, {"title": TEXT, "about": {"name": 3}}, {"title": TEXT}]
    Path("f.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["score", "f.jsonl", "--entities", "about.name", "-o", "out.jsonl"]) == 0
    assert scored("out.jsonl") == [expected["Castellor"], expected[None], expected[None]]


def test_its_words_are_explained_towards_the_company(capsys: pytest.CaptureFixture[str]) -> None:
    Path("f.jsonl").write_text(json.dumps({"title": TEXT}) + "\n")
    assert main(["score", "f.jsonl", "--explain", "--entity", "Castellor"]) == 0
    words = json.loads(capsys.readouterr().out)["words"]
    assert {word: by for word, by in words if by == 0} == {"Castellor": 0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--entity", "Norvane", "--entities", "who"], "not both"),
        (["--entity", " $ "], "the name is empty"),
        (["--entities", "whom"], "has no column 'whom' for --entities. It has: title, who."),
    ],
)
def test_what_cannot_be_asked_is_said(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("f.csv").write_text(f"title,who\n{TEXT},Norvane\n")
    assert main(["score", "f.csv", *options]) in (1, 2)
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_weights_without_heads_cannot_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("f.csv").write_text(f"title,who\n{TEXT},Norvane\n")
    assert main(["score", "f.csv", "--entity", "Norvane", "--weights", without_heads(tmp_path / "plain")]) in (1, 2)
    assert "no heads for severity and companies" in " ".join(capsys.readouterr().err.replace("│", " ").split())
