"""Standard form, muP and u-muP: rules by hand, symmetries in float64, unit scale."""

import dataclasses
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model import parametrisations, unit_scaling
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.feed_forward import identity
from scalinglab.model.memory import LayerMemory
from scalinglab.model.parametrisations import PARAMETRISATIONS, MuP, Rule, residual_shares
from scalinglab.model.shape import Shape, shape_of
from scalinglab.scaling_rules.scales import tensor_scales
from scalinglab.training.data import Batch
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates
from tests.training.test_training import make_batches

QKV, DOWN = "blocks.0.attention.qkv.weight", "blocks.1.feed_forward.down.weight"
VECTOR = "blocks.0.attention_norm.weight"


def make(options: config.Model, name: str, size: str = "d16", **changes: object) -> Decoder:
    options = dataclasses.replace(options, head_dim=8, aspect=1024, parametrisation=name, **changes)  # type: ignore[arg-type]
    model = Decoder(shape_of(size, options, 50, 16), options)
    initialise(model, seed=0)
    return model


def batch(rows: int = 8) -> Batch:
    tokens = torch.randint(0, 50, (rows, 17), generator=torch.Generator().manual_seed(1))
    return Batch(tokens[:, :-1], tokens[:, 1:].contiguous(), torch.arange(rows * 16))


def loss_of(model: Decoder, some: Batch) -> Tensor:
    return model.loss(some.tokens_BT, some.targets_BT, some.scored_N)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("standard", "d256", ((1, 1, 1), (1 / math.sqrt(768), 1, 1), (0, 1, 1))),
        ("mup", "d16", ((1, 1, 1), (1 / math.sqrt(48), 1, 4), (0, 4, 1))),
        ("mup", "d256", ((1, 1, 1), (1 / math.sqrt(768), 1, 1 / 4), (0, 1 / 4, 1))),
        ("u-mup", "d16", ((1, 1, 1 / 4), (1, 1 / 4, 1 / 8), (1, 1 / 16, 1))),
        ("u-mup", "d256", ((1, 1, 1 / 16), (1, 1 / 16, 1 / 32), (1, 1 / 256, 1))),
    ],
)
def test_rules_by_hand(options: config.Model, name: str, size: str, expected: tuple) -> None:
    """Initial scale, multiplier and rate of embedding, a hidden matrix and the head; two layers."""
    model = make(options, name, size)
    for parameter, values in zip(("embedding.weight", QKV, "head.weight"), expected, strict=True):
        rule = model.rule_of(parameter)
        assert (rule.initial, rule.multiplier, rule.rate) == pytest.approx(values)
    width = model.shape.d_model
    scores = {"standard": 8**-0.5, "mup": 8**-0.5, "u-mup": 1 / 8}
    assert all(block.attention.scale() == pytest.approx(scores[name]) for block in model.blocks)
    down = 1.0 if name == "u-mup" else 1 / math.sqrt(3 * model.shape.d_ff) / 2
    assert model.rule_of(DOWN).initial == pytest.approx(down)
    drawn = model.get_parameter(DOWN).std().item()
    assert drawn == pytest.approx(down, rel=4 / math.sqrt(width * model.shape.d_ff))


def test_scores_of_narrow_heads_are_those_of_the_base_width_over_d_k(options: config.Model) -> None:
    """Yang et al. 2022, section 4: q.k sqrt(d_base) / d."""
    options = dataclasses.replace(options, head_dim=32, parametrisation="mup")
    narrow = Decoder(shape_of("d16", options, 50, 16), options)
    assert narrow.blocks[0].attention.scale() == pytest.approx(math.sqrt(32) / 16)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_a_first_step_moves_every_weight_by_its_rate(smoke: config.Study, name: str) -> None:
    """Of Adam: rate times sign of the gradient; and decay is independent of the multiplier of the rate."""
    training = dataclasses.replace(smoke.training, eps=1e-30, weight_decay=0.1, embedding_rate=0.0)
    model = make(smoke.model, name, "d32").double()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    loss_of(model, batch()).backward()
    signs = {key: parameter.grad.sign() for key, parameter in model.named_parameters()}  # type: ignore[union-attr]
    AdamW(model, training).step(Rates.alike(0.01))
    hidden = {"standard": 1.0, "mup": 64 / 32, "u-mup": 1 / math.sqrt(32 * 4)}[name]
    vector = {"standard": 1.0, "mup": 1.0, "u-mup": 1 / (64 * math.sqrt(12))}[name]
    decay = 0.01 * 0.1 * {"standard": 1.0, "mup": 1.0, "u-mup": 1 / (64 * math.sqrt(12))}[name]
    for key, rate, shrunk in ((QKV, hidden, decay), (VECTOR, vector, 0.0), ("head.weight", 1.0, decay)):
        expected = (1 - shrunk) * before[key] - 0.01 * rate * signs[key]
        torch.testing.assert_close(model.get_parameter(key).detach(), expected, atol=1e-9, rtol=1e-9)


def test_the_standard_form_starts_as_it_always_did(options: config.Model) -> None:
    """Every bit: as `initialise` drew it before there were others."""
    model = make(options, "standard")
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        expected = torch.zeros_like(parameter)
        if name != "head.weight":
            scale = 1.0 if name == "embedding.weight" else 1 / math.sqrt(3 * parameter.shape[1])
            if name.endswith(("attention.out.weight", "down.weight")):
                scale *= 1 / math.sqrt(2 * 2)
            expected.normal_(0.0, scale, generator=generator)
        assert torch.equal(parameter, expected), name
    assert {one for name, _ in model.named_parameters() for one in dataclasses.astuple(model.rule_of(name))[1:]} == {
        1.0
    }
    assert model.gradient_unit == 1


def train(model: Decoder, study: config.Study, steps: int, rate: float) -> list[float]:
    """Losses of some steps without clipping and, almost, without Adam's eps."""
    optimiser = AdamW(model, dataclasses.replace(study.training, eps=1e-40))
    losses = []
    for step in range(steps):
        loss = loss_of(model, make_batches()[step])
        loss.backward()
        losses.append(loss.item())
        optimiser.step(Rates.alike(rate))
    return losses


def test_mup_at_the_base_width_is_the_standard_form(smoke: config.Study) -> None:
    found = [train(make(smoke.model, name, "d64"), smoke, 3, 0.02) for name in ("standard", "mup")]
    assert found[0] == found[1]
    assert found[0] != train(make(smoke.model, "u-mup", "d64"), smoke, 3, 0.02)


class Table3(MuP):
    """muP in the form of Yang et al. 2022, table 3: the head's rate falls with width instead of its multiplier."""

    def rule(self, role: parametrisations.Role, fan_in: int, shape: Shape) -> Rule:
        rule = super().rule(role, fan_in, shape)
        if role != "head":
            return rule
        return Rule(rule.initial, 1.0, rule.multiplier, decay=1 / rule.multiplier)


def test_two_forms_of_mup_train_alike(smoke: config.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their appendix J.2.1: A t, B / t, C / t, in float64."""
    monkeypatch.setitem(PARAMETRISATIONS, "table-3", Table3())
    losses = {name: train(make(smoke.model, name).double(), smoke, 8, 0.02) for name in ("mup", "table-3", "standard")}
    assert losses["mup"] == pytest.approx(losses["table-3"], rel=1e-12)
    assert losses["mup"][-1] != pytest.approx(losses["standard"][-1], rel=1e-3)


def test_unit_scaling_multiplies_each_gradient_by_one_number(
    options: config.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients are those of what the forward pass computes, but for a positive factor of each whole tensor."""
    model = make(options, "u-mup").double()
    model.get_parameter("blocks.0.shift.mix_D").data.fill_(0.3)
    ours = torch.autograd.grad(loss_of(model, batch()), list(model.parameters()))
    monkeypatch.setattr(unit_scaling, "scale", lambda x, forwards, backwards: forwards * x)
    true = torch.autograd.grad(loss_of(model, batch()), list(model.parameters()))
    for (name, _), mine, exact in zip(model.named_parameters(), ours, true, strict=True):
        factor = (mine * exact).sum() / exact.square().sum()
        assert factor > 0
        torch.testing.assert_close(mine, factor * exact, atol=1e-9 * mine.abs().max().item(), rtol=1e-9, msg=name)


@pytest.mark.parametrize("width", [32, 128, 512])
def test_unit_scale_at_the_start(options: config.Model, width: int) -> None:
    """Weights, what products read, what comes back to them and to the weights: within a factor of two or so of 1,
    whatever the width. In the standard form they lie apart, and a head of zeros passes nothing back."""
    some = batch(16)
    for row in tensor_scales(make(options, "u-mup", f"d{width}"), some):
        assert 0.45 < row["rms"] < 1.6, row
    standard = pd.DataFrame(tensor_scales(make(options, "standard", f"d{width}"), some)).set_index("kind")["rms"]
    assert standard["weights"].max() > 7 * standard["weights"][standard["weights"] > 0].min()
    assert (standard["gradients"] == 0).all()


def test_gains_are_those_of_theory(options: config.Model) -> None:
    """E max(z, 0)^2 = 1/2; SwiGLU's 0.596 is near 2^-0.75 (Blake et al. 2024, appendix B); causal averages."""
    assert unit_scaling.root_mean_square(identity) == pytest.approx(1)
    assert unit_scaling.root_mean_square(F.relu) == pytest.approx(math.sqrt(0.5), rel=0.01)
    assert unit_scaling.root_mean_square(F.silu) == pytest.approx(2**-0.75, rel=0.01)
    attention = make(options, "standard").blocks[0].attention
    assert unit_scaling.uniform_mean_square(attention, 3) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)  # type: ignore[arg-type]


def test_residual_parts_make_up_a_third_each() -> None:
    embedding, parts = 1.0, [0.0, 0.0]
    for layer in range(3):
        for part, (branch, stream) in enumerate(residual_shares(layer, 3)):
            assert branch**2 + stream**2 == pytest.approx(1)
            embedding, parts = embedding * stream**2, [one * stream**2 for one in parts]
            parts[part] += branch**2
    assert [embedding, *parts] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("name", ["mup", "u-mup"])
def test_a_memory_changes_no_logits(options: config.Model, name: str) -> None:
    model = make(options, name).double().eval()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    tokens = batch(2).tokens_BT
    memories = [LayerMemory() for _ in model.blocks]
    with torch.no_grad():
        parts = [model.extend(part, memories) for part in tokens.split([5, 1, 10], dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model.logits(tokens))


def test_gains_go_with_the_weights_to_longer_contexts(options: config.Model) -> None:
    options = dataclasses.replace(options, head_dim=8, parametrisation="u-mup")
    short, long = (Decoder(shape_of("d16", options, 50, length), options) for length in (16, 64))
    initialise(short, 0)
    long.load_state_dict(short.state_dict())
    tokens = batch(2).tokens_BT
    assert torch.equal(short.logits(tokens), long.logits(tokens))


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_counts_are_the_same(options: config.Model, name: str) -> None:
    model = make(options, name)
    assert count(model.shape, options).params_total == sum(p.numel() for p in model.parameters())


def test_what_has_no_rules_is_refused(options: config.Model) -> None:
    with pytest.raises(UserError, match=r"model\.parametrisation = 'mu': unknown; known: mup, standard, u-mup"):
        make(options, "mu")
    with pytest.raises(UserError, match="embedding and head scale apart; set model.tied_head: false"):
        make(options, "mup", tied_head=True)
    for part in ({"feed_forward": "experts", "experts": 2, "active_experts": 1}, {"attention": "selective"}):
        with pytest.raises(UserError, match=r"'mup': no rules for model\.\w+ = '(experts|selective)'; take standard"):
            make(options, "mup", **part)
    with pytest.raises(UserError, match=r"no rules for model\.norm = 'layernorm'; take rmsnorm"):
        make(options, "u-mup", norm="layernorm")
