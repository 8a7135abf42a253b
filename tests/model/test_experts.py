"""Mixture of experts: what the router weighs and learns, worked out by hand, and what all of it costs."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.experts import Experts, WithGradientOf, balance_loss
from scalinglab.model.feed_forward import FEED_FORWARDS
from scalinglab.model.shape import Shape, shape_of


def changed(options: config.Model, **changes: object) -> config.Model:
    return dataclasses.replace(options, head_dim=8, feed_forward="experts", **changes)  # type: ignore[arg-type]


def build(options: config.Model, **changes: object) -> Experts:
    """Experts of width 16 with random weights, in float64."""
    options = changed(options, **changes)
    layer = FEED_FORWARDS["experts"](shape_of("d16", options, 50, 16), options).double()
    assert isinstance(layer, Experts)
    generator = torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return layer


def inputs() -> torch.Tensor:
    return torch.randn(2, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Times(torch.nn.Module):
    """An expert whose answer is known: its input times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


@pytest.mark.parametrize(
    ("active", "expected"), [(1, [0.5 * 1, 0.75 * 100]), (2, [(0.5 * 1 + 0.3 * 10) / 0.8, 0.75 * 100 + 0.25 * 10])]
)
def test_two_tokens_and_three_experts_by_hand(options: config.Model, active: int, expected: list[float]) -> None:
    """One expert is weighed with its probability, two with their shares of both."""
    shape = dataclasses.replace(shape_of("d8", options, 50, 16), d_model=1, d_ff=8)
    factors = iter([1.0, 10.0, 100.0])
    layer = Experts(shape, changed(options, experts=3, active_experts=active), lambda _: Times(next(factors)))
    p_NE = torch.tensor([[0.5, 0.3, 0.2], [0.0, 0.25, 0.75]])
    layer.router.forward = lambda x_ND: p_NE.log()  # type: ignore[method-assign]
    y_BTD = layer(torch.ones(1, 2, 1))
    assert y_BTD.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("active", [1, 2, 4])
def test_it_is_the_weighted_sum_of_its_experts(options: config.Model, active: int) -> None:
    """Every expert on every token, times a weight that is zero for all but the chosen."""
    layer, x_BTD = build(options, experts=4, active_experts=active), inputs()
    p_BTE = layer.router(x_BTD).softmax(dim=-1)
    kept_BTE = p_BTE.where(p_BTE >= p_BTE.topk(active, dim=-1).values[..., -1:], 0.0)
    weight_BTE = kept_BTE / kept_BTE.sum(dim=-1, keepdim=True) if active > 1 else kept_BTE
    y_BTED = torch.stack([expert(x_BTD) for expert in layer.experts], dim=2)
    torch.testing.assert_close(layer(x_BTD), (weight_BTE[..., None] * y_BTED).sum(dim=2))


def test_one_expert_of_one_is_the_dense_part_to_the_bit(options: config.Model) -> None:
    options = changed(options, experts=1, active_experts=1)
    shape = shape_of("d16", options, 50, 16)
    one, dense = FEED_FORWARDS["experts"](shape, options), FEED_FORWARDS["swiglu"](shape, options)
    dense.load_state_dict(one.experts[0].state_dict())  # type: ignore[index, union-attr]
    x_BTD = inputs().float()
    assert torch.equal(one(x_BTD), dense(x_BTD))


@pytest.mark.parametrize("active", [2, 4])
def test_experts_that_are_all_alike_are_one(options: config.Model, active: int) -> None:
    """Whoever is chosen; with a single one it is that one times its probability."""
    layer, single = (build(options, experts=4, active_experts=n) for n in (active, 1))
    for each in (layer, single):
        for expert in each.experts[1:]:
            expert.load_state_dict(each.experts[0].state_dict())
    x_BTD = inputs()
    torch.testing.assert_close(layer(x_BTD), layer.experts[0](x_BTD))
    p_BT1 = single.router(x_BTD).softmax(dim=-1).amax(dim=-1, keepdim=True)
    torch.testing.assert_close(single(x_BTD), p_BT1 * single.experts[0](x_BTD))


@pytest.mark.parametrize("active", [1, 2])
def test_gradients_reach_the_router_and_the_chosen_experts_alone(options: config.Model, active: int) -> None:
    layer = build(options, experts=4, active_experts=active, balance=0.0)
    x_BTD = inputs()[:1, :1]
    layer(x_BTD).square().sum().backward()
    _, _, chosen_NA = layer.route(x_BTD[0])
    moved = [expert.gate.weight.grad.abs().sum().item() > 0 for expert in layer.experts]  # type: ignore[union-attr]
    assert [i for i, it in enumerate(moved) if it] == sorted(chosen_NA[0].tolist())
    assert layer.router.weight.grad is not None
    assert layer.router.weight.grad.abs().max() > 0


def test_balance_loss_is_one_where_all_get_as_much_and_the_number_of_experts_where_one_gets_all() -> None:
    even_NE, to_all = torch.full((8, 4), 0.25), torch.arange(8)[:, None] % 4
    assert balance_loss(even_NE, to_all).item() == pytest.approx(1)
    assert balance_loss(even_NE, torch.cat([to_all, (to_all + 1) % 4], dim=1)).item() == pytest.approx(1)
    one_NE = torch.tensor([[1.0, 0, 0, 0]]).expand(8, 4)
    assert balance_loss(one_NE, torch.zeros(8, 1, dtype=torch.long)).item() == pytest.approx(4)


def test_the_balance_loss_changes_gradients_and_no_value(options: config.Model) -> None:
    """Of the router: those of the sum of both losses; in evaluation there is none."""
    x_BTD = inputs()
    losses, grads = [], []
    for balance in (0.0, 0.3):
        layer = build(options, experts=4, active_experts=2, balance=balance)
        losses.append(layer(x_BTD).square().mean())
        grads.append(torch.autograd.grad(losses[-1], layer.router.weight)[0])
    assert torch.equal(*losses)
    p_NE, _, chosen_NA = layer.route(x_BTD.flatten(0, 1))
    (alone,) = torch.autograd.grad(0.3 * balance_loss(p_NE, chosen_NA), layer.router.weight)
    assert alone.abs().max() > 1e-3
    torch.testing.assert_close(grads[1], grads[0] + alone)
    (evaluated,) = torch.autograd.grad(layer.eval()(x_BTD).square().mean(), layer.router.weight)
    torch.testing.assert_close(evaluated, grads[0])


def test_an_auxiliary_loss_counts_once_whatever_the_scale_of_the_other() -> None:
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(5 * WithGradientOf.apply(x, x.square().sum()).sum(), x)
    torch.testing.assert_close(grad, 5 + 2 * x)


def flops(model: Decoder) -> int:
    """Of the forward pass, but for attention's products of pairs, which torch counts without their causal half."""
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model.logits(torch.arange(16)[None])
    shape: Shape = model.shape
    return counter.get_total_flops() - 2 * 2 * shape.n_layer * shape.d_model * 16 * 16


@pytest.mark.parametrize(("experts", "active"), [(4, 1), (8, 1), (8, 2)])
def test_what_a_token_costs_is_that_of_the_dense_part_and_the_router(
    options: config.Model, experts: int, active: int
) -> None:
    dense = dataclasses.replace(options, head_dim=8)
    options = changed(options, experts=experts, active_experts=active)
    shape = shape_of("d16", options, 50, 16)
    router = shape.n_layer * shape.d_model * experts
    many, few = count(shape, options), count(shape, dense)
    assert many.flops_per_token == few.flops_per_token + 3 * 2 * router
    more = shape.n_layer * (experts // active - 1) * 3 * shape.d_model * shape.d_ff
    assert many.params_total == few.params_total + more + router
    model = Decoder(shape, options)
    initialise(model, 0)
    pairs = 2 * 2 * shape.n_layer * shape.d_model * 16 * (16 + 1) / 2
    assert many.flops_per_token * 16 == 3 * (flops(model) + pairs)


def test_every_expert_is_drawn_as_a_dense_part_is(options: config.Model) -> None:
    model = Decoder(shape_of("d64", changed(options, experts=4), 50, 16), changed(options, experts=4))
    initialise(model, 0)
    for expert in model.blocks[0].feed_forward.experts:
        assert expert.gate.weight.std().item() == pytest.approx((3 * 64) ** -0.5, rel=0.05)
        assert expert.down.weight.std().item() == pytest.approx((3 * 176) ** -0.5 / 2, rel=0.05)  # of two layers
    one, other = (expert.up.weight for expert in model.blocks[0].feed_forward.experts[:2])
    assert not torch.equal(one, other)


def test_a_hidden_width_that_cannot_be_shared_out_is_refused(options: config.Model) -> None:
    with pytest.raises(UserError, match=r"model\.active_experts = 5: does not divide the hidden width 48 of width 16"):
        build(options, experts=8, active_experts=5)
