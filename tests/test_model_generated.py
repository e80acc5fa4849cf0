"""The generated sentences differ, have balanced labels, and follow from the seed."""

import re
import tomllib

from foreshock.model.labels import LABELS
from foreshock.model.training.generated import WORDS, generate
from foreshock.model.training.labelled import fingerprint

RISE = re.compile(r"(?:rose|increased|grew|climbed|improved|went up) to .*?(\d[\d.]*).* from .*?(\d[\d.]*)")


def test_a_seed_makes_the_same_texts_and_another_seed_others() -> None:
    assert generate(300, 1).texts == generate(300, 1).texts
    assert len(set(generate(300, 1).texts) & set(generate(300, 2).texts)) < 100


def test_texts_differ_and_labels_are_balanced() -> None:
    made = generate(3_000, 0)
    assert len({fingerprint(text) for text in made.texts}) > 2_970
    assert [int((made.labels == i).sum()) for i in range(3)] == [1_000] * 3


def test_texts_contain_no_template_marks() -> None:
    assert [text for text in generate(3_000, 3).texts if re.search(r"[\[\]{}|_]|  ", text)] == []


def test_no_template_has_two_labels() -> None:
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    templates = [template for label in LABELS for kind in words[label].values() for template in kind]
    assert len(templates) == len(set(templates)) > 120


def test_a_figure_that_rose_is_higher_than_before() -> None:
    seen = 0
    for text in generate(3_000, 4).texts:
        found = RISE.match(text.split(" its ")[-1].split(" ", 2)[-1]) or RISE.search(text)
        if found and " % " not in text and "share" not in text:
            seen += 1
            assert float(found[1].rstrip(".")) > float(found[2].rstrip(".")), text
    assert seen > 30
