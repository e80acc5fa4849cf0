"""The second look: it only calls texts bad, only where it is sure, and leaves every other score as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import SMALL, small_base

from benchmarks.crisis_kinds import TEXTS, compared, figures, read_texts
from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import ModelError
from foreshock.model.heads import Heads, HeadsCard
from foreshock.model.scorer import load_scorer
from foreshock.model.second_look import FROM, SURE, SecondLook
from foreshock.model.storage import open_weights, write_second_look, write_weights
from foreshock.model.training import kinds
from foreshock.model.training.check import built_in_check
from foreshock.model.training.kinds import Examples, KindsSettings, fit
from foreshock.model.training.written import shared_words, written

WIDTH = 4


def looking_for(place: int) -> dict[str, np.ndarray]:
    """A network that finds a text bad, seriously so, where the number at `place` of the two embeddings is above 1."""
    inner = np.zeros((1, 2 * WIDTH))
    inner[0, place] = 1
    outer = np.array([[8.0], [8.0], [1.0]])
    tensors = {"inner.weight": inner, "inner.bias": np.zeros(1), "outer.weight": outer}
    return {name: one.astype(np.float16) for name, one in {**tensors, "outer.bias": np.full(3, -8.0)}.items()}


def test_a_text_that_is_surely_bad_is_called_bad_and_no_other_changes() -> None:
    look = SecondLook(looking_for(WIDTH), WIDTH)
    last, middle = np.zeros((4, WIDTH), np.float32), np.zeros((4, WIDTH), np.float32)
    middle[:, 0] = 2, 1, 2, 0
    before = np.array(
        [[0.2, 0.6, 0.2, 0.1], [0.2, 0.6, 0.2, 0.1], [0.9, 0.06, 0.04, 2.5], [0.1, 0.1, 0.8, 0.0]], np.float32
    )
    rows = before.copy()
    found = look.look(last, middle, rows)
    assert found.tolist() == [True, False, False, False], "the second is unsure, the third bad already"
    assert rows[1:].tobytes() == before[1:].tobytes()
    bad, neutral, positive, severity = rows[0].tolist()
    assert bad > SURE
    assert bad + neutral + positive == pytest.approx(1)
    assert neutral / positive == pytest.approx(3)
    assert severity == pytest.approx(2 * bad + 1 / (1 + np.exp(6)), abs=1e-5), (
        "bad, and serious as surely; hardly grave"
    )


def test_the_part_of_the_second_look_rises_evenly() -> None:
    before = np.array([[0.2, 0.6, 0.2, 0.1]], np.float32)
    found = []
    for bad in np.linspace(FROM - 0.05, SURE + 0.05, 81):
        rows, place = before.copy(), (np.log(bad / (1 - bad)) + 8) / 8
        middle = np.array([[place, 0, 0, 0]], np.float32)
        SecondLook(looking_for(WIDTH), WIDTH).look(np.zeros_like(middle), middle, rows)
        assert rows[0, :3].sum() == pytest.approx(1)
        found.append(float(rows[0, 0]))
    steps = np.diff(found)
    assert found[0] == pytest.approx(0.2)
    assert found[-1] == pytest.approx(SURE + 0.05, abs=1e-3)
    assert (steps >= -1e-6).all()
    assert steps.max() < 0.03, "no jump"


def test_what_is_looked_for_does_not_depend_on_other_texts() -> None:
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=one.shape).astype(np.float16) for name, one in looking_for(0).items()}
    look = SecondLook(tensors, WIDTH)
    last, middle = random.normal(size=(2, 9, WIDTH)).astype(np.float32)
    together = look.levels(last, middle)
    assert (np.diff(together, axis=1) <= 0).all(), "a higher level is never likelier"
    for i in range(len(last)):
        assert look.levels(last[i : i + 1], middle[i : i + 1])[0].tobytes() == together[i].tobytes()


@pytest.mark.parametrize("name", ["inner.weight", "outer.bias"])
def test_tensors_that_do_not_fit_are_refused(name: str) -> None:
    tensors = looking_for(0)
    tensors[name] = tensors[name][..., :-1]
    with pytest.raises(ValueError, match=name):
        SecondLook(tensors, WIDTH)
    with pytest.raises(ValueError, match="finite"):
        SecondLook({**looking_for(0), name: np.full_like(looking_for(0)[name], np.nan)}, WIDTH)


def small_weights(tmp_path: Path, *, heads: bool) -> Path:
    """Write small weights, with or without heads for severity and companies."""
    base = small_base(tmp_path, ["beats", "falls"])
    torch.manual_seed(2)
    tensors = Encoder(SMALL).state_dict()
    if heads:
        tensors |= {f"heads.{k}": v for k, v in Heads(SMALL.width).state_dict().items()}
    write_weights(
        tmp_path / "weights",
        name="small",
        tensors=tensors | base.tensors,
        architecture=SMALL,
        tokenizer=base.tokenizer,
        calibration=Calibration(),
        licence="none",
        heads=HeadsCard(1.0, Calibration()) if heads else None,
        trained_on=["tfns"],
    )
    return tmp_path / "weights"


def test_weights_with_a_second_look_have_an_identity_of_their_own_and_are_checked(tmp_path: Path) -> None:
    folder = small_weights(tmp_path, heads=True)
    texts = ["alda falls", "bero beats alda", ""]
    plain = load_scorer(str(folder), "cpu", "float32")
    scores = plain.score(texts)
    always = {"inner.weight": np.zeros((1, 2 * SMALL.width)), "inner.bias": np.ones(1), "outer.weight": np.ones((3, 1))}
    tensors = {name: one.astype(np.float16) for name, one in {**always, "outer.bias": np.full(3, 4.0)}.items()}
    write_second_look(folder, tensors, ["kinds"])
    looking = load_scorer(str(folder), "cpu", "float32")
    assert looking.identity != plain.identity
    assert (looking.score(texts).argmax(axis=1) == 0).all()
    missed = scores.argmax(axis=1) != 0
    assert missed.any()
    assert looking.severity(texts)[missed] == pytest.approx(3 / (1 + np.exp(-5)), abs=1e-3)
    about = [scorer.sign_stories([(text, "") for text in texts]) for scorer in (looking, plain)]
    assert about[0] is not None
    assert about[1] is not None
    np.testing.assert_array_equal(about[0], about[1], err_msg="what is similar stays")
    assert looking.read_by(looking.answers).score(texts).tobytes() == scores.tobytes(), "other heads look once"
    assert open_weights(str(folder)).card["trained_on"] == ["tfns", "kinds"]
    file = folder / "second_look.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="its SHA-256 is not the one"):
        load_scorer(str(folder), "cpu", "float32")


def test_a_second_look_needs_weights_that_grade_news(tmp_path: Path) -> None:
    folder = small_weights(tmp_path, heads=False)
    tensors = {"inner.weight": np.zeros((1, 64)), "inner.bias": np.ones(1), "outer.weight": np.ones((3, 1))}
    write_second_look(
        folder, {name: one.astype(np.float16) for name, one in {**tensors, "outer.bias": np.zeros(3)}.items()}
    )
    with pytest.raises(ModelError, match="severity"):
        load_scorer(str(folder), "cpu", "float32")


def test_the_network_learns_lines_and_keeps_what_is_held() -> None:
    random = np.random.default_rng(0)
    fresh, held = (random.normal(size=(200, 2 * WIDTH)).astype(np.float32) for _ in range(2))
    fresh[:, 0], held[:, 0] = np.abs(fresh[:, 0]) + 2, -np.abs(held[:, 0]) - 2
    settings = KindsSettings(networks=2, hidden=4, steps=40, batch=32, learning_rate=0.05, dropout=0.0)
    levels = np.full((200, 3), np.nan, np.float32)
    levels[:, 0] = 0.1
    tensors = fit(Examples(fresh, np.ones((200, 3), np.float32)), Examples(held, levels), settings)
    look = SecondLook(tensors, WIDTH)
    assert look.levels(*np.split(fresh, 2, axis=1))[:, 0].mean() > 0.8
    assert look.levels(*np.split(held, 2, axis=1))[:, 0].mean() < 0.2
    again = fit(Examples(fresh, np.ones((200, 3), np.float32)), Examples(held, levels), settings)
    assert all(again[name].tobytes() == one.tobytes() for name, one in tensors.items())


def test_lines_of_kinds_are_nobody_elses_and_none_that_measures() -> None:
    texts = [row.text for row in written(kinds.WORDS)]
    assert len(texts) > 400
    for others in ([one.text for one in read_texts(TEXTS)], built_in_check().texts):
        shared, _ = shared_words(texts, others)
        assert not shared


def test_the_benchmark_counts_what_is_called_negative() -> None:
    texts = read_texts()
    bad = np.array([one.label == "negative" for one in texts])
    assert {one.kind for one in texts if one.half == "probe"} == {one.kind for one in texts if one.half == "choice"}
    found = figures(texts, bad)
    assert found["both"]["bad"] == {"texts": int(bad.sum()), "called_negative": 1.0}
    assert found["probe"]["look_alikes"]["called_negative"] == 0.0
    better = compared(texts, bad, np.zeros(len(texts), dtype=bool))
    assert better["bad"]["lost"] == 0
    assert better["bad"]["difference"] == 1.0
    assert better["look_alikes"]["gained"] == better["look_alikes"]["lost"] == 0
