"""The shipped scorer: scores that are the same bit for bit, and texts of every kind."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.model import scorer as module
from foreshock.model.bench import headlines
from foreshock.model.errors import ModelError
from foreshock.model.evaluation import evaluate
from foreshock.model.scorer import Scorer, load_scorer, quantise

pytestmark = pytest.mark.slow

LABELLED = Path(__file__).parent.parent.parent / "shared" / "data" / "labelled"
# Short and long texts, with repeated and with unique lengths.
POOL = [
    *headlines(40, seed=1),
    "",
    "up",
    " ".join(headlines(4, seed=2)),
    " ".join(headlines(12, seed=3)),
    "损失 扩大",
    "🚀🚀",
]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer(device="cpu")


@pytest.fixture(scope="module")
def alone(scorer: Scorer) -> dict[str, bytes]:
    """The bits of each text's score when it is scored alone."""
    return {text: _fresh(scorer, [text])[0].tobytes() for text in POOL}


def _fresh(scorer: Scorer, texts: list[str]) -> np.ndarray:
    """Score the texts with an empty cache."""
    scorer._cache.clear()
    return scorer.score(texts)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.sampled_from(POOL), max_size=45))
def test_a_score_is_the_same_bit_for_bit_in_each_batch_and_place(
    scorer: Scorer, alone: dict[str, bytes], texts: list[str]
) -> None:
    scores = _fresh(scorer, texts)
    assert [row.tobytes() for row in scores] == [alone[text] for text in texts]


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.sampled_from(POOL), max_size=45))
def test_the_signs_of_a_story_are_those_of_its_embedding_alone(scorer: Scorer, texts: list[str]) -> None:
    scorer._cache.clear()
    scored, signs = scorer.score_stories([(text, "") for text in texts]), scorer.sign_stories([(t, "") for t in texts])
    assert signs is not None
    assert len(scored) == len(signs) == len(texts)
    for text, row in zip(texts, signs, strict=True):
        assert row.tobytes() == np.packbits(scorer.embed([text]) > 0, axis=1).tobytes()


def test_a_model_of_another_house_scores_alike_and_has_no_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, plain = load_scorer(device="cpu"), load_scorer(device="cpu")

    class LastLayer:
        threads, runtime, embed = 1, "", staticmethod(plain._engine.embed)

    monkeypatch.setattr(plain, "_engine", LastLayer())
    assert plain.sign_stories([("up", "")]) is None
    assert (plain.score_stories([(t, "") for t in POOL]) == scorer.score_stories([(t, "") for t in POOL])).all()
    with pytest.raises(ModelError, match="what texts are about"):
        plain.embed(["up"])


def test_all_texts_together_get_the_scores_of_each_alone(scorer: Scorer, alone: dict[str, bytes]) -> None:
    for texts in (POOL, POOL[::-1], POOL * 3):
        assert [row.tobytes() for row in _fresh(scorer, texts)] == [alone[text] for text in texts]


def test_the_cache_changes_nothing_and_is_bounded(scorer: Scorer) -> None:
    forgetful = load_scorer(device="cpu", cached=5)
    first = forgetful.score(POOL[:9])
    assert len(forgetful._cache) == 5
    assert forgetful.score(POOL[:9]).tobytes() == first.tobytes() == scorer.score(POOL[:9]).tobytes()
    assert len(forgetful._cache) == 5


def test_texts_may_be_any_sequence(scorer: Scorer) -> None:
    expected = scorer.score(POOL[:3]).tobytes()
    others: list[Any] = [tuple(POOL[:3]), np.array(POOL[:3], dtype=object), pd.Series(POOL[:3])]
    for texts in others:
        assert scorer.score(texts).tobytes() == expected


def test_the_last_call_is_remembered_only_if_it_is_small(scorer: Scorer) -> None:
    scorer.score(POOL[:2])
    assert scorer._last[0] == POOL[:2]
    scorer.score([POOL[0]] * 1_025)
    assert scorer._last[0] == POOL[:2]


def test_a_cached_text_is_not_encoded_again(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _fresh(scorer, POOL[:3])
    monkeypatch.setattr(scorer, "_encode", None)
    assert scorer.score(POOL[2::-1]).tobytes() == first[::-1].tobytes()


def test_scores_are_float32_rows_that_sum_to_one(scorer: Scorer) -> None:
    scores = scorer.score(POOL)
    assert scores.shape == (len(POOL), 3)
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows(scorer: Scorer) -> None:
    assert scorer.score([]).shape == (0, 3)
    assert scorer.score([]).dtype == np.float32
    assert scorer.score_stories([]).shape == (0, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "😀🚀📉" * 50,
        "\ud800 lone \udfff surrogates \ud83d",
        "word " * 10_000,
        "x" * 50_000,
        "公司净利润同比下降百分之三十",
        "\x00\x01\x02 nul and controls \x7f",
        bytes(range(256)).decode("latin-1"),
        "\u202e\u0301\u200d\ufeff",
    ],
)
def test_any_string_can_be_scored(scorer: Scorer, text: str) -> None:
    assert np.isfinite(scorer.score([text, "Profit rose"])).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(max_size=80).map(lambda data: data.decode("utf-8", "surrogateescape")), max_size=6))
def test_random_bytes_can_be_scored(scorer: Scorer, texts: list[str]) -> None:
    assert scorer.score_stories([(text, "") for text in texts]).sum() == 10_000 * len(texts)


def test_good_news_is_positive_and_bad_news_negative(scorer: Scorer) -> None:
    texts = [
        "Operating profit fell sharply and the company cut its dividend",
        "The annual general meeting will be held in Helsinki on 4 May",
        "Operating profit rose to a record and the company raised its outlook",
    ]
    assert scorer.score(texts).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_link_changes_nothing(scorer: Scorer) -> None:
    text = "Aldmont plc misses quarterly forecasts"
    assert scorer.score([text]).tobytes() == scorer.score([f"{text} https://t.co/x1Y2z"]).tobytes()


def test_the_title_comes_first_and_the_body_fills_what_is_left(scorer: Scorer) -> None:
    title, body = "Talgate Energy faces a probe", "Shares fell 12 percent. " * 100
    stories = scorer.score_stories([(title, ""), (title, body), (title, body[:900]), (title, "Shares rose.")])
    assert stories.dtype == np.int32
    assert (stories.sum(axis=1) == 10_000).all()
    assert (stories[0] == quantise(scorer.score([title]))[0]).all()
    assert (stories[1] == stories[2]).all()  # both are cut at 128 tokens
    assert (stories[0] != stories[3]).any()


@given(
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3).filter(lambda row: sum(row) > 1e-3), max_size=8).map(
        lambda rows: np.array(rows, dtype=np.float32).reshape(-1, 3)
    )
)
def test_integers_sum_to_ten_thousand_and_are_within_one_of_the_exact_share(rows: np.ndarray) -> None:
    whole = quantise(rows)
    exact = rows.astype(np.float64) / rows.astype(np.float64).sum(axis=1, keepdims=True) * 10_000
    assert whole.dtype == np.int32
    assert (whole.sum(axis=1) == 10_000).all()
    assert (whole >= 0).all()
    assert (np.abs(whole - exact) < 1).all()


def test_ties_of_remainders_go_to_the_left() -> None:
    third = np.full((1, 3), 1 / 3)
    assert quantise(third).tolist() == [[3334, 3333, 3333]]
    assert quantise(np.array([[0.00005, 0.5, 0.49995]])).sum() == 10_000
    assert quantise(np.array([[0.25005, 0.25005, 0.4999]])).tolist() == [[2501, 2500, 4999]]


def test_the_identity_is_short_names_the_weights_and_is_stable(scorer: Scorer) -> None:
    again = load_scorer("default", "cpu")
    assert again.identity == scorer.identity
    assert scorer.identity.startswith("default-")
    assert len(scorer.identity) == len("default-") + 12
    assert load_scorer("permissive", "cpu").identity.startswith("permissive-")
    assert scorer.languages == frozenset({"en"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_a_clear_error() -> None:
    with pytest.raises(ModelError, match="no CUDA device"):
        load_scorer(device="cuda")


@pytest.fixture(scope="module")
def on_gpu() -> Scorer:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return load_scorer(device="cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [False, True])
def test_bf16_on_a_gpu_is_stable_bit_for_bit_and_near_float32(on_gpu: Scorer, *, compiled: bool) -> None:
    half = load_scorer(device="cuda", precision="bf16", torch_compile=compiled)
    together = _fresh(half, POOL)
    assert _fresh(half, POOL[::-1])[::-1].tobytes() == together.tobytes()
    assert all(_fresh(half, [text])[0].tobytes() == row.tobytes() for text, row in zip(POOL, together, strict=True))
    np.testing.assert_allclose(together, _fresh(on_gpu, POOL), atol=0.05)
    assert half.identity != on_gpu.identity


@pytest.mark.cuda
@pytest.mark.skipif(not LABELLED.is_dir(), reason="the labelled sets are not here")
def test_bf16_on_a_gpu_loses_at_most_0_3_points_of_f1(on_gpu: Scorer) -> None:
    half = load_scorer(device="cuda", precision="bf16")
    for name in ("news", "fpb", "tfns", "sentfin"):
        file = LABELLED / f"{name}_valid.jsonl.gz"
        assert evaluate(half, file)["weighted_f1"] >= evaluate(on_gpu, file)["weighted_f1"] - 0.003, name


@pytest.mark.cuda
def test_on_a_gpu_scores_are_stable_bit_for_bit_and_close_to_the_cpu(on_gpu: Scorer, scorer: Scorer) -> None:
    together = _fresh(on_gpu, POOL)
    assert _fresh(on_gpu, POOL[::-1])[::-1].tobytes() == together.tobytes()
    assert all(_fresh(on_gpu, [text])[0].tobytes() == row.tobytes() for text, row in zip(POOL, together, strict=True))
    np.testing.assert_allclose(together, _fresh(scorer, POOL), atol=1e-4)
    assert on_gpu.identity != scorer.identity


def test_the_shipped_records_describe_the_shipped_weights(scorer: Scorer) -> None:
    for name in ("default", "permissive"):
        folder = module.open_weights(name)  # type: ignore[attr-defined]
        record = json.loads((folder.path.parent.parent / "runs" / f"{name}.json").read_text())
        assert record["calibration"] == folder.card["calibration"]
        assert record["settings"]["name"] == folder.name
        assert (folder.path / "model.safetensors").stat().st_size < 50_000_000


def test_the_headlines_of_the_bench_contain_no_labelled_text() -> None:
    if not LABELLED.is_dir():
        pytest.skip("the labelled sets are not here")
    rows = gzip.decompress((LABELLED / "fpb_train.jsonl.gz").read_bytes()).splitlines()
    theirs = {json.loads(row)["text"].casefold() for row in rows}
    assert not theirs & {text.casefold() for text in headlines(2_000, seed=0)}
