"""Best learning rates and their law, from sweeps whose answer is known."""

import math

import numpy as np
import pytest

from scalinglab.parabola import Bottom, bottom
from scalinglab.training.schedule import RateLaw
from scalinglab.tuning import BestRate, best_rate, fit

RATES = (0.01, 0.02, 0.04, 0.08)


def bowl(rate: float, best: float) -> float:
    return 3 + 0.1 * math.log(rate / best) ** 2


def test_the_bottom_of_a_bowl_lies_between_the_rates() -> None:
    found = best_rate("d8", RATES, [bowl(rate, 0.03) for rate in RATES])
    assert found.inside
    assert found.rate == pytest.approx(0.03)
    assert found.loss == min(bowl(rate, 0.03) for rate in RATES), "a loss that was measured"


def test_a_rate_that_blows_up_does_not_bend_the_bowl() -> None:
    rates = (0.008, 0.016, 0.032, 0.064)
    found = best_rate("d8", rates, [3.11, 3.05, 3.0, 7.0])
    assert found.loss == 3.0
    assert found.rate == pytest.approx(0.032)
    assert not found.inside, "no rate above the best tells where the bowl ends"


def test_a_single_rate_is_taken_as_it_is() -> None:
    assert best_rate("d8", (0.01,), [4.0]) == BestRate("d8", pytest.approx(0.01), 4.0, True)


def test_a_best_rate_at_the_edge_is_kept_and_flagged() -> None:
    found = best_rate("d8", RATES, [bowl(rate, 0.005) for rate in RATES])
    assert (found.rate, found.inside) == (pytest.approx(0.01), False)


def test_noise_in_one_loss_moves_the_best_rate_little() -> None:
    rates = [0.004 * 2**i for i in range(6)]
    losses = [bowl(rate, 0.03) for rate in rates]
    losses[4] -= 0.03  # 1 %, as seeds differ
    assert best_rate("d8", rates, losses).rate == pytest.approx(0.03, rel=0.25)


def test_diverged_rates_take_no_part() -> None:
    found = best_rate("d8", (*RATES, 1.0), [*(bowl(rate, 0.03) for rate in RATES), math.nan])
    assert found.rate == pytest.approx(0.03)
    with pytest.raises(ValueError, match="d8: every rate diverged"):
        best_rate("d8", RATES, [math.nan] * 4)


def test_the_law_goes_through_the_best_rates() -> None:
    law = RateLaw(0.25, -0.8)
    found = fit([BestRate(size, law.peak(size), 3.0, True) for size in ("d8", "d16", "d64")])
    assert (found.prefactor, found.exponent) == (pytest.approx(0.25), pytest.approx(-0.8))


def test_one_width_gives_a_constant_rate() -> None:
    found = fit([BestRate("d8", 0.02, 3.0, True), BestRate("d8s1", 0.04, 3.0, True)])
    assert found.exponent == 0.0
    assert found.peak("d512") == pytest.approx(math.sqrt(0.02 * 0.04))


def test_a_parabola_whose_bottom_lies_outside_its_points_is_not_believed() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    y = np.array([1.0, 0.99, 5.0, 5.0, 5.0])
    assert bottom(x, y, np.arange(3)).inside
    assert bottom(x, y, np.arange(5)) == Bottom(1.0, 0.99, False)
    assert bottom(x, y, np.arange(2)) == Bottom(1.0, 0.99, False)
