"""`plan` and `replicate` on tables of other people."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalinglab import cli
from scalinglab.errors import UserError
from scalinglab.laws import extrapolation, parametric
from scalinglab.tools import plan, replicate
from tests.conftest import ROOT
from tests.laws.conftest import grid

EPOCH = ROOT / "../shared/mirror/epoch_chinchilla_svg_extracted_data.csv"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    data = grid(noise=0.002)
    path = tmp_path / "runs.csv"
    columns = {"params": data.n, "toks": data.d, "compute": data.c, "nll": data.loss, "bits": data.loss / np.log(2)}
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "columns", [{"N": "params", "D": "toks"}, {"N": "params", "C": "compute"}, {"D": "toks", "C": "compute"}]
)
def test_two_of_three_columns_are_enough(table: Path, columns: dict[str, str]) -> None:
    data, expected = plan.read(table, {**columns, "loss": "nll"}), grid(noise=0.002)
    for name in ("n", "d", "c"):
        assert np.allclose(getattr(data, name), getattr(expected, name))


def test_bits_are_converted_only_when_declared(table: Path) -> None:
    columns = {"N": "params", "D": "toks", "loss": "bits"}
    with pytest.raises(UserError, match="'bits' seems to be in bits; say --unit bits"):
        plan.read(table, columns)
    assert np.allclose(plan.read(table, columns, "bits").loss, grid(noise=0.002).loss)


def test_unmapped_columns_are_named(table: Path) -> None:
    with pytest.raises(UserError, match=r"has no tokens; it has params, toks"):
        plan.read(table, {"N": "params", "D": "tokens", "loss": "nll"})


def test_plan_answers_with_intervals(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--flops", "1e21", "--csv", str(table), "--resamples", "30"]
    assert cli.main([*arguments, "--column", "N=params", "--column", "D=toks", "--column", "loss=nll"]) == 0
    shown = capsys.readouterr().out
    for line in ("95 % interval", "with 2 times that size", "next run", "an extrapolation", "verdict: identified"):
        assert line in shown
    assert cli.main(["plan", "--csv", str(table)]) == 2
    assert cli.main([*arguments, "--column", "width=params"]) == 2
    assert "say --flops, or --gpus and --hours" in capsys.readouterr().err


@pytest.mark.skipif(not EPOCH.exists(), reason="the published points are not at hand")
def test_published_analyses_are_repeated() -> None:
    data = replicate.chinchilla(EPOCH)
    fit = parametric.fit(data)
    checks = [*replicate.checks_of_fit(fit), *replicate.checks_of_extrapolation(data), *replicate.checks_of_counting()]
    assert [check.name for check in checks if not check.passed] == []
    known, held = extrapolation.split(data, 1e20)
    assert extrapolation.score(extrapolation.forecast(known, 1e-3, 0, 0), known, held)["cells"] == 104
