"""Coordinates, 8-bit products and transfer, where the answer is known."""

import dataclasses
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from scalinglab.config import Study
from scalinglab.measurements import unit_scaling
from scalinglab.measurements.powers import power
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.model.unit_scaling import UnitLinear
from scalinglab.scaling_rules import coordinates, fp8, transfer
from scalinglab.training.optimiser import AdamW
from tests.training.test_training import make_batches


def change_of_logits(study: Study, name: str, rate: float) -> float:
    """The power of width with which it grows over four steps."""
    slow = dataclasses.replace(study.training, embedding_rate=0.0)
    options = dataclasses.replace(study.model, head_dim=8, aspect=1024, parametrisation=name)
    rows = []
    for width in (32, 64, 128):
        model = Decoder(shape_of(f"d{width}", options, 20, 16), options)
        initialise(model, 0)
        batches = [make_batches()[step] for step in range(4)]
        found = list(coordinates.check(model, AdamW(model, slow), batches, rate))
        assert all(row["change"] == 0 for row in found if row["step"] == 0)
        rows += [{"width": width, **row} for row in found if row["step"] == 4 and row["feature"] == "logits"]
    table = pd.DataFrame(rows)
    return power(table["width"], table["change"])


def test_steps_of_one_rate_grow_with_width_and_those_of_mup_do_not(smoke: Study) -> None:
    assert change_of_logits(smoke, "standard", 0.002) > 0.7
    assert abs(change_of_logits(smoke, "mup", 0.002)) < 0.3
    assert abs(change_of_logits(smoke, "u-mup", 0.3)) < 0.3


def test_rounding_is_torchs_cast_cut_off_at_the_largest() -> None:
    x = torch.tensor([0.0, 1.0, 1.06, -3.3, 1e-4, 500.0, -1e6])
    lost = fp8.Lost()
    forwards = fp8.rounded(x, torch.float8_e4m3fn, "x", lost)
    assert torch.equal(forwards[:5], x[:5].to(torch.float8_e4m3fn).float())
    assert forwards[5:].tolist() == [448, -448]
    assert lost.counts["x"] == [6, 1, 2]
    assert fp8.rounded(x, torch.float8_e5m2)[6].item() == -57344


def layer_and_input(unit: bool) -> tuple[nn.Linear, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Linear(16, 8, bias=False)
    layer = UnitLinear(plain, gain=2.0) if unit else plain
    torch.nn.init.normal_(layer.weight, generator=generator)
    return layer, torch.randn(4, 5, 16, generator=generator)


@pytest.mark.parametrize("unit", [False, True])
def test_products_of_rounded_operands(unit: bool) -> None:
    """Those of the exact layer where its operands are 8-bit floats already, gradients too, whatever the loss scale."""
    layer, x = layer_and_input(unit)
    with torch.no_grad():
        layer.weight.copy_(fp8.rounded(layer.weight, fp8.FORWARDS))
    x = fp8.rounded(x, fp8.FORWARDS).requires_grad_()
    upstream = fp8.rounded(torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1)), fp8.BACKWARDS)
    exact = torch.autograd.grad(layer(x), [x, layer.weight], upstream)
    rounding = fp8.Fp8Linear(layer, gradient_scale=1024.0)
    torch.testing.assert_close(rounding(x), layer(x))
    torch.testing.assert_close(torch.autograd.grad(rounding(x), [x, layer.weight], upstream), exact)


def test_gradients_are_rounded_on_the_way_back_alone() -> None:
    layer, x = layer_and_input(unit=False)
    x.requires_grad_()
    upstream = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1))
    rounding = fp8.Fp8Linear(layer, gradient_scale=1.0)
    (found,) = torch.autograd.grad(rounding(x), x, upstream)
    weight = layer.weight.to(torch.float8_e4m3fn).float()
    torch.testing.assert_close(found, upstream.to(torch.float8_e5m2).float() @ weight)
    (tiny,) = torch.autograd.grad(rounding(x), x, 1e-7 * upstream)
    assert not tiny.any(), "without a loss scale, small gradients are lost"
    (kept,) = torch.autograd.grad(fp8.Fp8Linear(layer, 2.0**16)(x), x, 1e-7 * upstream)
    assert kept.abs().max() > 0


def test_a_decoder_of_rounded_products_keeps_its_weights(tiny: Decoder) -> None:
    names = [name for name, _ in tiny.named_parameters()]
    fp8.round_products(tiny, 1.0)
    assert [name for name, _ in tiny.named_parameters()] == names
    torch.nn.init.normal_(tiny.head.weight)
    tokens = torch.randint(0, 50, (4, 17))
    lost = fp8.count_lost(tiny, tokens[:, :-1], tokens[:, 1:].contiguous(), torch.arange(64))
    products = [p for name, p in tiny.named_parameters() if name.startswith("blocks") and p.dim() == 2]
    assert lost.counts["weights"][0] == sum(p.numel() for p in products)
    assert 0 < lost.counts["gradients"][1] <= lost.counts["gradients"][0]


def bowls(move: float) -> pd.DataFrame:
    """Losses that are exact parabolas in ln rate, whose bottoms move with width to this power."""
    rows = []
    for parametrisation in transfer.FAMILIES:
        for width in (16, 32, 64):
            bottom = 0.02 * (width / 32) ** (move if parametrisation == "standard" else 0)
            for rate in 0.02 * 2.0 ** np.arange(-3, 4):
                loss = 3 + 0.1 * math.log(rate / bottom) ** 2
                rows.append({"parametrisation": parametrisation, "size": f"d{width}", "rate": rate, "loss": loss})
    return pd.DataFrame(rows)


def test_optima_and_how_they_move() -> None:
    found = transfer.optima(bowls(-1.0))
    for parametrisation, power_of_width in (("standard", -1.0), ("mup", 0.0)):
        assert transfer.shift(found[found["parametrisation"] == parametrisation]) == pytest.approx(
            power_of_width, abs=1e-6
        )


def runs_of(rates: dict[str, float], gain: dict[str, float], basin: pd.DataFrame) -> pd.DataFrame:
    """Runs of all rules on the bowls, seeds 0 to 3; the law goes to the bottom."""
    rows = []
    for rule, parametrisation in transfer.RULES.items():
        for width in (16, 32, 64):
            bottom = 0.02 * (width / 32) ** (-1.0 if parametrisation == "standard" else 0)
            rate = rates.get(rule, bottom)
            for seed in range(4):
                noise = 0.001 * ((seed * 7 + width) % 3)
                loss = 3 + 0.1 * math.log(rate / bottom) ** 2 + noise * (seed > 0) - gain.get(rule, 0)
                row = {"rule": rule, "parametrisation": parametrisation, "size": f"d{width}", "seed": seed}
                rows.append({**row, "rate": rate, "loss": loss})
    return pd.DataFrame(rows)


def test_the_law_goes_through_the_bottoms() -> None:
    best = transfer.optima(bowls(-1.0))
    law = transfer.law(best[best["parametrisation"] == "standard"])
    assert law.exponent == -1.0
    assert law.peak("d64") == pytest.approx(0.01)


def test_regret_of_one_rate_is_what_the_bottom_has_moved() -> None:
    basin = bowls(-1.0)
    assert transfer.tuned_rate(basin, "standard", "d32") == pytest.approx(0.02)
    runs = runs_of({"standard, one rate": 0.02}, {}, basin)
    found = transfer.regrets(basin, runs).set_index(["rule", "size"])["regret"]
    assert found[("standard, one rate", "d64")] == pytest.approx(0.1 * math.log(2) ** 2)
    assert found[(transfer.LAW, "d64")] == pytest.approx(0, abs=1e-12)
    assert found[("mup, one rate", "d16")] == pytest.approx(0, abs=1e-12)


def test_the_law_stays_unless_a_rule_is_certainly_better() -> None:
    basin = bowls(-1.0)
    verdicts = transfer.judge(runs_of({"standard, one rate": 0.02}, {}, basin), margin=0.01)
    assert [one.verdict for one in verdicts] == ["equivalent", "worse", *["equivalent"] * 4], (
        "all against the law of the fast embedding"
    )
    assert transfer.winner(verdicts) == transfer.LAW
    better = transfer.judge(runs_of({"standard, one rate": 0.02}, {"u-mup, one rate": 0.1}, basin), margin=0.01)
    assert transfer.winner(better) == "u-mup, one rate"


def test_a_faster_embedding_keeps_the_law_and_another_rule_does_not() -> None:
    """In the words of the page."""
    basin = bowls(-1.0)
    for rule, said in (
        ("standard, law", "Keep a law of rates, and change what it goes with: `standard, law` is"),
        ("u-mup, one rate", "No law of rates: `u-mup, one rate` is certainly better"),
    ):
        rules = runs_of({}, {rule: 0.1}, basin).assign(**{"embedding rate": 0.4})
        verdicts = pd.DataFrame(map(asdict, transfer.judge(rules, margin=0.01)))
        tables = {"rules": rules, "verdicts": verdicts, "regrets": transfer.regrets(basin, rules)}
        assert said in unit_scaling._decision(tables)
