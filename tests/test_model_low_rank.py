"""Layers of their own for one company: exact sums, refused where they do not fit, and nothing to a text's own score."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL, small_base

from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder, pack
from foreshock.model.entities import mark
from foreshock.model.errors import ModelError
from foreshock.model.heads import Heads, HeadsCard, find_marks, gather, split_heads
from foreshock.model.low_rank import BELOW, MOST, Change, changed, check_change
from foreshock.model.quantised import export
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.storage import describe_weights, open_weights, read_arrays, write_change, write_weights
from foreshock.model.tokenizing import load_tokenizer

pytestmark = pytest.mark.slow

ASKED = [("alda beats bero", "alda"), ("alda beats bero", "bero"), ("cima falls", "cima"), ("alda " * 90, "alda")]
TEXTS = [text for text, _ in ASKED]


def _change(seed: int = 0, rank: int = 3, layers: Sequence[int] = (0, 1)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = {"query_key_value": (96, 32), "attention_out": (32, 32), "inner": (64, 32), "outer": (32, 64)}
    made = {"heads.entity.weight": random.normal(size=(3, 32)), "heads.entity.bias": random.normal(size=3)}
    for layer in layers:
        for name, (outputs, inputs) in sizes.items():
            made[f"layers.{layer}.{name}.up"] = random.uniform(-0.4, 0.4, (outputs, rank))
            made[f"layers.{layer}.{name}.down"] = random.uniform(-0.4, 0.4, (rank, inputs))
    return {name: tensor.astype(np.float16) for name, tensor in made.items()}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Small weights with heads."""
    base = small_base(tmp_path, ["beats", "falls"])
    torch.manual_seed(2)
    tensors = Encoder(SMALL).state_dict() | {f"heads.{k}": 5 * v for k, v in Heads(32).state_dict().items()}
    write_weights(
        tmp_path / "weights",
        name="small",
        tensors=tensors | base.tensors,
        architecture=SMALL,
        tokenizer=base.tokenizer,
        calibration=Calibration(),
        licence="none",
        heads=HeadsCard(1.0, Calibration()),
    )
    return tmp_path / "weights"


@pytest.fixture
def folder(plain: Path) -> Path:
    """The same weights with layers for companies."""
    write_change(plain, _change(), Calibration(0.7, 0.1))
    return plain


def _towards(scorer: Scorer) -> np.ndarray:
    return scorer.score(TEXTS, [name for _, name in ASKED])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rank=st.integers(1, MOST))
def test_sums_are_the_same_in_any_order(seed: int, rank: int) -> None:
    random = np.random.default_rng(seed)
    edge = np.nextafter(np.float16(BELOW), np.float16(0))
    up, down = (
        random.choice([edge, -edge, np.float16(6e-8), *random.uniform(-0.5, 0.5, 5)], shape).astype(np.float16)
        for shape in ((6, rank), (rank, 4))
    )
    tensors = {"layers.0.inner.weight": random.normal(size=(6, 4)).astype(np.float16).astype(np.float32)}
    order = random.permutation(rank)
    made = [
        changed(tensors, {"layers.0.inner.up": u, "layers.0.inner.down": d})["layers.0.inner.weight"]
        for u, d in ((up, down), (up[:, order], down[order]))
    ]
    assert made[0].tobytes() == made[1].tobytes()


@pytest.mark.parametrize("layers", [(0, 1), (1,)])
def test_matrices_of_the_named_layers_change_and_all_else_stays(plain: Path, layers: tuple[int, ...]) -> None:
    tensors, change = read_arrays(open_weights(str(plain))), _change(layers=layers)
    check_change(change, SMALL)
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    made = changed(tensors, change)
    assert made.keys() == tensors.keys()
    differing = {name for name, tensor in made.items() if (tensor != tensors[name]).any()}
    parts = ("query_key_value", "attention_out", "inner", "outer")
    matrices = {f"layers.{layer}.{name}.weight" for layer in layers for name in parts}
    assert differing == matrices | {"heads.entity.weight", "heads.entity.bias"}
    assert all((tensors[name] == before[name]).all() for name in before)


def _without(change: Change) -> Change:
    return {name: tensor for name, tensor in change.items() if name != "layers.1.outer.up"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (_without(_change()), "layers.1.outer.up"),
        (_change() | {"layers.0.inner.up": np.zeros((64, 2), np.float16)}, "do not fit"),
        (_change(rank=MOST + 1), "do not fit"),
        (_change() | {"layers.0.inner.up": np.full((64, 3), 0.5, np.float16)}, "not below 0.5"),
        (_change() | {"layers.0.inner.up": np.full((64, 3), np.nan, np.float16)}, "not below 0.5"),
        (_change() | {"heads.entity.weight": np.zeros((5, 32), np.float16)}, r"expected \(3, 32\)"),
        (_change(layers=(1, 2)), "unknown tensors: layers.2"),
        (_change() | {"heads.entity.bias": np.full(3, np.inf, np.float16)}, "finite"),
        (_change() | {"words.weight": np.zeros(3, np.float16)}, "unknown tensors: words.weight"),
    ],
)
def test_what_does_not_fit_is_refused(plain: Path, wrong: Change, says: str) -> None:
    with pytest.raises((ValueError, KeyError), match=says):
        check_change(wrong, SMALL)
    write_change(plain, wrong, Calibration())
    with pytest.raises(ModelError, match="does not fit its model"):
        load_scorer(str(plain), "cpu")


def test_a_text_s_own_score_does_not_change_by_a_bit_and_one_towards_a_company_does(plain: Path) -> None:
    before = load_scorer(str(plain), "cpu")
    texts, severity, towards = before.score(TEXTS), before.severity(TEXTS), _towards(before)
    write_change(plain, _change(), Calibration(0.7, 0.1))
    after = load_scorer(str(plain), "cpu")
    assert after.score(TEXTS).tobytes() == texts.tobytes()
    assert after.severity(TEXTS).tobytes() == severity.tobytes()
    assert (_towards(after) != towards).any(axis=1).all()
    assert after.identity != before.identity


def test_sets_are_added_to_those_of_the_weights_where_these_are_known(plain: Path) -> None:
    file = plain / "model.json"
    write_change(plain, _change(), Calibration(), ["news"])
    card = json.loads(file.read_text())
    assert "trained_on" not in card
    before = open_weights(str(plain)).identity("")
    file.write_text(json.dumps(card | {"trained_on": ["tfns", "lines"]}))
    write_change(plain, _change(), Calibration(), ["tfns", "rivals"])
    assert json.loads(file.read_text())["trained_on"] == ["tfns", "lines", "rivals"]
    assert open_weights(str(plain)).identity("") == before


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_scores_towards_a_company_are_the_same_in_any_batch_and_with_an_exported_file(
    folder: Path, precision: str
) -> None:
    try:
        scorer = load_scorer(str(folder), "cpu", precision)  # type: ignore[arg-type]
    except ModelError as error:
        pytest.skip(str(error))
    together = _towards(scorer)
    for row, (text, name) in zip(together, ASKED, strict=True):
        scorer._cache.clear()
        assert scorer.score([text], [name])[0].tobytes() == row.tobytes()
    export(open_weights(str(folder)), read_arrays(open_weights(str(folder))))
    again = load_scorer(str(folder), "cpu", precision)  # type: ignore[arg-type]
    assert again.identity == scorer.identity
    assert _towards(again).tobytes() == together.tobytes()


def test_the_engine_for_companies_computes_what_torch_computes(folder: Path) -> None:
    weights = open_weights(str(folder))
    encoder = Encoder(SMALL).eval()
    made = changed(read_arrays(weights), _change())
    encoder.load_state_dict(split_heads({name: torch.from_numpy(tensor) for name, tensor in made.items()})[0])
    marked = [one for one in mark(load_tokenizer(weights.tokenizer), TEXTS, [name for _, name in ASKED]) if one]
    found = load_scorer(str(folder), "cpu", "float32")._company_engine.embed(
        [one.ids for one in marked], [one.marks for one in marked]
    )
    for one, row in zip(marked, found, strict=True):
        packed = pack([one.ids])
        with torch.inference_mode():
            expected = gather(encoder.hidden(packed), find_marks(packed, [one.marks]))[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_a_damaged_or_missing_file_is_refused_when_the_weights_are_loaded(folder: Path) -> None:
    file = folder / "companies.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert describe_weights(str(folder))["sha256_ok"] is False
    with pytest.raises(ModelError, match=r"companies\.safetensors: its SHA-256 is not the one"):
        load_scorer(str(folder), "cpu")
    file.unlink()
    with pytest.raises(ModelError, match=r"has no companies\.safetensors"):
        load_scorer(str(folder), "cpu")
