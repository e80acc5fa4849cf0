"""Lines written for training: well-formed, renamed without a change of meaning, nobody else's words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.model.entities import mentions
from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS
from foreshock.model.training.check import built_in_check
from foreshock.model.training.guided import Guided
from foreshock.model.training.written import main, names_of, renamed, shared_words, written

SHARED = Path(__file__).parent.parent.parent / "shared"
CASES = SHARED / "cases" / "60-sentiment"


def test_written_lines_are_labelled_and_each_stands_once() -> None:
    rows = written()
    assert len({row.text.casefold() for row in rows}) == len(rows) > 4_000
    for row in rows:
        assert row.label in LABELS
        assert (row.severity > 0) == (row.label == "negative")
        assert all(mentions(row.text, name) and label == row.label for name, label in row.entities.items())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("negative\t1\tHalden", "not enough values"),
        ("bad\t1\tHalden\tHalden falls", "the label is 'bad'"),
        ("negative\t0\tHalden\tHalden falls", "the severity is '0'"),
        ("positive\t1\tHalden\tHalden rises", "the severity is '1'"),
        ("negative\t4\tHalden\tHalden falls", "the severity is '4'"),
        ("negative\t12\tHalden\tHalden falls", "the severity is '12'"),
        ("negative\t\tHalden\tHalden falls", "the severity is ''"),
        ("positive\t0\tOrvex\tHalden rises", "the company 'Orvex' is not in the text"),
        ("positive\t0\tHald\tHalden rises", "the company 'Hald' is not in the text"),
        ("neutral\t0\t\tA line\nneutral\t0\t\ta LINE", "the text stands twice"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "lines.tsv"
    file.write_text(f"# lines\npositive\t0\t\tOil rises\n{line}\n")
    with pytest.raises(LabelledDataError, match=said) as raised:
        written(file)
    assert f"line {2 + len(line.splitlines())}" in str(raised.value)


def outside(text: str, name: str) -> list[str]:
    """Return the pieces of a text between its mentions of a name."""
    ends = [0, *(place for mention in mentions(text, name) for place in mention), len(text)]
    return [text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]


def test_most_lines_with_a_company_are_renamed() -> None:
    rows, random = [row for row in written() if row.entities], np.random.default_rng(3)
    pool = names_of(rows)
    assert np.mean([renamed(row, pool, random).text != row.text for row in rows[::10]]) > 0.9


def test_the_check_of_quotations_reads_something_and_fails_on_what_it_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LabelledDataError, match="no text in a"):
        main([str(tmp_path / "nowhere")])
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "theirs.jsonl").write_text('{"title": "The old goat ate my hat."}\n')
    (folder / "theirs.csv").write_text("not read\n")
    for text, status in (("the old goat ate my lunch", 1), ("an old goat ate your lunch", 0)):
        lines = tmp_path / f"{status}.tsv"
        lines.write_text(f"neutral\t0\t\t{text}\n")
        assert main([str(folder), "--written", str(lines)]) == status
    assert "theirs.csv" in capsys.readouterr().out


@given(st.integers(0, 2**32))
def test_renaming_changes_the_name_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = written()
    row = rows[random.integers(len(rows))]
    new = renamed(row, names_of(rows[-500:]), random)
    assert (new.label, new.severity, len(new.entities)) == (row.label, row.severity, len(row.entities))
    for (old, label), (name, theirs) in zip(row.entities.items(), new.entities.items(), strict=True):
        assert label == theirs
        assert name.startswith("$") == old.startswith("$")
        assert mentions(new.text, name)
        if name != old:
            assert outside(new.text, name) == outside(row.text, old)


def test_a_name_keeps_its_case_and_no_part_of_it_is_left_behind() -> None:
    random, pool = np.random.default_rng(0), {True: ["$ZZZZ"], False: ["Quay Foods"]}

    def one(text: str, name: str) -> str:
        return renamed(Guided(text, "neutral", 0, {name: "neutral"}), pool, random).text

    assert one("HALDEN SETS DATE -- Halden said it will", "Halden") == "QUAY FOODS SETS DATE -- Quay Foods said it will"
    assert one("why is $hldn red", "$hldn") == "why is $zzzz red"
    assert one("NTR sets date", "NTR") == "Quay Foods sets date"
    assert one("Halden Bank cuts; Halden is small", "Halden Bank") == "Halden Bank cuts; Halden is small"
    bare = Guided("Oil falls", "negative", 1, {})
    assert renamed(bare, pool, random) is bare


def test_words_that_many_texts_share_are_a_formula_and_others_are_a_quotation() -> None:
    ours = ["Halden said its board approved a plan", "the old goat ate my lunch again", "nothing is shared here at all"]
    theirs = [f"Firm {i} said its board approved a thing" for i in range(5)] + ["The old goat ate my hat."] * 6
    found, formulas = shared_words(ours, theirs)
    assert found == {ours[1]: "the old goat ate my"}
    assert formulas == {"said its board approved a": 1}


def test_no_written_line_shares_words_with_what_judges() -> None:
    texts = [row.text for row in written()]
    assert shared_words(texts, built_in_check().texts)[0] == {}
    if CASES.is_dir():
        cases = [line.split("\t")[2] for line in (CASES / "texts.tsv").read_text().splitlines()]
        assert shared_words(texts, cases)[0] == {}
