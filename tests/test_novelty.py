"""Near-copies: what a signature depends on, how well it estimates, and which texts are copies of each other."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.monitor.novelty import (
    BANDS,
    PERMUTATIONS,
    SEED,
    THRESHOLD,
    best_match,
    keys,
    normalise,
    shingles,
    signature,
    signatures,
)

pytestmark = pytest.mark.slow


def similarity(a: bytes, b: bytes) -> float:
    """Estimate the Jaccard similarity of two texts' 3-grams: 0 to 1, in steps of 1/64."""
    return float(np.mean(np.frombuffer(a, "<u4") == np.frombuffer(b, "<u4")))


HEADLINES = [
    "Harbour Bank cuts 500 jobs as profit slumps",
    "Oil settles higher after surprise drop in stockpiles",
    "Northwind Motors recalls trucks over faulty brakes in three states",
    "Central bank holds rates and signals one more rise this year",
    "Regulator opens probe into lender's mortgage fees, shares slide",
    "Copper miners warn that strikes may halve output in the second quarter",
]

words = st.lists(
    st.sampled_from(["profit", "falls", "oil", "bank", "rises", "as", "trade", "talks", "stall"]), min_size=1
)


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=200)), min_size=1, max_size=8))
def test_the_values_are_datasketchs_own(pairs: list[tuple[str, str]]) -> None:
    for pair, made in zip(pairs, signatures(pairs), strict=True):
        reference = MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme="affine32")
        reference.update_batch(shingles(*pair))
        assert np.array_equal(np.frombuffer(made, "<u4"), reference.hashvalues)
        assert made == signature(*pair)
        assert len(made) == 256


@given(words, words)
def test_a_signature_depends_on_the_normalised_text_alone(title: list[str], body: list[str]) -> None:
    plain = signature(" ".join(title), " ".join(body))
    assert signature(" ".join(title).upper(), "  ".join(body).title()) == plain
    assert signature(" — ".join(title) + " !", ", ".join(body) + " https://example.org/x @someone") == plain


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_text_is_a_copy_of_itself(title: str, body: str) -> None:
    one, other = signature(title, body), signature(title, body)
    assert similarity(one, other) == 1.0
    assert keys([one]) == keys([other])
    assert best_match(one, [("first", other)]) == "first"


def test_keys_are_signed_64_bit_stable_and_one_a_band() -> None:
    made = keys([signature("Oil settles higher after surprise drop in stockpiles")])[0]
    assert len(set(made)) == BANDS
    assert all(-(2**63) <= key < 2**63 for key in made)
    # Stored in indexed columns: a change here needs a new VERSION.
    assert made[:2] == (-4657691134072036440, 6288814293815119053)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_the_estimate_is_near_the_true_similarity(seed: int) -> None:
    draw = random.Random(seed)
    errors = []
    for _ in range(30):
        text = [f"w{draw.randrange(10_000)}x".translate(str.maketrans("0123456789", "abcdefghij")) for _ in range(40)]
        other = list(text)
        for place in draw.sample(range(40), draw.randrange(1, 8)):
            other[place] = "changed"
        a, b = shingles(" ".join(text)), shingles(" ".join(other))
        estimate = similarity(signature(" ".join(text)), signature(" ".join(other)))
        errors.append(estimate - len(a & b) / len(a | b))
    assert abs(float(np.mean(errors))) < 0.06  # 5 standard deviations of the mean
    assert max(map(abs, errors)) < 0.35


@pytest.mark.parametrize("headline", HEADLINES)
@pytest.mark.parametrize(
    "repost",
    [
        "RT @trader: {}",
        "UPDATE 1-{}",
        "UPDATE 2-Reuters: {}",
        "RPT-{}",
        "BREAKING: {}",
        "*{}",
        "{} - Reuters",
        "{} | CNBC",
        "{} (Reuters)",
        "{} via @someone",
        "{} https://t.co/abc123",
        "{} #markets #stocks",
        "{}... http://example.org/1?x=2",
        "Bloomberg: {}",
    ],
)
def test_a_repost_with_a_known_marker_is_the_same_text(headline: str, repost: str) -> None:
    assert signature(repost.format(headline)) == signature(headline)


@pytest.mark.parametrize("headline", HEADLINES)
@pytest.mark.parametrize("repost", ["Gazette: {}", "{} $HBK", "{} - Gazette"])
def test_a_repost_with_an_unknown_word_is_a_copy_and_shares_a_key(headline: str, repost: str) -> None:
    one, other = signature(headline), signature(repost.format(headline))
    assert similarity(one, other) >= THRESHOLD
    assert set(keys([one])[0]) & set(keys([other])[0])


TEMPLATES = [
    "{} Q3 profit rises 5 pct",
    "{} beats estimates",
    "{} shares fall after results",
    "{} names new chief executive",
    "Moody's cuts rating of {} to junk",
    "{} to buy back shares worth 2 billion dollars",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_one_template_with_two_companies_is_two_events(template: str) -> None:
    one, other = signature(template.format("Acme Corp")), signature(template.format("Bolt Inc"))
    assert similarity(one, other) < THRESHOLD


@given(
    st.lists(st.sampled_from(["bank", "cuts", "{}", "q{}", "jobs", "{} %", "$ {}"]), min_size=3, max_size=20),
    st.lists(st.one_of(st.integers(0, 10**9), st.decimals(0, 9999, places=2)), min_size=40, max_size=40),
    st.text("bcdfg ", max_size=40),
)
def test_texts_that_differ_in_numbers_alone_are_one_event(text: list[str], numbers: list[object], body: str) -> None:
    """Invariant: no number, wherever it stands and however it is written, makes another event of the same five words
    or more."""
    template = " ".join(text) + " in all there by now"
    count = template.count("{}")
    first, second = template.format(*numbers[:count]), template.format(*numbers[20 : 20 + count])
    assert similarity(signature(first, body), signature(second, body)) == 1.0
    assert keys([signature(first, body)]) == keys([signature(second, body)])


def test_numbers_tell_texts_of_few_words_apart() -> None:
    assert similarity(signature("Notice 17"), signature("Notice 18")) < THRESHOLD
    assert normalise("Notice 17 of 2026") == ("notice", "17", "of", "2026")


def test_numbers_are_masked_however_wires_write_them() -> None:
    assert normalise("Cuts 1,200 jobs, up 5.5% in Q3") == ("cuts", "0", "jobs", "up", "0", "in", "q0")


def test_the_first_sixty_words_of_the_body_count() -> None:
    body = " ".join(["alpha beta gamma delta"] * 15)
    assert signature("Title here", body) == signature("Title here", body + " something else entirely")
    assert signature("Title here", body) != signature("Title here", "omega " + body)


def test_stories_with_one_title_and_other_bodies_are_two_events() -> None:
    one = signature("Company notice", "the board proposes a final dividend to be paid in June after the meeting")
    other = signature("Company notice", "trading in the shares stops today at the request of the exchange")
    assert similarity(one, other) < THRESHOLD


def test_two_bare_links_are_not_copies_of_each_other() -> None:
    assert similarity(signature("https://t.co/a"), signature("https://t.co/b")) < THRESHOLD


def test_a_text_without_spaces_is_read_by_its_characters() -> None:
    text = "三菱商事は通期の純利益予想を上方修正した"
    assert similarity(signature(text), signature("速報" + text)) >= THRESHOLD


def test_the_first_copy_in_the_given_order_is_taken() -> None:
    text = signature(HEADLINES[0])
    near = signature("Gazette: " + HEADLINES[0])
    far = signature(HEADLINES[1])
    assert best_match(text, [("far", far), ("near", near), ("same", text)]) == "near"
    assert best_match(text, [("far", far)]) is None
    assert best_match(text, []) is None


def test_a_long_title_of_dots_and_hashtags_takes_no_time() -> None:
    assert len(signatures([("." * 500_000 + " x", ""), (" #a" * 200_000, ""), ("- " * 300_000, "")])) == 3


def test_a_title_of_white_space_takes_no_longer_than_one_of_words() -> None:
    def seconds(title: str) -> float:
        def once() -> float:
            start = time.process_time()
            normalise(title)
            return time.process_time() - start

        return min(once() for _ in range(5))

    words = seconds("a bc" * 500)
    for space in (" ", "\t \x0b"):
        assert seconds("a" + space * 1_990 + "b") < 20 * words
        assert seconds("a (" + space * 1_990 + "b") < 20 * words
    assert normalise("Acme falls  \t -   Reuters") == normalise("Acme falls - Reuters")
