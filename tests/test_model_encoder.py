"""The encoder computes the same as BERT, and reads texts without padding."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from foreshock.model.architecture import Architecture
from foreshock.model.checkpoints import from_bert
from foreshock.model.encoder import Encoder, pack
from foreshock.model.errors import ModelError
from foreshock.model.tokenizing import clean

SMALL = Architecture(vocabulary=50, width=32, layers=2, heads=4, inner=64, positions=40)
ROWS = [[1, 7], [1, 9, 30, 2], [1, 8, 44, 2], [1] + [5, 11, 23] * 5 + [2]]


def _bert() -> torch.nn.Module:
    from transformers import BertConfig, BertModel

    torch.manual_seed(3)
    return BertModel(
        BertConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=40,
        )
    ).eval()


def test_it_computes_the_same_as_bert_of_transformers() -> None:
    bert = _bert()
    encoder = Encoder(SMALL).eval()
    state = from_bert({name: tensor.numpy() for name, tensor in bert.state_dict().items()})
    missing = encoder.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=False)
    assert missing.missing_keys == ["head.weight", "head.bias"]
    assert not missing.unexpected_keys
    with torch.inference_mode():
        ours = encoder.embed(pack(ROWS))
        for row, mine in zip(ROWS, ours, strict=True):
            theirs = bert(input_ids=torch.tensor([row])).last_hidden_state[0].mean(dim=0)
            torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=1e-5)


def test_filler_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SMALL).eval()
    with torch.inference_mode():
        torch.testing.assert_close(encoder(pack(ROWS)), encoder(pack(ROWS, 64)), atol=1e-6, rtol=1e-5)


def test_packing_counts_runs_and_places() -> None:
    packed = pack([[1, 2], [3, 4], [5, 6, 7]], 9)
    assert packed.runs == ((2, 2), (1, 3))
    assert packed.lengths.tolist() == [2, 2, 3]
    assert packed.ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0]
    assert packed.places.tolist() == [0, 1, 0, 1, 0, 1, 2, 0, 0]


class _NothingReadBack(TorchDispatchMode):
    """Fail where code reads a tensor's value: a pass on a GPU would have to wait for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_pass_never_waits_for_a_computed_number() -> None:
    encoder = Encoder(SMALL).eval()
    with torch.no_grad(), _NothingReadBack():
        assert encoder(pack(ROWS, 64)).shape == (4, 3)


def test_a_gradient_reaches_every_parameter() -> None:
    encoder = Encoder(SMALL).train()
    encoder(pack(ROWS)).square().sum().backward()
    assert [name for name, value in encoder.named_parameters() if value.grad is None] == []


def test_a_checkpoint_of_another_network_is_refused_and_the_missing_tensor_named() -> None:
    state = {name: value.numpy() for name, value in _bert().state_dict().items() if "layer.1.output.dense" not in name}
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        from_bert(state)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Profit up https://t.co/abc now", "Profit up   now"),
        ("see www.example.com", "see  "),
        ("broken \ud83d pair", "broken \ufffd pair"),
        ("x" * 9_000, "x" * 4_000),
    ],
)
def test_links_and_halves_of_surrogates_are_not_encoded(text: str, kept: str) -> None:
    assert clean(text) == kept
