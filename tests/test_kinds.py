"""Every kind of alert has its detector, words, settings, documentation, marks and place in the JSON Schema."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest

from foreshock.dashboard import marks
from foreshock.monitor import detectors
from foreshock.monitor.alerts import Alert, sentence
from foreshock.monitor.detectors import DetectionRules, Detector
from foreshock.monitor.detectors.registry import DETECTORS
from foreshock.monitor.kinds import KINDS, SHARES, Kind
from foreshock.monitor.settings import AlertShares
from foreshock.monitor.store.views import AlertRow

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def alert(kind: Kind, direction: str) -> Alert:
    numbers = {"observed": 0.61, "baseline": 0.265, "score": 15.0, "window_start": 0, "window_end": 0}
    times = {"started_at": 0, "pending_at": 0, "fired_at": 0, "resolved_at": None}
    return Alert("x", "Banks", kind.name, direction, "firing", **times, **numbers)  # type: ignore[arg-type]


def section(page: str, heading: str) -> str:
    found = re.search(rf"^## [^\n]*\b{heading}\b.*?(?=^## |\Z)", (ROOT / "docs" / page).read_text("utf-8"), re.M | re.S)
    return found[0] if found else ""


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", (ROOT / "docs" / page).read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_has_a_sentence_for_each_direction(kind: Kind) -> None:
    said = [sentence(alert(kind, direction), 37, 19) for direction in kind.budget]
    assert all("Banks" in words and not words[0].islower() and words.endswith(".") for words in said)
    assert len(set(said)) == len(kind.budget), "directions differ in their words"


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_is_documented(kind: Kind) -> None:
    row = next(
        line for line in (ROOT / "docs/alerts.md").read_text("utf-8").splitlines() if line.startswith("| `kind`")
    )
    assert f"`{kind.name}`" in row
    assert len(section("alerts.md", kind.name)) > 100, "docs/alerts.md has a section on it"


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_dashboard_has_a_word_a_mark_and_a_colour_for_a_kind(kind: Kind) -> None:
    style = "".join(path.read_text("utf-8") for path in (ROOT / "dashboard").glob("*.css"))
    for direction in kind.budget:
        for state in ("firing", "pending", "resolved"):
            row = AlertRow(**{f.name: None for f in fields(AlertRow)} | vars_of(kind, direction, state))  # type: ignore[arg-type]
            mark = marks.alert(row)
            assert f".{mark.tone}" in style
            assert mark.sign.strip()
            assert mark.word == f"{kind.word or direction}, {state}"
    assert kind.measure
    assert kind.quantity in ("share", "polarity", "events", "negative")


def vars_of(kind: Kind, direction: str, state: str) -> dict[str, object]:
    return {"kind": kind.name, "direction": direction, "state": state}


def test_the_json_schema_lists_exactly_the_kinds_and_their_directions() -> None:
    schema = json.loads((ROOT / "docs/webhook.schema.json").read_text("utf-8"))["$defs"]["alert"]["properties"]
    assert set(schema["kind"]["enum"]) == set(KINDS)
    assert set(schema["direction"]["enum"]) == {direction for kind in KINDS.values() for direction in kind.budget}


def test_each_kind_spends_a_share_of_the_budget_that_the_settings_and_the_rules_have() -> None:
    assert tuple(AlertShares.model_fields) == SHARES
    rules = {field.name for field in fields(DetectionRules)}
    assert rules.issuperset(SHARES)


def test_each_kind_has_exactly_one_detector_unless_a_rule_raises_it() -> None:
    found = [kind for detector in DETECTORS for kind in detector.KINDS]
    assert sorted(found) == sorted(name for name, kind in KINDS.items() if not kind.by_rule and not kind.of_names)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.__name__)
def test_a_detector_says_what_it_reads_its_parameters_its_source_and_shows_an_example(detector: type[Detector]) -> None:
    words = inspect.getdoc(detector) or ""
    for part in ("Reads:", "Parameters", "Source:", "Example:"):
        assert part in words
    links = re.findall(r"docs/(detection\.md)#([\w-]+)", words)
    assert links
    assert all(anchor in anchors(page) for page, anchor in links)


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(detectors.__path__, detectors.__name__ + ".")])
def test_the_examples_of_detectors_run(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert not result.failed
    examples = [cls for cls in DETECTORS if cls.__module__ == name]
    assert result.attempted or not examples
