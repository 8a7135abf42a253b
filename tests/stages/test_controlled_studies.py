"""A controlled study from its variants to the verdict, on real text and tiny models."""

import shutil
from typing import Any

import pandas as pd
import pytest
import yaml

from scalinglab.errors import UserError
from scalinglab.files import write_json
from scalinglab.paths import Paths, theory_folder, theory_runs
from scalinglab.stages import variant, verdict
from scalinglab.stages.checkpoints import SCRATCH
from tests.conftest import ROOT


def test_from_variants_to_a_verdict(params: dict[str, Any]) -> None:
    for name in params["theory"]["positions"]["variants"]:
        variant.run(params, "positions", name)
    rope, learned = (pd.read_csv(theory_runs("positions") / f"{name}.csv") for name in ("rope", "learned"))
    assert rope["role"].tolist() == ["sweep"] * 3 + ["run"] * 3
    assert rope["seed"].tolist() == [0, 0, 0, 1, 2, 3]
    sweep = rope[rope["role"] == "sweep"]
    best = sweep.loc[sweep["loss"].idxmin(), "rate"]
    assert (rope[rope["role"] == "run"]["rate"] == best).all()
    assert rope["loss"].nunique() == 6
    assert rope[["loss at 1x", "loss at 2x", "loss at 4x"]].notna().all().all()
    assert learned["loss at 2x"].isna().all(), "it has no vector for places it was not trained on"
    verdict.run(params, "positions")
    table = pd.read_csv(theory_folder("positions") / "verdicts.csv")
    assert table["variant"].tolist() == ["learned", "alibi"]
    assert table["difference"].iloc[0] == pytest.approx((learned["loss"] - rope["loss"])[3:].mean(), abs=1e-4)
    for figure in ("forest", "details"):
        assert (theory_folder("positions") / f"{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_again_and_from_its_checkpoint_it_is_bitwise_the_same(params: dict[str, Any]) -> None:
    tables = []
    for again in range(3):
        if again == 2:
            shutil.rmtree(SCRATCH)
        variant.run(params, "positions", "rope")
        tables.append((theory_runs("positions") / "rope.csv").read_bytes())
    assert tables[0] == tables[1] == tables[2]


def test_another_law_of_rates_takes_no_rows_of_the_one_before(params: dict[str, Any]) -> None:
    variant.run(params, "positions", "rope")
    before = pd.read_csv(theory_runs("positions") / "rope.csv")
    write_json(Paths("smoke").rate_law, {"prefactor": 0.002, "exponent": 0.0})
    variant.run(params, "positions", "rope")
    after = pd.read_csv(theory_runs("positions") / "rope.csv")
    assert after["rate"][:3].tolist() == pytest.approx([0.001, 0.002, 0.004])
    assert not (after["loss"] == before["loss"]).any()


def test_unknown_measures_are_refused_before_anything_is_trained(params: dict[str, Any]) -> None:
    params["theory"]["positions"]["measures"] = ["speed"]
    with pytest.raises(UserError, match=r"positions\.yaml: measures: speed: unknown; known: activations, "):
        variant.run(params, "positions", "rope")


def test_other_seeds_and_rates_take_no_rows_of_the_ones_before(params: dict[str, Any]) -> None:
    """Though the runs that they share are not trained again."""

    def runs(seeds: list[int], rates: list[float]) -> pd.DataFrame:
        params["theory"]["positions"] |= {"seeds": seeds, "rates": rates}
        variant.run(params, "positions", "rope")
        return pd.read_csv(theory_runs("positions") / "rope.csv")

    first = runs([1, 2, 3], [1, 2])
    second = runs([3, 4], [2, 4])
    assert second["seed"].tolist() == [0, 0, 3, 4]
    assert second["factor"].tolist()[:2] == [2, 4]
    shared = first[(first["role"] == "sweep") & (first["factor"] == 2)]["loss"].item()
    assert second["loss"].iloc[0] == shared
    assert runs([1, 2], [1])["role"].tolist() == ["run", "run"]


def test_precision_goes_from_its_variants_to_a_row_each(params: dict[str, Any]) -> None:
    params["theory"] = yaml.safe_load((ROOT / "studies/precision.yaml").read_text())["theory"]
    params["theory"]["precision"] |= {"size": "d8", "tokens": "4k", "seeds": [1], "rates": [1]}
    rows = {}
    for name in ("fp32", "fp16-small", "fp16-dynamic"):
        variant.run(params, "precision", name)
        rows[name] = pd.read_csv(theory_runs("precision") / f"{name}.csv").iloc[0]
    assert rows["fp32"][["gradients flushed", "gradients off", "steps skipped"]].tolist() == [0, 0, 0]
    assert rows["fp16-small"]["gradients flushed"] > rows["fp16-dynamic"]["gradients flushed"]
    assert [rows[name]["loss scale"] for name in rows] == pytest.approx([1, 2**-4, 2**16], rel=1e-5)  # as written
    assert len({row["loss"] for row in rows.values()}) == 3
