"""The selective state space: all of its forms are one, in float64, across the borders of chunks too."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from scalinglab import config
from scalinglab.model import state_space
from scalinglab.model.attention import ATTENTIONS, SelectiveAttention
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.memory import LayerMemory
from scalinglab.model.positions import POSITIONS
from scalinglab.model.shape import shape_of

Parts = list[torch.Tensor]


def parts(length: int) -> Parts:
    """Queries, keys, values and logarithms of decays of two rows and three heads."""
    generator = torch.Generator().manual_seed(length)
    sizes = ((8,), (8,), (5,))
    qkv = [torch.randn(2, 3, length, *size, generator=generator, dtype=torch.float64) for size in sizes]
    log_a_BHT = -torch.rand(2, 3, length, generator=generator, dtype=torch.float64)
    return [x.requires_grad_() for x in (*qkv, log_a_BHT)]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 150])
def test_chunks_are_the_recurrence(length: int) -> None:
    inputs = parts(length)
    chunks, _ = state_space.chunked(*inputs)
    steps = state_space.recurrent(*inputs)
    torch.testing.assert_close(chunks, steps)
    used = inputs[: 3 if length == 1 else 4]  # the first decay acts on nothing
    ours, theirs = (torch.autograd.grad(y.square().sum(), used) for y in (chunks, steps))
    torch.testing.assert_close(ours, theirs)


def test_a_state_is_all_that_is_needed_of_the_past() -> None:
    inputs = parts(150)
    whole, last = state_space.chunked(*inputs)
    state, found = None, []
    for piece in zip(*(x.split([1, 70, 9, 70], dim=2) for x in inputs), strict=True):
        y, state = state_space.chunked(*piece, state)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, dim=2), whole)
    torch.testing.assert_close(state, last)
    assert last.shape == (2, 3, 8, 5)


def test_without_decay_it_is_linear_attention_without_a_denominator() -> None:
    q, k, v, log_a = parts(70)
    plain = (q @ k.transpose(-1, -2)).tril() @ v
    torch.testing.assert_close(state_space.chunked(q, k, v, torch.zeros_like(log_a))[0], plain)


def test_decays_by_hand() -> None:
    """What is left of position s at t is the product of the decays in between, that of t among them."""
    a = torch.tensor([0.5, 0.25, 0.8], dtype=torch.float64)
    expected = torch.tensor([[1, 0, 0], [0.25, 1, 0], [0.25 * 0.8, 0.8, 1]], dtype=torch.float64)
    torch.testing.assert_close(state_space.decays(a.log()), expected)


def test_strong_decays_neither_overflow_nor_lose_their_gradients() -> None:
    log_a = torch.full((1, 1, 64), -50.0, requires_grad=True)
    decays = state_space.decays(log_a)
    torch.testing.assert_close(decays[0, 0], torch.eye(64))
    (grad,) = torch.autograd.grad(decays.sum(), log_a)
    assert grad.isfinite().all()


def build(options: config.Model) -> SelectiveAttention:
    options = dataclasses.replace(options, head_dim=8, attention="selective")
    shape = shape_of("d32", options, vocab_size=50, seq_len=64)
    layer = ATTENTIONS["selective"](shape, POSITIONS["rope"](shape, 10_000.0))
    assert isinstance(layer, SelectiveAttention)
    return layer.double()


def test_steps_at_first_are_those_of_the_paper(options: config.Model) -> None:
    """Gu & Dao 2023, section 3.6: between 0.001 and 0.1, and the decay is exp(-step) at a rate of one."""
    layer = build(options)
    torch.nn.init.zeros_(layer.step.weight)
    step_BHT, log_a_BHT = layer._steps(torch.randn(1, 3, 32, dtype=torch.float64))
    expected = 10.0 ** -(1 + 2 * (torch.arange(4, dtype=torch.float64) + 0.5) / 4)
    torch.testing.assert_close(step_BHT[0, :, 0], expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(log_a_BHT, -step_BHT)


def test_large_steps_forget_and_small_ones_pass_by(options: config.Model) -> None:
    """Selection: a position whose step is nothing leaves no trace, and one whose step is large leaves no past."""
    layer = build(options)
    x_BTD = torch.randn(1, 12, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.step.weight.zero_()
        layer.step.bias.zero_()
        layer.step.weight[:, 0] = 1000.0
        x_BTD[..., 0] = 0.0
        x_BTD[:, 5, 0] = -1.0
    weights_BHTT = layer.weights(x_BTD)
    assert weights_BHTT[..., 6:, 5].abs().max() == 0
    assert weights_BHTT[..., 6:, 4].abs().min() > 0
    x_BTD[:, 5, 0] = 1.0
    assert layer.weights(x_BTD)[..., 5:, :5].abs().max() == 0


def test_without_decay_it_is_linear_attention_times_its_denominator(options: config.Model) -> None:
    """Of all that it adds, steps that are one and a rate of zero take everything away but the missing denominator."""
    layer = build(options)
    changed = dataclasses.replace(options, head_dim=8, attention="linear")
    shape = shape_of("d32", changed, 50, 64)
    linear = ATTENTIONS["linear"](shape, POSITIONS["rope"](shape, 10_000.0)).double()
    linear.load_state_dict({"qkv.weight": layer.qkv.weight, "out.weight": layer.out.weight})
    with torch.no_grad():
        layer.step.weight.zero_()
        layer.step.bias.fill_(torch.tensor(1.0, dtype=torch.float64).expm1().log())
        layer.log_rate_H.fill_(-torch.inf)
    x_BTD = torch.randn(2, 20, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights_BHTT = layer.weights(x_BTD)
    torch.testing.assert_close(weights_BHTT / weights_BHTT.sum(-1, keepdim=True), linear.weights(x_BTD))
    phi_q_BHTK, phi_k_BHTK = (F.elu(part) + 1 for part in linear._project(x_BTD)[:2])
    torch.testing.assert_close(weights_BHTT, (phi_q_BHTK @ phi_k_BHTK.transpose(-1, -2)).tril() / 8)


def test_its_memory_is_of_one_size_however_much_it_has_read(options: config.Model) -> None:
    layer, memory = build(options), LayerMemory()
    x_BTD = torch.randn(2, 64, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for piece, read in zip(x_BTD.split([10, 54], dim=1), (10, 64), strict=True):
        layer(piece, memory)
        assert memory.length == read
        assert memory.k_BHTK is None
        assert memory.state_BHKK is not None
        assert memory.state_BHKK.shape == (2, 4, 8, 8)
    memory.select(torch.tensor([1, 1, 0]))
    assert memory.state_BHKK.shape == (3, 4, 8, 8)
    torch.testing.assert_close(memory.state_BHKK[0], memory.state_BHKK[1])


def test_flops_are_those_of_the_matrix_products(options: config.Model) -> None:
    """Of a context of one chunk, whose pairs torch counts without their causal half, beside the state that is left."""
    options = dataclasses.replace(options, head_dim=8, attention="selective")
    model = Decoder(shape_of("d16", options, 50, 16), options)
    initialise(model, 0)
    with FlopCounterMode(display=False) as counter:
        model.logits(torch.arange(16)[None])
    shape = model.shape
    unread = 2 * shape.n_layer * shape.d_model * 16 * shape.head_dim
    full, causal = (2 * 2 * shape.n_layer * shape.d_model * pairs for pairs in (16 * 16, 16 * (16 + 1) / 2))
    assert count(shape, options).flops_per_token * 16 == 3 * (counter.get_total_flops() - unread - full + causal)
