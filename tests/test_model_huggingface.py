"""Folders of Hugging Face models: what is refused, and that what is scored is what transformers computes.

The models are tiny, with random weights; their tokenizer is written in place. Nothing is downloaded.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from foreshock.cli import main
from foreshock.model.engine import why_not_in_8_bits
from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import label_order, open_folder, stated
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.storage import check_weights, describe_weights

WORDS = [f"word{i}" for i in range(60)]
TEXTS = ["word1 word2", "word3", "", "word4 word5 word6 word7 word8", "word9 " * 40, "unknown word1", "word9 " * 900]
SIZES = {
    "vocab_size": 80,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.6,
}
KINDS = ("bert", "roberta", "deberta-v2")
LABELS = {0: "positive", 1: "Negative", 2: "NEUTRAL"}


def _tokenizer(path: Path, kind: str) -> None:
    marks = ["<s>", "<pad>", "</s>", "<unk>"] if kind == "roberta" else ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    known = {word: i for i, word in enumerate([*marks, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token=marks[3]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{marks[0]} $A {marks[2]}", special_tokens=[(marks[0], 0), (marks[2], 2)]
    )
    tokenizer.enable_padding(pad_id=1, pad_token=marks[1])  # Foreshock must not pad
    tokenizer.save(str(path / "tokenizer.json"))


def _make(path: Path, kind: str, labels: dict[int, str] = LABELS, **more: Any) -> Path:
    """Write a folder with a random model, large enough in its weights that texts get different scores."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(7)
    relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]} if kind == "deberta-v2" else {}
    config = AutoConfig.for_model(
        kind, **SIZES, **relative, pad_token_id=1, max_position_embeddings=130, id2label=labels, **more
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    _tokenizer(path, kind)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: _make(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module")
def scorers(folders: dict[str, Path]) -> dict[str, Scorer]:
    return {kind: load_scorer(f"hf:{path}", "cpu", threads=1, cached=0) for kind, path in folders.items()}


@pytest.fixture
def bert(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the BERT folder, to be damaged."""
    return Path(shutil.copytree(folders["bert"], tmp_path / "copy"))


# --- what is scored


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_transformers_in_the_order_of_our_labels(
    folders: dict[str, Path], scorers: dict[str, Scorer], kind: str
) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folders[kind]).eval()
    tokenizer = Tokenizer.from_file(str(folders[kind] / "tokenizer.json"))
    tokenizer.no_padding()
    expected = []
    for text in TEXTS:
        # The places of all three: 130, less the two before RoBERTa's first; of these, a multiple of 8.
        ids = tokenizer.encode(text).ids
        ids = ids if len(ids) <= 128 else [*ids[:127], 2]
        with torch.inference_mode():
            expected.append(model(input_ids=torch.tensor([ids])).logits[0].softmax(-1)[[1, 2, 0]].numpy())
    found = scorers[kind].score(TEXTS)
    np.testing.assert_allclose(found, np.array(expected), atol=2e-5)
    assert np.ptp(found[:, 0]) > 0.05, "the texts must be told apart for this to say anything"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), min_size=1, max_size=12, unique=True),
    st.data(),
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_the_same_alone_in_any_batch_and_order(
    scorers: dict[str, Scorer], kind: str, texts: list[str], data: st.DataObject
) -> None:
    """Invariant: score(texts)[i] == score([texts[i]])[0] to the bit, in any order."""
    order = data.draw(st.permutations(range(len(texts))))
    alone = np.concatenate([scorers[kind].score([text]) for text in texts])
    assert scorers[kind].score([texts[i] for i in order]).tobytes() == alone[list(order)].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_changes_neither_scores_nor_identity(
    folders: dict[str, Path], scorers: dict[str, Scorer], kind: str
) -> None:
    four = load_scorer(f"hf:{folders[kind]}", "cpu", threads=4, cached=0)
    assert four.score(TEXTS).tobytes() == scorers[kind].score(TEXTS).tobytes()
    assert four.identity == scorers[kind].identity


@pytest.mark.skipif(why_not_in_8_bits() is not None, reason=str(why_not_in_8_bits()))
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_bert_and_roberta_also_run_in_8_bits(folders: dict[str, Path], scorers: dict[str, Scorer], kind: str) -> None:
    eight = load_scorer(f"hf:{folders[kind]}", "cpu", "int8", threads=1, cached=0)
    np.testing.assert_allclose(eight.score(TEXTS), scorers[kind].score(TEXTS), atol=0.1)
    alone = np.concatenate([eight.score([text]) for text in TEXTS])
    assert eight.score(TEXTS).tobytes() == alone.tobytes()
    assert eight.identity != scorers[kind].identity


def test_bert_and_roberta_need_neither_torch_nor_transformers(folders: dict[str, Path]) -> None:
    script = (
        "import sys; from foreshock.model.scorer import load_scorer;"
        f"[load_scorer('hf:' + p, 'cpu').score(['word1']) for p in {[str(folders[k]) for k in ('bert', 'roberta')]}];"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_the_languages_are_those_of_the_settings(folders: dict[str, Path]) -> None:
    scorer = load_scorer(f"hf:{folders['bert']}", "cpu", languages=("de", "fr"))
    assert scorer.languages == {"de", "fr"}
    assert scorer.grade_stories([("word1", "")]) is None
    assert scorer.score_stories([("word1", "word2 word3")]).sum() == 10_000


def test_without_a_tokenizer_json_older_files_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["bert"], tmp_path / "older"))
    before = load_scorer(f"hf:{folder}", "cpu").score(["word1 word2"])
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(["[CLS]", "[PAD]", "[SEP]", "[UNK]", *WORDS]) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    np.testing.assert_allclose(load_scorer(f"hf:{folder}", "cpu").score(["word1 word2"]), before, atol=1e-6)


def test_weights_in_several_files_are_read(
    folders: dict[str, Path], scorers: dict[str, Scorer], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = Path(shutil.copytree(folders["bert"], tmp_path / "parts"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    found = load_scorer(f"hf:{folder}", "cpu", threads=1)
    assert found.score(TEXTS).tobytes() == scorers["bert"].score(TEXTS).tobytes()
    next(folder.glob("model-*.safetensors")).unlink()
    with pytest.raises(ModelError, match=r"has no model-\d+.*which model\.safetensors\.index\.json names"):
        load_scorer(f"hf:{folder}", "cpu")


# --- labels and identity


def test_labels_that_say_nothing_are_refused_and_can_be_stated(tmp_path: Path) -> None:
    folder = _make(tmp_path / "plain", "bert", {i: f"LABEL_{i}" for i in range(3)})
    with pytest.raises(ModelError, match=r"labels are LABEL_0, LABEL_1, LABEL_2, not negative.*\[model\] labels ="):
        load_scorer(f"hf:{folder}", "cpu")
    one = load_scorer(f"hf:{folder}", "cpu", labels=("bullish", "neutral", "bearish"))
    other = load_scorer(f"hf:{folder}", "cpu", labels=["Negative", "neutral", "positive"])
    assert one.identity != other.identity
    np.testing.assert_array_equal(one.score(TEXTS), other.score(TEXTS)[:, ::-1])
    with pytest.raises(ModelError, match=r"\[model\] labels: the labels are positive, positive, negative"):
        load_scorer(f"hf:{folder}", "cpu", labels=("positive", "positive", "negative"))
    with pytest.raises(ModelError, match=r"\[model\] labels: the labels are positive, negative, not"):
        load_scorer(f"hf:{folder}", "cpu", labels=("positive", "negative"))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({i: f"{i + 1} stars" for i in range(5)}, r"the model has 5 labels \(1 stars, 2 stars.*needs three"),
        ({0: "negative", 1: "positive"}, r"the model has 2 labels \(negative, positive\)"),
    ],
)
def test_a_model_with_five_labels_or_two_is_refused(tmp_path: Path, labels: dict[int, str], says: str) -> None:
    folder = _make(tmp_path / "labels", "bert", labels)
    for given_labels in (None, ("negative", "neutral", "positive")):
        with pytest.raises(ModelError, match=says):
            load_scorer(f"hf:{folder}", "cpu", labels=given_labels)


def test_labels_that_do_not_exclude_each_other_are_refused(tmp_path: Path) -> None:
    folder = _make(tmp_path / "several", "bert", problem_type="multi_label_classification")
    with pytest.raises(ModelError, match="do not exclude each other"):
        load_scorer(f"hf:{folder}", "cpu")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_the_identity_changes_with_each_file(bert: Path, file: str) -> None:
    order = label_order(open_folder(f"hf:{bert}"))
    before = open_folder(f"hf:{bert}").identity(order, "a")
    assert before.startswith("hf-copy-")
    assert open_folder(f"hf:{bert}").identity(order, "b") != before
    (bert / file).write_bytes((bert / file).read_bytes() + b" ")
    assert open_folder(f"hf:{bert}").identity(order, "a") != before


# --- what is refused


def test_a_folder_without_a_tokenizer_is_refused(bert: Path) -> None:
    (bert / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_scorer(f"hf:{bert}", "cpu")


def test_a_folder_with_pickled_weights_only_is_refused_and_nothing_is_unpickled(bert: Path) -> None:
    ran = bert / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    (bert / "model.safetensors").unlink()
    torch.save({"classifier.weight": Evil()}, bert / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled only \(pytorch_model\.bin\).*save_pretrained"):
        load_scorer(f"hf:{bert}", "cpu")
    assert not ran.exists()


def test_a_folder_whose_model_is_code_is_refused_and_nothing_is_run(bert: Path) -> None:
    ran = bert / "ran"
    (bert / "modeling.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\n")
    config = json.loads((bert / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModelForSequenceClassification": "modeling.Model"}}
    (bert / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"code in the folder \(auto_map\)"):
        load_scorer(f"hf:{bert}", "cpu")
    assert not ran.exists()


def test_a_kind_that_transformers_does_not_know_is_refused(bert: Path) -> None:
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(config | {"model_type": "own"}))
    with pytest.raises(ModelError, match="transformers cannot load it"):
        load_scorer(f"hf:{bert}", "cpu")


@pytest.mark.parametrize("kind", ["bert", "deberta-v2"])
def test_an_encoder_without_a_head_for_classes_is_refused(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(folders[kind], tmp_path / "headless"))
    tensors = {name: t for name, t in load_file(folder / "model.safetensors").items() if "classifier" not in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"has no classifier\..*not trained to classify"):
        load_scorer(f"hf:{folder}", "cpu")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("model.safetensors", b"\x09", "not a safetensors file"),
        ("model.safetensors", b"\xff" * 40, "its header is longer than the file"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("config.json", b"[", "cannot be read"),
        ("config.json", b"[]", "not a JSON object"),
    ],
)
def test_a_damaged_file_is_a_clear_error(bert: Path, file: str, content: bytes, says: str) -> None:
    (bert / file).write_bytes(content)
    with pytest.raises(ModelError, match=says):
        load_scorer(f"hf:{bert}", "cpu")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"num_attention_heads": 5}, "5 heads"),
        ({"num_attention_heads": None}, "0 heads"),
        ({"num_attention_heads": "4"}, "num_attention_heads is '4', not a whole number"),
        ({"vocab_size": 5_000}, r"states 5,000 tokens \(vocab_size\), but the tensors have 80"),
        ({"max_position_embeddings": 512}, r"states 512 places .*, but the tensors have 130"),
        ({"max_position_embeddings": None}, r"states 512 places .*, but the tensors have 130"),
        ({"max_position_embeddings": 4}, "4 places for tokens, too few"),
        ({"model_type": ["bert"]}, "of which kind"),
        ({"attn_implementation": "somebody/kernel"}, "code of another place"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_refused(bert: Path, changed: dict[str, Any], says: str) -> None:
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(ModelError, match=says):
        load_scorer(f"hf:{bert}", "cpu")


def test_a_head_of_two_classes_is_refused(bert: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(bert / "model.safetensors")
    two = {name: t[:2].clone() if name.startswith("classifier.") else t for name, t in tensors.items()}
    save_file(two, bert / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"states 3 labels \(id2label\), but the tensors have 2"):
        load_scorer(f"hf:{bert}", "cpu")


def test_a_tokenizer_of_another_model_is_refused(bert: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    tokenizer.add_tokens([f"more{i}" for i in range(40)])
    tokenizer.save(str(bert / "tokenizer.json"))
    with pytest.raises(ModelError, match="its tokenizer knows 104 tokens, its model 80"):
        load_scorer(f"hf:{bert}", "cpu")
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(bert / "tokenizer.json"))
    with pytest.raises(ModelError, match="marks no beginning"):
        load_scorer(f"hf:{bert}", "cpu")


def test_8_bits_of_another_kind_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match=r"for BERT and RoBERTa, but it is a model of the kind deberta-v2"):
        load_scorer(f"hf:{folders['deberta-v2']}", "cpu", "int8")


def test_a_folder_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        check_weights(f"hf:{tmp_path / 'none'}")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        check_weights(f"hf:{tmp_path}")


def test_without_transformers_another_kind_says_what_to_install(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"deberta-v2 needs transformers: pip install 'foreshock\[hf\]'"):
        load_scorer(f"hf:{folders['deberta-v2']}", "cpu")


# --- commands


def test_a_folder_is_described_with_what_its_readme_states(bert: Path) -> None:
    (bert / "README.md").write_text(
        "---\nlicense: apache-2.0\nlanguage: [en, de]\ndatasets:\n- financial_phrasebank\n- 'fiqa'\n"
        "tags: x\n---\n# Model\n"
    )
    found = describe_weights(f"hf:{bert}")
    assert found["licence"] == "apache-2.0"
    assert found["languages"] == ["en", "de"]
    assert found["precision"] == "F32 stored"
    assert 10_000 < found["parameters"] < 50_000
    assert stated(bert, "datasets") == ["financial_phrasebank", "fiqa"]
    assert stated(bert, "widget") is None


def test_the_settings_and_doctor_take_such_a_folder(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text('[model]\nweights = "hf:copy"\ndevice = "cpu"\n')  # beside the settings file
    assert main(["config", "check", "--config", str(file)]) == 0
    main(["doctor", "--config", str(file), "--json"])
    report = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert report["model"]["name"] == "hf-copy"
    assert report["device"]["precision"] == "float32"
    assert not [problem for problem in report["problems"] if "model" in problem.lower()]
    file.write_text(f'[model]\nweights = "hf:{bert}"\nlabels = ["good", "bad", "so-so"]\n')
    assert main(["config", "check", "--config", str(file)]) == 2
    assert "the labels are good, bad, so-so" in capsys.readouterr().err
