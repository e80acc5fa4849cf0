"""Folders of weights are written, read and described, and refused when damaged or foreign."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from foreshock.model.architecture import Architecture
from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import ModelError
from foreshock.model.labels import file_sha256
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import describe_weights, open_weights, read_tensors, write_weights

SMALL = Architecture(vocabulary=8, width=16, layers=1, heads=2, inner=16, positions=128)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small but complete folder of weights."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "up": 4, "down": 5, "flat": 6, "is": 7}
    tokenizer = tmp_path / "plain.json"
    Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")).save(str(tokenizer))
    torch.manual_seed(0)
    write_weights(
        tmp_path / "weights",
        name="small",
        tensors=Encoder(SMALL).state_dict(),
        architecture=SMALL,
        tokenizer=tokenizer,
        calibration=Calibration(1.5, 0.1),
        licence="none",
    )
    return tmp_path / "weights"


def _edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))


def _restate(folder: Path) -> None:
    """Write the hashes of the present files into model.json, as a forger would."""
    _edit(folder, sha256={name: file_sha256(folder / name) for name in ("model.safetensors", "tokenizer.json")})


def test_weights_are_read_back_to_half_precision(folder: Path) -> None:
    torch.manual_seed(0)
    for name, tensor in Encoder(SMALL).state_dict().items():
        torch.testing.assert_close(read_tensors(open_weights(str(folder)))[name], tensor, atol=2e-3, rtol=1e-3)


def test_the_description_states_name_licence_languages_and_size(folder: Path) -> None:
    described = describe_weights(str(folder))
    assert described["name"] == "small"
    assert described["licence"] == "none"
    assert described["languages"] == ["en"]
    assert described["sha256_ok"] is True
    assert described["bytes"] == (folder / "model.safetensors").stat().st_size


def test_a_damaged_file_is_refused_and_described_as_damaged(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert describe_weights(str(folder))["sha256_ok"] is False
    with pytest.raises(ModelError, match=r"model\.safetensors: its SHA-256 is not the one.*restore"):
        load_scorer(str(folder), "cpu")


def test_a_changed_tokenizer_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"up"', '"upp"'))
    with pytest.raises(ModelError, match=r"tokenizer\.json: its SHA-256"):
        load_scorer(str(folder), "cpu")


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_with_a_correct_hash_is_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Payload(tmp_path / "was-run")))
    _restate(folder)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_scorer(str(folder), "cpu")
    assert not (tmp_path / "was-run").exists()


def test_tensors_that_do_not_fit_the_card_are_refused(folder: Path) -> None:
    _edit(folder, architecture={"vocabulary": 8, "width": 32, "layers": 1, "heads": 2, "inner": 16, "positions": 128})
    with pytest.raises(ModelError, match=r"does not fit its model\.json"):
        load_scorer(str(folder), "cpu")


def test_a_calibration_that_is_not_finite_is_refused(folder: Path) -> None:
    _edit(folder, calibration={"offset": float("nan"), "slope": 0.1})
    with pytest.raises(ModelError, match=r"does not fit its model\.json \(Calibration\(offset=nan.*not finite\)"):
        load_scorer(str(folder), "cpu")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "not a weights card"),
        ('{"format": 99}', "not a weights card"),
        ('{"format": 1, "name": "x"}', "missing or incomplete"),
    ],
)
def test_a_foreign_card_is_refused(folder: Path, content: str, says: str) -> None:
    (folder / "model.json").write_text(content)
    with pytest.raises(ModelError, match=rf"model\.json.*{says}"):
        open_weights(str(folder))


def test_labels_in_another_order_are_refused(folder: Path) -> None:
    _edit(folder, labels=["positive", "neutral", "negative"])
    with pytest.raises(ModelError, match="its labels are"):
        open_weights(str(folder))


def test_a_missing_folder_card_or_file_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "desk.json").write_text("{}")
    with pytest.raises(ModelError, match=r"did you mean .*/desk\.json\?"):
        open_weights(str(tmp_path / "dsek.json"))
    with pytest.raises(ModelError, match="no such folder of weights"):
        open_weights(str(tmp_path / "none"))
    with pytest.raises(ModelError, match=r"has no model\.json"):
        open_weights(str(tmp_path))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        open_weights(str(folder))


def test_the_identity_changes_with_weights_calibration_and_runtime(folder: Path) -> None:
    before = open_weights(str(folder)).identity("a")
    assert before.startswith("small-")
    assert open_weights(str(folder)).identity("a") == before
    assert open_weights(str(folder)).identity("b") != before
    _edit(folder, calibration={"offset": 1.6, "slope": 0.1})
    assert open_weights(str(folder)).identity("a") != before


def test_describing_weights_imports_no_torch() -> None:
    code = (
        "import sys, foreshock.model.settings\n"
        "from foreshock.model.storage import describe_weights\n"
        "for name in ('default', 'permissive'): assert describe_weights(name)['sha256_ok'], name\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
