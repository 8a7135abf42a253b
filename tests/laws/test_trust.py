"""What a fit may be trusted with: bad tables, verdicts, intervals, forecasts, plans."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalinglab.errors import UserError
from scalinglab.laws import bootstrap, counting, extrapolation, parametric, planning, verdict
from scalinglab.laws.points import Points, points
from scalinglab.laws.surface import Surface
from tests.laws.conftest import TRUTH, grid


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("loss", float("nan"), "loss must be a positive number: nan in row 4"),
        ("loss", -1.0, "loss must be a positive number: -1.0 in row 4"),
        ("n", 0.0, "N must be a positive number: 0.0 in row 4"),
        ("d", float("inf"), "D must be a positive number: inf in row 4"),
    ],
)
def test_bad_values_are_named(exact: Points, column: str, value: float, message: str) -> None:
    columns = {"n": exact.n.copy(), "d": exact.d.copy(), "loss": exact.loss.copy()}
    columns[column][3] = value
    with pytest.raises(UserError, match=message):
        points(**columns)


def test_a_cell_listed_twice_is_refused_but_replicas_are_not(exact: Points) -> None:
    twice = [np.append(values, values[0]) for values in (exact.n, exact.d, exact.loss)]
    with pytest.raises(UserError, match=r"N = 1e\+06, D = 2e\+07, loss = .* is listed twice"):
        points(*twice)
    twice[2][-1] *= 1.001
    assert len(points(*twice)) == len(exact) + 1


@pytest.mark.parametrize(
    ("choose", "reason"),
    [
        (lambda p: np.arange(4), "4 cells for 5 parameters"),
        (lambda p: p.n <= np.unique(p.n)[1], "2 sizes: a power law and a constant need three"),
        (lambda p: p.d == p.d[0], "1 token budgets"),
    ],
)
def test_designs_that_identify_nothing(exact: Points, choose, reason: str) -> None:
    few = exact.take(choose(exact))
    judged = verdict.judge(few, None, None, None)
    assert not judged.identified
    assert any(reason in given for given in judged.reasons)


def test_a_wide_or_missing_interval_identifies_nothing() -> None:
    trunks = grid(noise=0.03, seed=5, sizes=3, budgets=3)
    rough = points(trunks.n, trunks.d, trunks.loss)  # each cell a trunk of its own
    fit = parametric.fit(rough)
    made = planning.plan(rough, fit, 1e21, 1e-3, 60, 0, 1e20)
    assert any("wide" in reason for reason in verdict.judge(rough, fit, made.intervals["exponent_n"], None).reasons)
    assert "no interval" in verdict.judge(rough, fit, None, None).reasons[-1]


def test_one_isoflop_line_identifies_nothing() -> None:
    n = np.geomspace(1e6, 1e9, 12)
    d = 1e17 / (6 * n)
    line = points(n, d, TRUTH.loss(n, d))
    assert "all cells lie on one iso-FLOP line" in verdict.of_design(line)[0]


def test_a_good_table_is_identified_and_a_wrong_form_is_not(exact: Points) -> None:
    data = grid(noise=0.003, seed=1)
    assert verdict.judge(data, parametric.fit(data), [0.48, 0.56], 0.003) == verdict.Verdict(True, ())
    bent = Points(data.n, data.d, data.c, data.loss + 0.1 * np.sin(np.log(data.n)), data.trunk)
    judged = verdict.judge(bent, parametric.fit(bent), [0.4, 0.7], 0.003)
    assert not judged.identified
    assert [reason.split(":")[0] for reason in judged.reasons] == [
        "the surface does not fit",
        "the exponent's 95 % interval is 0.30 wide",
    ]


def test_intervals_take_whole_trunks_and_cover_the_truth() -> None:
    data = grid(noise=0.003, seed=1)
    start = [parametric.start_of(parametric.fit(data).surface)]
    drawn: list[Points] = []

    def statistic(sample: Points) -> dict[str, float]:
        drawn.append(sample)
        return parametric.fit(sample, starts=start).surface.as_dict()

    table = bootstrap.resamples(data, statistic, 60, seed=0)
    low, high = bootstrap.intervals(table)["exponent_n"]
    assert low < TRUTH.exponent_n < high
    assert high - low < 0.2
    for sample in drawn:
        _, counts = np.unique(sample.trunk, return_counts=True)
        assert (counts % 9 == 0).all()


def test_a_forecast_never_sees_what_it_forecasts() -> None:
    data = grid(noise=0.002, seed=2)
    known, held = extrapolation.split(data, 0.25 * data.c.max())
    assert known.c.max() < 0.25 * data.c.max() <= held.c.min()
    sealed = extrapolation.forecast(known, 1e-3, 50, 0)
    assert extrapolation.from_dict(sealed.as_dict()) == sealed
    score = extrapolation.score(sealed, known, held)
    assert score["cells"] == len(held)
    assert score["forecast_mean_relative_error"] < 0.01
    assert score["forecast_mean_relative_error"] < score["log_linear_mean_relative_error"]
    assert score["forecast_mean_relative_error"] < score["nearest_run_mean_relative_error"]
    assert score["coverage_95"] > 0.8


def test_the_optimum_is_the_least_loss_on_its_isoflop_line() -> None:
    best = TRUTH.optimum(1e21)
    n = best.n * np.geomspace(0.5, 2, 201)
    losses = TRUTH.loss(n, 1e21 / (6 * n))
    assert n[losses.argmin()] == pytest.approx(best.n, rel=1e-2)
    assert losses.min() == pytest.approx(best.loss, rel=1e-9)
    assert 6 * best.n * best.d == pytest.approx(1e21)


@pytest.mark.parametrize(("alpha", "beta"), [(3e-25, 4e-28), (0.0, 0.4), (0.3, 0.0), (2e-3, 2e-3)])
def test_a_flat_surface_has_no_optimum(alpha: float, beta: float) -> None:
    flat = Surface(E=2.7, A=900.0, B=1.0, alpha=alpha, beta=beta)
    best = flat.optimum(1e12)
    assert np.isnan([best.n, best.d, best.loss]).all()
    assert math.isnan(flat.exponent_n) == (min(alpha, beta) < 1e-3)


def test_a_plan_knows_the_optimum_and_a_run_that_helps() -> None:
    data = grid(noise=0.003, seed=4)
    fit = parametric.fit(data)
    made = planning.plan(data, fit, 1e22, 1e-3, 40, 0, float(data.c.max()))
    low, high = made.intervals["n"]
    assert low < made.optimum.n < high
    assert all(loss > made.optimum.loss for loss in made.off.values())
    assert all(0 < share < 1 for share in made.compute_wasted.values())
    assert made.next_run is not None
    assert made.next_run.flops <= data.c.max()
    assert made.next_run.d <= planning.REACH * data.d.max() * 1.001
    assert made.beyond == pytest.approx(1e22 / data.c.max())


def test_the_suggested_run_shrinks_the_spread_as_much_as_it_says() -> None:
    """Against redrawn losses: the spread of ln N_opt with the run over that without it."""
    data = grid(sizes=4, budgets=4)
    flops, noise = 1e22, 0.002
    step = planning.next_run(data, TRUTH, flops, float(data.c.max()))
    assert step is not None
    more = points(
        np.append(data.n, step.n), np.append(data.d, step.d), np.append(data.loss, TRUTH.loss(step.n, step.d))
    )

    def size(drawn: Points) -> dict[str, float]:
        fit = parametric.fit(drawn, "squared", starts=[parametric.start_of(TRUTH)])
        return {"ln n": math.log(fit.surface.optimum(flops).n)}

    # Each cell with an error of its own, as the design of the next run takes it.
    data = replace(data, trunk=more.trunk[:-1])
    without, with_it = (bootstrap.redrawn(one, size, noise, 150, seed=1)["ln n"].std() for one in (data, more))
    assert step.shrinks_to < 0.9
    cheaper = planning.next_run(data, TRUTH, flops, float(data.c.max()) / 100)
    assert cheaper is not None
    assert cheaper.shrinks_to >= step.shrinks_to, "a larger allowance is never worse"
    assert planning.next_run(data, TRUTH, flops, 1.0) is None
    assert with_it / without == pytest.approx(step.shrinks_to, rel=0.2)


def test_draws_without_an_exponent_are_counted() -> None:
    table = pd.DataFrame({"a": [0.5, math.nan, 0.6], "b": [0.1, 0.2, 0.3]})
    assert bootstrap.draws_used(table) == {"a": 2, "b": 3}


def test_published_exponents_of_counting() -> None:
    """Pearce & Song 2024: 0.78 without embedding over 10^12.95..10^20.7, 0.51 with all parameters."""
    assert counting.simulated_frontier("non_embedding", (12.95, 20.7)).exponent == pytest.approx(0.7805, abs=1e-3)
    assert counting.simulated_frontier("total", (14.0, 20.7)).exponent == pytest.approx(0.5154, abs=1e-3)


def test_the_analytic_curve_has_its_two_ends_and_is_the_optimum() -> None:
    surface = counting.CHINCHILLA
    small, large = counting.local_exponent(np.array([1e-3, 1e16]))
    assert small == pytest.approx(surface.beta / (surface.beta + surface.alpha / 3), abs=1e-4)
    assert large == pytest.approx(surface.exponent_n, abs=1e-4)
    n = np.array([1e6])
    flops = counting.compute_of_optimum(n)
    around = n * np.geomspace(0.5, 2, 401)
    losses = surface.loss(counting.total_parameters(around), flops / (6 * around))
    assert around[losses.argmin()] == pytest.approx(1e6, rel=1e-2)
