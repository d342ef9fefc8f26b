"""The meter on steps small enough to count by hand, on real and on fake tensors."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from train.plan.meter import Meter, Saved, fake_weights


def test_what_autograd_keeps_of_a_product_of_two_matrices() -> None:
    layer = nn.Linear(8, 4, bias=False)
    inputs = torch.randn(2, 8)
    with Saved(layer) as saved:
        outputs = layer(inputs)
    assert outputs.requires_grad and saved.total == 2 * 8 * 4  # the inputs; the weight is there anyway


def test_a_storage_counts_once_and_what_is_dropped_does_not() -> None:
    values = torch.randn(10, requires_grad=True)
    with Saved(nn.Module()) as saved:
        kept = values.exp()
        views = [kept[:5].sin(), kept[5:].sin()]
        values.exp().detach()
    assert len(views) == 2 and saved.total == 10 * 4


def test_peak_and_operations_of_a_chain() -> None:
    left, right = torch.randn(10, 20), torch.randn(20, 30)
    meter = Meter()
    meter.add([left, right])
    with meter:
        product = left @ right
        product = product + 1  # for a moment there are two of them
        product = product.sum()
    assert (meter.peak - meter.now) == 2 * 10 * 30 * 4 - 4
    assert meter.flops == 2 * 10 * 20 * 30


def test_fused_attention_of_a_cpu_counts() -> None:
    query = torch.randn(1, 2, 16, 8, requires_grad=True)
    with Meter() as meter:
        functional.scaled_dot_product_attention(query, query, query).sum().backward()
    forward = 2 * (2 * 2 * 16 * 16 * 8)
    assert meter.flops == forward + 5 * forward // 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fake_weights_have_shape_format_and_device(device: str) -> None:
    with torch.device("meta"):
        model = nn.Linear(40_000, 40_000, dtype=torch.bfloat16)
    with fake_weights(model, device), torch.no_grad():
        result = model(torch.empty(3, 40_000, dtype=torch.bfloat16, device=device))
    assert result.shape == (3, 40_000) and result.dtype is torch.bfloat16 and result.device.type == device


def test_a_batch_left_on_the_cpu_is_refused() -> None:
    model = nn.Linear(4, 4)
    with fake_weights(model, "cuda"), torch.no_grad(), pytest.raises(RuntimeError, match="device"):
        model(torch.empty(3, 4))


def test_integers_keep_their_values_under_fake_weights() -> None:
    embedding = nn.Embedding(10, 4)
    with fake_weights(embedding), Meter():
        ids = torch.tensor([[1, 2, 3, 3]])
        states = embedding(ids)
        rows, columns = (ids == 3).nonzero(as_tuple=True)
        assert columns.tolist() == [2, 3]
        assert states[rows, columns].shape == states[ids == 3].shape == (2, 4)
        assert torch.arange(3).tolist() == [0, 1, 2]


def test_dropout_keeps_its_mask_as_a_gpu_does() -> None:
    dropout, inputs = nn.Dropout(0.5), torch.randn(1000, requires_grad=True)
    with Saved(dropout) as on_cpu:
        real = dropout(inputs)
    with fake_weights(dropout), Saved(dropout) as saved:
        fake = dropout(torch.randn(1000, requires_grad=True))
    assert real.shape == fake.shape and (on_cpu.total, saved.total) == (4000, 1000)
