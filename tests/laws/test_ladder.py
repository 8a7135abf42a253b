"""The ladder on runs with known exponents."""

import numpy as np
import pandas as pd
import pytest

from scalinglab.laws.ladder import RUNGS, climb
from scalinglab.laws.surface import Surface
from scalinglab.recipes import RECIPES

SIZES, BUDGETS = (10_000, 20_000, 40_000, 80_000, 160_000), (2e5, 4e5, 8e5, 1.6e6, 3.2e6, 6.4e6)


def runs(surfaces: dict[str, Surface]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recipe": recipe,
            "size": f"d{n}",
            "tokens": d,
            "flops": 6 * n * d,
            "params_matmul": n,
            "params_non_embedding": n - 8_000,
            "diverged": False,
            "val/loss": float(surface.loss(np.array(float(n)), np.array(d))),
        }
        for recipe, surface in surfaces.items()
        for n in SIZES
        for d in BUDGETS
    )


def test_each_rung_takes_its_own_runs_and_counting() -> None:
    # beta / (alpha + beta) = 0.7 without tuning, 0.5 with it.
    untuned, tuned = Surface(0.0, 400.0, 3e5, 0.3, 0.7, 0.5), Surface(0.0, 3000.0, 3e4, 0.5, 0.5, 0.5)
    surfaces = {name: tuned if name == "tuned" else untuned for name in RECIPES}
    rungs = climb(runs(surfaces), noise=0.001, resamples=20, seed=0)
    form = rungs[rungs["estimator"] == "Kaplan's form"].reset_index(drop=True)
    assert len(form) == len(RUNGS)
    assert form["exponent_n"][1:4].tolist() == pytest.approx([0.7] * 3, abs=1e-3)
    assert form["exponent_n"][4] == pytest.approx(0.5, abs=1e-3)
    assert abs(form["exponent_n"][0] - 0.7) > 0.05, "counting without the head moves the exponent"
    assert ((form["low"] < form["exponent_n"]) & (form["exponent_n"] < form["high"]))[1:].all()


def test_without_measured_noise_there_is_no_interval() -> None:
    surface = Surface(0.0, 3000.0, 3e4, 0.5, 0.5, 0.5)
    rungs = climb(runs(dict.fromkeys(RECIPES, surface)), noise=None, resamples=20, seed=0)
    assert rungs["low"].isna().all()
