"""Fuzz all that reads from outside for some seconds, and hold the fuzzer to its word. `make fuzz` takes longer."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import fuzzing
import pytest

CASES = {
    "parse": 10_000,
    "fields": 500,
    "dates": 10_000,
    "rss": 300,
    "settings": 1_250,
    "csv": 125,
    "jsonl": 200,
    "gz": 900,
    "parquet": 20,
    "pack": 500,
}
"""Up to one second of each on an idle core. A number, not a time, gives every machine the same result."""
NAMES = tuple(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_damaged_bytes_are_read_or_refused_in_the_readers_own_words(name: str) -> None:
    assert fuzzing.run([name], math.inf, fuzzing.SEED, CASES[name]) == {name: CASES[name]}


def test_all_targets_are_run() -> None:
    assert tuple(fuzzing.targets()) == NAMES


def test_a_case_is_a_function_of_its_seed_and_number() -> None:
    for number in range(50):
        one, two = (fuzzing.damaged(fuzzing.RSS, random.Random(f"18/rss/{number}"), (fuzzing.ATOM,)) for _ in range(2))
        assert one == two


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda *_: dict[str, int]()["x"], "KeyError"),
        (lambda *_: object(), "two results"),
    ],
)
def test_the_fuzzer_reports_what_breaks_and_how_to_see_it_again(read: Any, said: str, tmp_path: Path) -> None:
    target = fuzzing.Target((b"x",), read, (ValueError,))
    with pytest.raises(fuzzing.Failed, match=rf"{said}.*--target broken --seed 3 --case 7"):
        fuzzing.run_case("broken", target, 3, 7, tmp_path)
