"""Every estimator must find a known truth, and say so when it cannot."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad

from scalinglab.errors import UserError
from scalinglab.laws import envelope, isoflop, parametric, varpro
from scalinglab.laws.estimators import ESTIMATORS, estimate
from scalinglab.laws.points import Points
from scalinglab.laws.surface import Surface
from scalinglab.laws.verdict import rms_error
from tests.laws.conftest import TRUTH, grid


@pytest.mark.parametrize("form", list(parametric.FORMS))
def test_jacobian_is_exact(exact: Points, form: str) -> None:
    theta = np.array([5.0, 6.0, 0.5, 0.3, 0.4])
    for i in (0, 20, 62):
        error = check_grad(
            lambda t, i=i: parametric.residuals(t, exact, form)[i],
            lambda t, i=i: parametric.jacobian(t, exact, form)[i],
            theta,
        )
        assert error < 1e-5


@pytest.mark.parametrize("loss", list(parametric.LOSSES))
def test_parametric_fit_finds_the_truth(exact: Points, loss: str) -> None:
    fit = parametric.fit(exact, loss)
    assert fit.surface.as_dict() == pytest.approx(TRUTH.as_dict(), rel=1e-3)
    assert fit.gradient < 1e-3 or fit.objective < 1e-12
    assert fit.at_bounds == ()
    assert fit.agreeing > 0.5


def test_variable_projection_finds_the_truth_and_the_least_squares(exact: Points) -> None:
    assert varpro.fit(exact).as_dict() == pytest.approx(TRUTH.as_dict(), rel=1e-3)
    noisy = grid(noise=0.003, seed=3)
    # The two objectives, relative error and residual of the logarithm, differ in second order of the noise.
    assert varpro.fit(noisy).exponent_n == pytest.approx(parametric.fit(noisy, "squared").surface.exponent_n, abs=0.01)


# Kaplan's form has no constant E, and so none of this truth.
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "Kaplan's form"])
def test_every_estimator_finds_the_exponent(exact: Points, name: str) -> None:
    # a = 1/3: far from the exponent of the tokens, 2/3, so that to mistake one for the other fails.
    truth = Surface(E=1.8, A=1760.0, B=100.0, alpha=0.5, beta=0.25)
    data = replace(exact, loss=truth.loss(exact.n, exact.d))
    assert estimate(name, data) == pytest.approx(truth.exponent_n, abs=0.05)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_no_estimator_makes_a_number_of_too_few_cells(exact: Points, name: str) -> None:
    assert np.isnan(estimate(name, exact.take(np.arange(2))))


def test_robust_losses_ignore_an_outlier(exact: Points) -> None:
    loss = exact.loss.copy()
    loss[30] *= 1.3
    spoilt = Points(exact.n, exact.d, exact.c, loss, exact.trunk)
    for kind in ("huber", "lad"):
        assert pytest.approx(TRUTH.E, abs=0.01) == parametric.fit(spoilt, kind).surface.E
    assert abs(parametric.fit(spoilt, "squared").surface.E - TRUTH.E) > 0.1


def test_the_edge_of_the_search_is_reported(exact: Points) -> None:
    flat = Points(exact.n, exact.d, exact.c, 1 + 1e4 * exact.d**-0.5, exact.trunk)  # size does not matter at all
    assert parametric.fit(flat, "squared").at_bounds != ()


def test_edge_minima_are_flagged(exact: Points) -> None:
    rising = Points(exact.n, exact.d, exact.c, 1 + 1e6 / exact.n, exact.trunk)  # larger is always better
    minima = isoflop.minima(isoflop.lines(rising, 5))
    assert minima
    assert not any(minimum.inside for minimum in minima)
    assert np.isnan(isoflop.exponent(rising, 5))


def test_lines_need_three_sizes(exact: Points) -> None:
    assert isoflop.lines(exact.take(exact.n < np.unique(exact.n)[2]), 5) == []


def test_replicas_enter_curves_by_their_mean(exact: Points) -> None:
    up, down = (Points(exact.n, exact.d, exact.c, exact.loss * f, exact.trunk) for f in (1.01, 0.99))
    both = Points(*(np.concatenate([getattr(up, f), getattr(down, f)]) for f in ("n", "d", "c", "loss", "trunk")))
    assert len(both.averaged()) == len(exact)
    assert isoflop.exponent(both, 7) == pytest.approx(isoflop.exponent(exact, 7), abs=1e-9)


def test_the_envelope_passes_from_size_to_size(exact: Points) -> None:
    flops, n = envelope.crossings(exact)
    assert len(n) >= 4
    assert (np.diff(flops) > 0).all()
    assert (np.diff(n) > 0).all()


def test_too_few_cells_are_refused(exact: Points) -> None:
    with pytest.raises(UserError, match="needs more than 4 cells"):
        parametric.fit(exact.take(np.arange(4)))
    with pytest.raises(UserError, match="needs more than 5 cells"):
        varpro.fit(exact.take(np.arange(5)))


def test_kaplans_form_finds_its_truth_and_the_additive_one_does_not_fit_it() -> None:
    places, truth = grid(), Surface(E=0.0, A=4e4, B=1.5e6, alpha=0.58, beta=0.71, gamma=0.26)
    data = Points(places.n, places.d, places.c, truth.loss(places.n, places.d), places.trunk)
    fit = parametric.fit(data, form="kaplan")
    assert fit.surface.as_dict() == pytest.approx(truth.as_dict(), rel=1e-3)
    assert parametric.start_of(fit.surface)[2] == pytest.approx(np.log(0.26), rel=1e-3)
    assert rms_error(data, fit) < 1e-6 < rms_error(data, parametric.fit(data))
    best = truth.optimum(1e18)
    n = best.n * np.geomspace(0.5, 2, 201)
    assert n[truth.loss(n, 1e18 / (6 * n)).argmin()] == pytest.approx(best.n, rel=1e-2)
