"""Attention kinds: each is what its mask or recurrence says, in float64."""

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model import attention_kernels
from scalinglab.model.attention import ATTENTIONS, CausalAttention
from scalinglab.model.counts import count
from scalinglab.model.positions import POSITIONS
from scalinglab.model.shape import shape_of


def build(options: config.Model, kind: str, **changes: object) -> CausalAttention:
    """One layer of four heads of width 8, with random weights."""
    options = dataclasses.replace(options, head_dim=8, attention=kind, **changes)  # type: ignore[arg-type]
    shape = shape_of("d32", options, vocab_size=50, seq_len=64)
    layer = ATTENTIONS[kind](shape, POSITIONS["rope"](shape, 10_000.0)).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return layer


def inputs(length: int) -> torch.Tensor:
    return torch.randn(2, length, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("kv_groups", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 7, 16, 61])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_the_output_is_the_weighted_sum_of_values(
    options: config.Model, kind: str, length: int, kv_groups: int
) -> None:
    """The fast form against the matrix of weights, which says who reads whom; gradients too."""
    layer = build(options, kind, window=5, kv_groups=kv_groups)
    x = inputs(length).requires_grad_()
    plain = layer.weights(x) @ layer._for_each_query_head(layer._project(x)[2])
    plain = layer.out(plain.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x), plain)
    ours, theirs = (torch.autograd.grad(y.square().sum(), x)[0] for y in (layer(x), plain))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("kind", "distances"), [("window", {0, 1, 2, 3}), ("strided", {0, 1, 2, 3, 4, 8, 12, 16, 20})])
def test_sparse_kinds_read_what_they_are_named_after(options: config.Model, kind: str, distances: set[int]) -> None:
    weights = build(options, kind, window=4).weights(inputs(24))
    read = {i - j for i in range(24) for j in range(24) if weights[:, :, i, j].max() > 0}
    assert read == distances
    shape = dataclasses.replace(shape_of("d32", options, 50, 24), window=4)
    assert ATTENTIONS[kind].pairs(shape) == int((weights[0, 0] > 0).sum())


@pytest.mark.parametrize("kind", ["window", "strided"])
def test_a_window_as_long_as_the_context_is_full_attention(options: config.Model, kind: str) -> None:
    x = inputs(24)
    torch.testing.assert_close(build(options, kind, window=24)(x), build(options, "causal")(x))


def test_linear_attention_is_a_recurrent_network(options: config.Model) -> None:
    """Across the borders of chunks too."""
    generator = torch.Generator().manual_seed(0)
    qkv = [torch.rand(2, 3, 150, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]
    chunks, steps = attention_kernels.linear(*qkv), attention_kernels.linear_recurrent(*qkv)
    torch.testing.assert_close(chunks, steps)
    ours, theirs = (torch.autograd.grad(y.square().sum(), qkv) for y in (chunks, steps))
    torch.testing.assert_close(ours, theirs)


def test_grouped_queries_of_one_head_each_are_plain_attention(options: config.Model) -> None:
    """A key-value head for each query head; and grouped heads are plain ones that share their keys and values."""
    x = inputs(24)
    grouped, plain = build(options, "causal", kv_groups=2), build(options, "causal", kv_groups=1)
    with torch.no_grad():
        q, k, v = grouped.qkv.weight.split([32, 16, 16])
        shared = [part.unflatten(0, (2, 8)).repeat_interleave(2, dim=0).flatten(0, 1) for part in (k, v)]
        plain.qkv.weight.copy_(torch.cat([q, *shared]))
    torch.testing.assert_close(grouped(x), plain(x))


def test_the_fused_kernel_is_the_plain_formula(options: config.Model) -> None:
    """In float64, and with its gradients. A bias takes the formula: the fused kernel of a CPU knows no such mask."""
    layer, x = build(options, "causal"), inputs(24).requires_grad_()
    assert x.dtype == torch.float64
    found = []
    for kernel in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):  # with one alone torch refuses what it cannot do
        with sdpa_kernel(kernel):
            y = layer(x)
            found.append((y, *torch.autograd.grad(y.square().sum(), (x, layer.qkv.weight))))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("position", ["alibi", "relative"])
@pytest.mark.parametrize("kind", ["linear", "window", "strided"])
def test_kinds_without_a_matrix_of_scores_refuse_a_bias(options: config.Model, kind: str, position: str) -> None:
    shape = shape_of("d32", options, 50, 64)
    with pytest.raises(UserError, match="has no matrix of scores that model.position could be"):
        ATTENTIONS[kind](shape, POSITIONS[position](shape, 10_000.0))


def test_pairs_of_linear_attention_grow_with_the_context_not_its_square(options: config.Model) -> None:
    costs = []
    for seq_len in (64, 4096, 8192):
        changed = dataclasses.replace(options, attention="linear")
        shape = shape_of("d64", changed, 50, seq_len)
        costs.append(count(shape, changed).flops_per_token)
    assert costs[0] == count(shape_of("d64", options, 50, 64), options).flops_per_token
    assert costs[1] == costs[2]
