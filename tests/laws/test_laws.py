"""Fits that must find a known truth, and inputs that must not give a number."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad

from scalinglab.errors import UserError
from scalinglab.laws import bootstrap, isoflop, parametric
from scalinglab.laws.parametric import Surface

TRUTH = Surface(E=1.8, A=400.0, B=1200.0, alpha=0.34, beta=0.37)


def grid(noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"size": f"d{i}", "width": i, "params_matmul": n, "tokens": d, "flops": 6 * n * d}
        for i, n in enumerate(np.geomspace(1e6, 1e9, 7))
        for d in np.geomspace(2e7, 2e10, 9)
    ]
    cells = pd.DataFrame(rows)
    cells["val/loss"] = TRUTH.loss(cells["params_matmul"].to_numpy(), cells["tokens"].to_numpy())
    cells["val/loss"] *= 1 + noise * rng.standard_normal(len(cells))
    return cells


def columns(cells: pd.DataFrame) -> tuple[np.ndarray, ...]:
    return tuple(cells[name].to_numpy(float).copy() for name in ("params_matmul", "tokens", "val/loss"))


def test_gradient_is_exact() -> None:
    n, d, loss = columns(grid())
    data = (np.log(n), np.log(d), np.log(loss * 1.01), 1e-3)
    theta = np.array([5.0, 6.0, 0.5, 0.3, 0.4])
    error = check_grad(lambda t: parametric.objective(t, *data)[0], lambda t: parametric.objective(t, *data)[1], theta)
    assert error < 1e-4


def test_fit_finds_the_truth() -> None:
    fitted = parametric.fit(*columns(grid()), delta=1e-3)
    assert fitted.alpha == pytest.approx(TRUTH.alpha, rel=1e-3)
    assert fitted.beta == pytest.approx(TRUTH.beta, rel=1e-3)
    assert pytest.approx(TRUTH.E, rel=1e-3) == fitted.E
    assert fitted.exponent_n == pytest.approx(0.37 / 0.71, rel=1e-3)


def test_isoflop_finds_the_exponent() -> None:
    minima = isoflop.minima(isoflop.lines(grid(), 7, "params_matmul", "val/loss"))
    inner = [minimum for minimum in minima if minimum.inside]
    assert len(inner) >= 4
    exponent, _ = isoflop.power_law(np.array([m.flops for m in inner]), np.array([m.params for m in inner]))
    assert exponent == pytest.approx(TRUTH.exponent_n, abs=0.03)


def test_edge_minima_are_flagged() -> None:
    cells = grid()
    cells["val/loss"] = 1 + 1e6 / cells["params_matmul"]  # larger is always better
    minima = isoflop.minima(isoflop.lines(cells, 5, "params_matmul", "val/loss"))
    assert minima
    assert not any(minimum.inside for minimum in minima)


def test_lines_need_three_sizes() -> None:
    assert isoflop.lines(grid()[lambda t: t["width"] < 2], 5, "params_matmul", "val/loss").empty


def test_intervals_cover_the_truth_under_noise() -> None:
    cells = grid(noise=0.003, seed=1)
    surface = parametric.fit(*columns(cells), delta=1e-3)

    def statistic(sample: pd.DataFrame) -> dict[str, float]:
        return parametric.fit(*columns(sample), 1e-3, (parametric.start_of(surface),)).as_dict()

    low, high = bootstrap.intervals(bootstrap.by_trunk(cells, statistic, 40, seed=0))["exponent_n"]
    assert low < TRUTH.exponent_n < high
    assert high - low < 0.2


def test_bad_input_is_refused() -> None:
    n, d, loss = columns(grid())
    with pytest.raises(UserError, match="needs more than 4 cells"):
        parametric.fit(n[:4], d[:4], loss[:4], 1e-3)
    loss[3] = float("nan")
    with pytest.raises(UserError, match="losses must be positive numbers"):
        parametric.fit(n, d, loss, 1e-3)
