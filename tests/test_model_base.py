"""A base is read back as it was written, or it is refused."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from foreshock.cli import main
from foreshock.model.architecture import Architecture
from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import ModelError
from foreshock.model.storage import write_weights
from foreshock.model.training.base import Base, read_base, write_base

SMALL = Architecture(vocabulary=8, width=8, layers=1, heads=2, inner=8, positions=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")).save(str(tmp_path / "words.json"))
    torch.manual_seed(0)
    tensors = {name: value for name, value in Encoder(SMALL).state_dict().items() if not name.startswith("head.")}
    write_base(tmp_path / "base", Base(SMALL, tensors, tmp_path / "words.json", "small"))
    return tmp_path / "base"


def test_a_base_is_read_as_it_was_written(folder: Path) -> None:
    base = read_base(folder)
    torch.manual_seed(0)
    expected = Encoder(SMALL).state_dict()
    assert base.architecture == SMALL
    assert base.name.startswith("small-")
    assert all(torch.equal(base.tensors[key], expected[key]) for key in base.tensors)
    assert set(expected) - set(base.tensors) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("file", ["encoder.safetensors", "tokenizer.json"])
def test_a_damaged_base_is_refused(folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[-1] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        read_base(folder)


@pytest.mark.parametrize("file", ["encoder.safetensors", "tokenizer.json", "base.json"])
def test_a_base_with_a_file_missing_is_refused(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ModelError, match=f"has no {file}"):
        read_base(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9}'])
def test_a_folder_of_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / "base.json").write_text(text)
    with pytest.raises(ModelError, match="foreshock model pretrain"):
        read_base(folder)


def test_weights_are_a_base_too_without_their_head(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    tensors = Encoder(SMALL).state_dict()
    write_weights(
        tmp_path / "default",
        name="mine",
        tensors=tensors,
        architecture=SMALL,
        tokenizer=folder / "tokenizer.json",
        calibration=Calibration(),
        licence="none",
    )
    monkeypatch.chdir(tmp_path)
    base = read_base(Path("default"))  # the folder here, not the shipped weights of that name
    assert base.name.startswith("mine-")
    assert base.licence == "none"
    assert base.architecture == SMALL
    assert set(tensors) - set(base.tensors) == {"head.weight", "head.bias"}
    torch.testing.assert_close(base.tensors["words.weight"], tensors["words.weight"], atol=2e-3, rtol=1e-3)
    (tmp_path / "default" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="SHA-256"):
        read_base(tmp_path / "default")


def test_a_base_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = str(folder)
    assert main(["model", "finetune", "--data", there, "--base", there, "--out", f"{there}/../base"]) == 2
    assert "would be overwritten" in " ".join(capsys.readouterr().err.replace("│", " ").split())
