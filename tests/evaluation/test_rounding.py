"""Damage of gradients, counted by hand, and that a scale is taken out again."""

import pytest
import torch

from scalinglab.config import Study
from scalinglab.evaluation.rounding import Damage, damage, gradients_in
from tests.training.test_training import fresh, make_batches, run


def test_damage_is_counted_among_what_is_not_zero() -> None:
    inf, nan = float("inf"), float("nan")
    exact = torch.tensor([0.0, 0.0, 3.0, -4.0, 2.0, 1.0, 5.0])
    rounded = torch.tensor([0.0, inf, 0.0, -4.0, nan, -inf, 5.5])
    found = damage({"a": exact, "b": exact}, {"a": rounded, "b": exact})
    assert found["a"] == Damage(5, 1, 2, 9.0 + 0.25, 9.0 + 16.0 + 25.0)
    both = found["a"] + found["b"]
    error = pytest.approx((9.25 / (50 + 55)) ** 0.5)
    assert both.shares() == {"flushed": 0.1, "overflowed": 0.2, "error": error}
    assert Damage().shares() == {"flushed": 0, "overflowed": 0, "error": 0}


def test_gradients_are_those_of_the_loss_whatever_its_scale(smoke: Study) -> None:
    model, optimiser = fresh(smoke)
    run(smoke, model, optimiser, 0, 3, 0.1)
    batch = make_batches()[3]
    model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N).backward()
    plain, scaled = gradients_in(model, batch, "fp32"), gradients_in(model, batch, "fp32", 2.0**30)
    for name, parameter in model.named_parameters():
        assert torch.equal(plain[name], parameter.grad), name
        torch.testing.assert_close(scaled[name], plain[name])


def test_fp16_has_more_digits_than_bf16_where_it_reaches(smoke: Study) -> None:
    model, optimiser = fresh(smoke)
    run(smoke, model, optimiser, 0, 3, 0.1)
    batch = make_batches()[3]
    exact = gradients_in(model, batch, "fp32")

    def of(name: str, scale: float) -> dict[str, float]:
        return sum(damage(exact, gradients_in(model, batch, name, scale)).values(), Damage()).shares()

    good, brain = of("fp16", 2.0**8), of("bf16", 1.0)
    assert 4 * good["error"] < brain["error"] < 0.05
    assert of("bf16", 2.0**-40)["error"] == pytest.approx(brain["error"], rel=0.1), "the range of fp32"
    assert of("fp16", 2.0**-40) == {"flushed": 1, "overflowed": 0, "error": 1}
    assert of("fp16", 2.0**40)["overflowed"] > 0.5
