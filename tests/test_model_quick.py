"""The fast pass of training, and the wide teacher: the same networks as those that score and as MPNet."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder, pack
from foreshock.model.heads import Heads
from foreshock.model.training.news_teacher import read_told, tell
from foreshock.model.training.quick import Wide, hidden, padded, pooled
from foreshock.model.training.steps import by_length
from foreshock.model.training.wide import moved, read_teacher, read_wide, write_wide

pytestmark = pytest.mark.slow

ROWS = [[101, 7, 8, 102], [101, 9, 102], [101, 5, 6, 7, 8, 9, 10, 102], [101, 102]]


def test_the_fast_pass_is_the_pass_that_scores_within_bfloat16() -> None:
    torch.manual_seed(1)
    encoder = Encoder(Architecture(120, 48, 3, 4, 96, 16)).eval()
    ids, there = padded(ROWS)
    with torch.inference_mode():
        quick = encoder.classify(pooled(hidden(encoder, ids, there), there))
        alone = torch.cat([encoder(pack([row])) for row in ROWS])
    assert (quick - alone).abs().max() < 0.02
    assert alone.std() > 0.02


def test_the_teacher_is_mpnet(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(2)
    config = transformers.MPNetConfig(
        vocab_size=120, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=200, layer_norm_eps=1e-12,
    )  # fmt: skip
    theirs = transformers.MPNetModel(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_file(
        {name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "model.safetensors"
    )
    ours = read_wide(tmp_path).eval()
    row = [0, *np.random.default_rng(3).integers(5, 120, 150).tolist(), 2]  # long enough for far distances
    ids, there = padded([row])
    with torch.inference_mode():
        mine = pooled(hidden(ours, ids, there), there)[0]
        wanted = theirs(input_ids=torch.tensor([row])).last_hidden_state.mean(dim=1)[0]
    assert torch.cosine_similarity(mine, wanted, dim=0) > 0.995


def test_tokens_move_by_four_but_for_the_special_ones() -> None:
    assert moved([[101, 1, 2054, 102]]) == [[0, 5, 2058, 2]]


def test_what_a_teacher_told_is_read_back_with_the_texts(tmp_path: Path) -> None:
    torch.manual_seed(4)
    encoder = Wide(Architecture(30_527, 24, 1, 2, 48, 160))
    write_wide(tmp_path, encoder, Heads(24))
    again, _ = read_teacher(tmp_path)
    assert torch.equal(again.words.weight.half(), encoder.words.weight.half())
    data, feeds = tmp_path / "data", tmp_path / "feeds"
    for file, rows in (
        (data / "news_train.jsonl.gz", [{"id": "reuters-1", "text": "Alda falls", "label": "negative"}]),
        (feeds / "a.jsonl.gz", [{"id": "cnbc-1", "title": "Bero rises", "body": "Shares rose."},
                                {"id": "cnbc-2", "title": "Alda falls"}]),
    ):  # fmt: skip
        file.parent.mkdir()
        file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    with torch.inference_mode():
        counts = [tell(tmp_path, data, feeds, tmp_path / f"told{part}", (part, 2)) for part in (0, 1)]
    assert sum(counts) == 2  # the copy of a labelled text is not told again
    told = [row for part in (0, 1) if counts[part] for row in read_told(tmp_path / f"told{part}", data, feeds)]
    assert {(name, one.text) for name, one in told} == {("news", "Alda falls"), (None, "Bero rises -- Shares rose.")}
    for _, one in told:
        assert one.target.sum() == pytest.approx(1, abs=1e-3)
        assert one.grades is not None
        assert ((one.grades > 0) & (one.grades < 1)).all()


@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=30), st.integers(1, 12))
def test_batches_by_length_have_each_row_once_and_the_shortest_first(rows: list[list[int]], batch: int) -> None:
    found = list(by_length(rows, batch))
    places = [place for part in found for place in part]
    assert sorted(places) == list(range(len(rows)))
    lengths = [len(rows[place]) for place in places]
    assert lengths == sorted(lengths)
    assert [len(part) for part in found[:-1]] == [batch] * (len(found) - 1 if found else 0)
    assert all(0 < len(part) <= batch for part in found)
