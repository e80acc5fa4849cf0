"""The words of a search, marked where the search found them."""

from hypothesis import given
from hypothesis import strategies as st

from foreshock.dashboard import highlight
from foreshock.monitor.store.search import terms


def marked(words: str, query: str) -> str:
    return str(highlight.title(words, terms(query))).removeprefix('<bdi dir="auto">').removesuffix("</bdi>")


def test_whole_words_phrases_and_beginnings_are_marked() -> None:
    assert marked("Bank issues PROFIT warning", "bank profit") == (
        "<mark>Bank</mark> issues <mark>PROFIT</mark> warning"
    )
    assert marked("Embankment of the bank", "bank") == "Embankment of the <mark>bank</mark>"
    assert marked("A profit warning, a warning of profit", '"profit warning"') == (
        "A <mark>profit warning</mark>, a warning of profit"
    )
    assert marked("Banking on banks", "bank*") == "<mark>Banking</mark> on <mark>banks</mark>"
    assert marked("Café culture", "cafe") == "<mark>Café</mark> culture"


def test_markup_in_a_title_stays_text() -> None:
    assert marked("<b>bank</b>", "bank") == "&lt;b&gt;<mark>bank</mark>&lt;/b&gt;"


def test_an_excerpt_stands_around_the_first_hit() -> None:
    body = "word " * 100 + "then a profit warning came " + "word " * 100
    found = highlight.excerpt(body, terms('"profit warning"'))
    assert found is not None
    assert "<mark>profit warning</mark>" in found
    assert len(found) < 300
    assert highlight.excerpt(body, terms("xylophone")) is None


@given(st.text(), st.text(max_size=12))
def test_marking_adds_marks_and_nothing_else(words: str, query: str) -> None:
    found = marked(words, query)
    assert found.replace("<mark>", "").replace("</mark>", "") == marked(words, "")
    assert found.count("<mark>") == found.count("</mark>")
