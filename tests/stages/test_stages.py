"""From init to report on a tiny study: under every option that changes the path, and where a run diverges."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from scalinglab.config import Segment, Study, tokens_of, width_of
from scalinglab.errors import UserError
from scalinglab.figures.registry import FIGURES
from scalinglab.files import read_json, write_json
from scalinglab.laws.surface import Surface
from scalinglab.paths import Paths
from scalinglab.recipes import RECIPES
from scalinglab.stages import (
    anneal,
    emergence,
    evaluate,
    figures,
    forecast,
    init,
    ladder,
    laws,
    multiverse,
    pretraining,
    rates,
    recipe,
    report,
    shots,
    table,
    trunk,
    tune,
)


def find_rates(study: Study) -> None:
    for size in study.tune.sizes:
        tune.run(study, size)
    rates.run(study)


def run_all(study: Study) -> pd.DataFrame:
    if not Paths(study.study).rate_law.exists():
        find_rates(study)
    for size in study.grid.sizes:
        init.run(study, size)
        for segment in study.grid.segments:
            trunk.run(study, size, segment.after, segment.to)
            anneal.run(study, size, segment.to)
            shots.run(study, size, segment.to)
    evaluate_all(study, "tokenizer")
    forecast.run(study)
    evaluate_all(study, "forecast")
    table.run(study)
    laws.run(study)
    multiverse.run(study)
    emergence.run(study)
    for name in FIGURES:
        figures.run(study, name)
    report.run(study)
    return pd.read_csv(Paths(study.study).cells)


def evaluate_all(study: Study, after: str) -> None:
    for segment in study.grid.segments:
        for size in study.grid.sizes:
            if segment.evaluate_after == after:
                evaluate.run(study, size, segment.to, after)


def part(section: str, **values: object) -> Callable[[Study], Study]:
    return lambda study: dataclasses.replace(study, **{section: dataclasses.replace(getattr(study, section), **values)})


@pytest.mark.parametrize(
    "option",
    [
        part("model", tied_head=True),
        part("model", position="learned", norm="layernorm", feed_forward="gelu", token_shift=False),
        part("training", schedule="cosine"),
        part("training", schedule="constant", label_smoothing=0.1, unique_tokens=1024),
        part("model", attention="window", window=4, dropout=0.1),
        part("mixture", skills=(), skill_share=0.0),
        part("execution", precision="bf16"),
    ],
    ids=["tied_head", "other_parts", "cosine", "regularised", "window", "text_only", "bf16"],
)
def test_every_option_goes_all_the_way(tiny_study: Study, option: Callable[[Study], Study]) -> None:
    cells = run_all(option(tiny_study))
    assert not cells["diverged"].any()
    # Random tokens teach nothing: the loss stays at that of a uniform guess.
    assert np.allclose(cells["val/loss"], np.log(100), atol=0.2)


def test_a_diverged_run_is_recorded_and_the_dag_goes_on(tiny_study: Study) -> None:
    study = tiny_study
    find_rates(study)
    # 1e-2 at width 16, 2^100 = 1e30 times that at width 8.
    write_json(Paths(study.study).rate_law, {"prefactor": 1e-2 * 16.0**100, "exponent": -100.0})
    cells = run_all(study)
    assert dict(zip(cells["size"], cells["diverged"], strict=True)) == {"d16": False, "d8": True}
    assert cells[cells["diverged"]]["val/bpb"].isna().all()
    assert np.isfinite(cells[~cells["diverged"]]["val/bpb"]).all()
    paths = Paths(study.study)
    fitted = read_json(paths.of("laws", "laws.json"))
    assert fitted["cells_diverged"] == 2
    assert "needs more than 2 cells" in fitted["conventions"]["matmul"]["not_fitted_because"]
    assert fitted["forecast"] == {}
    page = paths.of("report", "report.html").read_text()
    assert "4 cells, 2 diverged" in page
    assert "no fit: a fit of 5 parameters needs more than 2 cells" in page


def test_the_ladder_s_last_recipe_is_the_study_s_own(tiny_study: Study) -> None:
    cells = run_all(tiny_study).set_index(["size", "budget"])
    paths = Paths(tiny_study.study)
    for name in RECIPES:
        for size in tiny_study.ladder.sizes:
            recipe.run(tiny_study, "0", name, size)
    rows = {name: pd.read_csv(paths.of("recipe", f"0/{name}-d8.csv")).set_index("budget") for name in RECIPES}
    for budget in tiny_study.ladder.budgets:
        # CSV files keep six digits.
        assert rows["tuned"].loc[budget, "val/loss"] == pytest.approx(cells.loc[("d8", budget), "val/loss"], rel=1e-5)
        assert rows["tuned"].loc[budget, "flops"] == cells.loc[("d8", budget), "flops"]
    law = pretraining.read_rate_law(tiny_study)
    rates_of = {name: rows[name]["rate"].unique().tolist() for name in RECIPES}
    largest, own = [pytest.approx(law.peak("d16"), rel=1e-5)], [pytest.approx(law.peak("d8"), rel=1e-5)]
    assert rates_of == {"base": largest, "warmup": largest, "decay": largest, "tuned": own}
    assert not rows["base"]["val/loss"].equals(rows["warmup"]["val/loss"]), "the warmup is another"
    assert not rows["warmup"]["val/loss"].equals(rows["decay"]["val/loss"]), "the rate decays"
    at_largest = [pd.read_csv(paths.of("recipe", f"0/{name}-d16.csv"))["val/loss"] for name in ("decay", "tuned")]
    assert at_largest[0].equals(at_largest[1]), "the largest size has its own rate in both"
    ladder.run(tiny_study, "0")
    rungs = pd.read_csv(paths.of("ladder", "0.csv"))
    assert rungs["recipe"].tolist() == ["base", "base", "base", "base", "warmup", "warmup", "decay", "decay",
                                        "tuned", "tuned"]  # fmt: skip
    assert paths.of("ladder", "0.png").stat().st_size > 10_000


def test_a_budget_beyond_the_mixture_is_refused(tiny_study: Study) -> None:
    study = part("grid", budgets=("4k", "8k", "900k"))(tiny_study)
    find_rates(study)
    init.run(study, "d8")
    trunk.run(study, "d8", "init", "4k")
    with pytest.raises(UserError, match=r"trunk-d8-900k: budget needs .* tokens, but the mixture holds"):
        trunk.run(study, "d8", "4k", "900k")


def test_a_forecast_of_a_known_surface_is_right(tiny_study: Study) -> None:
    """The sealed cells lie on the surface of the known ones, to 0.1 %: so must the forecast and its intervals."""
    labels = ("1k", "2k", "4k", "8k", "16k", "80k")
    grid = dataclasses.replace(
        tiny_study.grid,
        sizes=("d32", "d16", "d12", "d8"),
        budgets=labels,
        segments=tuple(
            Segment(after, to, "forecast" if to == "80k" else "tokenizer")
            for after, to in itertools.pairwise(("init", *labels))
        ),
    )
    study = dataclasses.replace(tiny_study, grid=grid, forecast=dataclasses.replace(tiny_study.forecast, bootstrap=40))
    paths, rng = Paths(study.study), np.random.default_rng(0)
    surface = Surface(E=0.0, A=2e3, B=5e4, alpha=0.9, beta=1.1, gamma=0.3)

    def cell(size: str, budget: str, seal: str | None) -> dict[str, object]:
        n, d = 1000.0 * width_of(size), float(tokens_of(budget))
        loss = float(surface.loss(np.array(n), np.array(d))) * (1 + 1e-3 * rng.standard_normal())
        return {"size": size, "budget": budget, "width": width_of(size), "tokens": d, "flops": 6 * n * d,
                "params_matmul": n, "diverged": False, "val/loss": loss, "forecast": seal}  # fmt: skip

    for size, budget in grid.cells():
        if budget != "80k":
            write_json(paths.evaluation("tokenizer", size, budget), cell(size, budget, None))
    forecast.run(study)
    report = read_json(paths.of("forecast", "report.json"))
    assert report["no_forecast_because"] is None
    cells = pd.DataFrame(cell(s, b, report["digest"] if b == "80k" else None) for s, b in grid.cells())
    scored, score = laws.forecast_scored(paths, cells)
    assert scored["size"].tolist() == ["d32", "d16", "d12", "d8"]
    assert score["form"] == "kaplan"
    assert score["forecast_largest_relative_error"] < 0.01 < score["nearest_run_mean_relative_error"]
    assert score["coverage_95"] >= 0.75
    other = cells.assign(forecast=cells["forecast"].where(cells["forecast"].isna(), "of another law"))
    with pytest.raises(UserError, match="is not what the cells were sealed with"):
        laws.forecast_scored(paths, other)


def test_a_broken_seal_is_refused(tiny_study: Study) -> None:
    grid = dataclasses.replace(
        tiny_study.grid,
        sizes=("d16", "d12", "d8"),
        budgets=("4k", "8k", "40k"),
        segments=(
            Segment("init", "4k", "tokenizer"),
            Segment("4k", "8k", "tokenizer"),
            Segment("8k", "40k", "forecast"),
        ),
    )
    study = dataclasses.replace(tiny_study, grid=grid)
    cells = run_all(study)
    paths = Paths(study.study)
    assert cells[cells["forecast"].notna()]["budget"].unique().tolist() == ["40k"]
    report = read_json(paths.of("forecast", "report.json"))
    assert report["no_forecast_because"] is None or "needs more than" in report["no_forecast_because"]
    write_json(paths.of("forecast", "report.json"), {**report, "chosen": "another"})
    with pytest.raises(UserError, match="is not what the cells were sealed with"):
        laws.run(study)
