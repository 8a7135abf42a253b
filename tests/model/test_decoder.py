"""Exact properties of the decoder and its parts, in float64 where torch allows."""

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model.attention import ATTENTIONS
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.feed_forward import FEED_FORWARDS
from scalinglab.model.linear_loss import LinearCrossEntropy, linear_cross_entropy
from scalinglab.model.norms import NORMS
from scalinglab.model.positions import POSITIONS, Alibi, RelativeBias, Rotary, Sinusoidal
from scalinglab.model.shape import shape_of


def make(options: config.Model, size: str = "d16", vocab: int = 50) -> Decoder:
    model = Decoder(shape_of(size, options, vocab, 16), options)
    initialise(model, seed=0)
    return model


PARTS = {
    "norm": list(NORMS),
    "norm_place": ["pre", "post"],
    "position": list(POSITIONS),
    "attention": list(ATTENTIONS),
    "feed_forward": list(FEED_FORWARDS),
    "token_shift": [True, False],
}
FIRST = {key: names[0] for key, names in PARTS.items()}
# Every pair of parts, on the first of all others.
PAIRS = ({**FIRST, a: x, b: y} for a, b in itertools.combinations(PARTS, 2) for x in PARTS[a] for y in PARTS[b])
VARIANTS = [
    dict(pairs)
    for pairs in dict.fromkeys(tuple(parts.items()) for parts in PAIRS)
    if ATTENTIONS[dict(pairs)["attention"]].takes_bias or dict(pairs)["position"] not in ("alibi", "relative")
]


@pytest.mark.parametrize("parts", VARIANTS, ids=lambda parts: "-".join(str(v) for v in parts.values()))
def test_every_pair_of_parts_is_causal_and_counted(options: config.Model, parts: dict) -> None:
    options = dataclasses.replace(options, head_dim=8, kv_groups=2, window=3, **parts)
    model = make(options).eval()  # in training, batch norm is not causal
    torch.nn.init.normal_(model.head.weight)
    counts = count(model.shape, options)
    assert counts.params_total == sum(p.numel() for p in model.parameters())
    tokens = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 8:] = 0
    with torch.no_grad():
        torch.testing.assert_close(model.logits(tokens)[:, :8], model.logits(changed)[:, :8])
        assert not torch.equal(model.logits(tokens)[:, 8:], model.logits(changed)[:, 8:])


def test_flops_are_those_of_the_matrix_products(options: config.Model) -> None:
    """Count the forward's products with torch's own counter: three times that is a training step."""
    from torch.utils.flop_counter import FlopCounterMode

    options = dataclasses.replace(options, head_dim=8, token_shift=False)
    model = make(options)
    tokens = torch.zeros(1, 16, dtype=torch.long)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.logits(tokens)
    shape = model.shape
    # torch's counter takes attention without its causal half: T keys for each query, not (T + 1) / 2.
    full = 2 * 2 * shape.n_layer * shape.d_model * 16 * 16
    causal = 2 * 2 * shape.n_layer * shape.d_model * 16 * (16 + 1) / 2
    assert count(shape, options).flops_per_token * 16 == 3 * (counter.get_total_flops() - full + causal)


def test_first_loss_is_ln_vocabulary(tiny: Decoder) -> None:
    tokens = torch.randint(0, 50, (4, 17))
    loss = tiny.loss(tokens[:, :-1], tokens[:, 1:].contiguous(), torch.arange(4 * 16))
    assert loss.item() == pytest.approx(math.log(50), abs=1e-5)


def scores(options: config.Model, name: str) -> torch.Tensor:
    """[H, T, T] of the same query and key at every place, under a position code with random parameters, in float64."""
    shape = shape_of("d16", options, 50, 16)
    generator = torch.Generator().manual_seed(0)
    position = POSITIONS[name](shape, 10_000.0).double()
    for parameter in position.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    x, y = (torch.randn(1, 1, shape.d_model, generator=generator, dtype=torch.float64) for _ in range(2))
    q_BTHK, k_BTHK = (
        position.rotate(position.embed(v.expand(1, 16, -1)).unflatten(-1, (shape.n_head, shape.head_dim)))
        for v in (x, y)
    )
    scores_HTT = torch.einsum("bihk,bjhk->hij", q_BTHK, k_BTHK)
    bias_HTT = position.bias(16)
    return scores_HTT if bias_HTT is None else scores_HTT + bias_HTT


@pytest.mark.parametrize("name", ["rope", "alibi", "relative", "none"])
def test_scores_depend_on_distance_only(options: config.Model, name: str) -> None:
    scores_HTT = scores(dataclasses.replace(options, head_dim=8), name)
    for distance in range(16):
        diagonal = torch.diagonal(scores_HTT, offset=-distance, dim1=1, dim2=2)
        torch.testing.assert_close(diagonal, diagonal[:, :1].expand_as(diagonal), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ["learned", "sinusoidal"])
def test_scores_of_an_absolute_code_depend_on_more(options: config.Model, name: str) -> None:
    diagonal = torch.diagonal(scores(options, name)[0], offset=-1)
    assert (diagonal - diagonal[0]).abs().max() > 1e-3


def test_sinusoids_of_two_places_have_a_product_of_their_distance(options: config.Model) -> None:
    """Vaswani et al. 2017, section 3.5: the wave at t + k is the one at t, turned by an angle of k alone."""
    wave_TD = Sinusoidal(shape_of("d16", options, 50, 16), 10_000.0).wave_TD
    gram_TT = wave_TD @ wave_TD.t()
    for distance in range(16):
        diagonal = torch.diagonal(gram_TT, offset=-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=1e-5)


def test_alibi_has_the_slopes_of_its_paper(options: config.Model) -> None:
    """Press et al. 2022, section 3: with 8 heads, 1/2, 1/4, ..., 1/256."""
    shape = shape_of("d64", dataclasses.replace(options, head_dim=8), 50, 16)
    bias_HTT = Alibi(shape, 10_000.0).bias(4)
    torch.testing.assert_close(bias_HTT[:, 3, 0], -3 * 0.5 ** torch.arange(1, 9))


def test_relative_buckets_are_single_distances_and_then_wider(options: config.Model) -> None:
    """Raffel et al. 2020, section 2.1, of one direction: 32 buckets; distances from half of the length on share one."""
    position = RelativeBias(shape_of("d16", options, 50, 256), 10_000.0)
    with torch.no_grad():
        position.table_HN.copy_(torch.arange(32.0).expand_as(position.table_HN))
    bucket_T = position.bias(300)[0, -1].flip(0)  # of distance 0, 1, ...
    assert bucket_T[:17].tolist() == list(range(17))
    assert bucket_T.diff().min() >= 0
    assert bucket_T[127] == 31
    assert bucket_T[250] == 31


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [1, 127, 128, 300])
def test_linear_cross_entropy_is_the_plain_one(rows: int, smoothing: float, dtype: torch.dtype) -> None:
    """Of float64, which training never sees, the function itself; smoothed by 0 it is the cross-entropy."""
    x = torch.randn(rows, 8, dtype=dtype, requires_grad=True)
    weight = torch.randn(40, 8, dtype=dtype, requires_grad=True)
    target = torch.randint(0, 40, (rows,))
    ours_of = linear_cross_entropy if dtype == torch.float32 else LinearCrossEntropy.apply
    ours = ours_of(x, weight, target, smoothing)
    ours_grads = torch.autograd.grad(2.5 * ours, (x, weight))
    plain = F.cross_entropy(x @ weight.t(), target, label_smoothing=smoothing)
    plain_grads = torch.autograd.grad(2.5 * plain, (x, weight))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(ours_grads, plain_grads)


def test_smoothing_by_nothing_changes_nothing(tiny: Decoder) -> None:
    torch.nn.init.normal_(tiny.head.weight)
    tokens = torch.randint(0, 50, (4, 17))
    places = (tokens[:, :-1], tokens[:, 1:].contiguous(), torch.arange(4 * 16))
    assert torch.equal(tiny.loss(*places, 0.0), tiny.loss(*places))
    assert not torch.equal(tiny.loss(*places, 0.1), tiny.loss(*places))


def test_dropout_acts_in_training_alone(options: config.Model) -> None:
    with_it, without = make(dataclasses.replace(options, dropout=0.5)), make(options)
    tokens = torch.randint(0, 50, (2, 16))
    assert torch.equal(with_it.eval().hidden(tokens), without.eval().hidden(tokens))
    assert torch.equal(without.train().hidden(tokens), without.eval().hidden(tokens))
    assert not torch.equal(with_it.train().hidden(tokens), with_it.eval().hidden(tokens))


def test_tied_head_shares_its_table(options: config.Model) -> None:
    options = dataclasses.replace(options, tied_head=True)
    model = make(options)
    assert model.head.weight is model.embedding.weight
    assert count(model.shape, options).params_total == sum(p.numel() for p in model.parameters())


def test_one_dial_fixes_the_shape(options: config.Model) -> None:
    options = dataclasses.replace(options, head_dim=32, aspect=128, min_layers=2)
    shapes = {size: shape_of(size, options, 1088, 64) for size in ("d8", "d128", "d512")}
    assert [(s.n_layer, s.n_head, s.head_dim, s.d_ff) for s in shapes.values()] == [
        (2, 1, 8, 24),
        (2, 4, 32, 344),
        (4, 16, 32, 1368),
    ]


def leak(options: config.Model, norm: str) -> float:
    """How far logits move, in training, when only later tokens change."""
    model = make(dataclasses.replace(options, norm=norm)).train()
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(model.head.weight, generator=generator)
    tokens = torch.randint(0, 50, (2, 16), generator=generator)
    changed = tokens.clone()
    changed[:, 8:] = torch.randint(0, 50, (2, 8), generator=generator)
    with torch.no_grad():
        return (model.logits(tokens) - model.logits(changed))[:, :8].abs().max().item()


def test_batch_norm_leaks_the_future_and_no_other_norm_does(options: config.Model) -> None:
    """By whole units of logits, against exactly nothing."""
    moved = {norm: leak(options, norm) for norm in NORMS}
    assert moved.pop("batchnorm") > 1
    assert max(moved.values()) == 0


def test_feed_forwards_are_their_formulas(options: config.Model) -> None:
    x_BTD = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    shape = shape_of("d16", options, 50, 16)
    formulas = {"swiglu": F.silu, "geglu": F.gelu, "gelu": F.gelu, "silu": F.silu, "relu": F.relu,
                "relu2": lambda x: F.relu(x) ** 2, "identity": lambda x: x}  # fmt: skip
    assert formulas.keys() == FEED_FORWARDS.keys() - {"experts"}
    for name, activation in formulas.items():
        layer = FEED_FORWARDS[name](shape, options)
        hidden = activation((layer.gate if name.endswith("glu") else layer.up)(x_BTD))
        hidden = hidden * layer.up(x_BTD) if name.endswith("glu") else hidden
        torch.testing.assert_close(layer(x_BTD), layer.down(hidden))


def test_norms_behind_leave_every_position_normal(options: config.Model) -> None:
    model = make(dataclasses.replace(options, norm="layernorm", norm_place="post"))
    features_BTD = model.hidden(torch.randint(0, 50, (2, 16)))
    torch.testing.assert_close(features_BTD.mean(-1), torch.zeros(2, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(features_BTD.var(-1, unbiased=False), torch.ones(2, 16), atol=1e-3, rtol=0)


def test_unknown_part_lists_the_known_ones(options: config.Model) -> None:
    with pytest.raises(UserError, match=r"model\.norm = 'rmsnrm': unknown; known: batchnorm, layernorm, none, rmsnorm"):
        make(dataclasses.replace(options, norm="rmsnrm"))


def test_attention_weights_are_those_of_the_forward(options: config.Model) -> None:
    """What `weights` shows, put on the values, is what the fused kernel computes; linear heads see it the same way."""
    for name, kind in ATTENTIONS.items():
        options_ = dataclasses.replace(options, head_dim=8, kv_groups=2, attention=name)
        shape = shape_of("d32", options_, 50, 16)
        attention = kind(shape, Rotary(shape, 10_000.0))
        x_BTD = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0))
        weights_BHTT = attention.weights(x_BTD)
        if name != "selective":
            torch.testing.assert_close(weights_BHTT.sum(-1), torch.ones(2, 4, 16))
        assert not weights_BHTT.triu(1).any()
        v_BTHK = attention.qkv(x_BTD).unflatten(-1, (-1, 8))[:, :, 6:].repeat_interleave(2, dim=2)
        y_BHTK = weights_BHTT @ v_BTHK.transpose(1, 2)
        torch.testing.assert_close(attention.out(y_BHTK.transpose(1, 2).flatten(2)), attention(x_BTD))


def test_linear_attention_is_a_running_sum(options: config.Model) -> None:
    """Katharopoulos et al. 2020, eq. 9: numerator and denominator are sums over the past."""
    options = dataclasses.replace(options, head_dim=8, attention="linear")
    shape = shape_of("d8", options, 50, 16)
    attention = ATTENTIONS["linear"](shape, POSITIONS["none"](shape, 1.0))
    x_BTD = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    q, k, v = attention.qkv(x_BTD)[0].split(8, dim=-1)
    phi_q, phi_k = F.elu(q) + 1, F.elu(k) + 1
    state, norm = torch.zeros(8, 8), torch.zeros(8)
    for t in range(6):
        state, norm = state + torch.outer(phi_k[t], v[t]), norm + phi_k[t]
        torch.testing.assert_close(attention(x_BTD)[0, t], attention.out((phi_q[t] @ state) / (phi_q[t] @ norm)))
