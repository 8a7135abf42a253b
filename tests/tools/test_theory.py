"""The quick form of a question: what is refused before anything trains, and what is told after."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalinglab.errors import UserError
from scalinglab.tools import theory
from tests.conftest import ROOT


def ask(name: str, cores: int = 1, quick: bool = True) -> None:
    theory.run(argparse.Namespace(name=name, cores=cores, quick=quick))


def test_what_cannot_be_asked_says_what_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "studies", "studies")
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    shutil.copy(ROOT / "presets/smoke.yaml", "params.yaml")
    with pytest.raises(UserError, match="no question 'attention_map' in studies/; did you mean 'attention_maps'?"):
        ask("attention_map", quick=False)
    with pytest.raises(UserError, match="known: attention_kinds, attention_scale"):
        ask("xyz")
    with pytest.raises(UserError, match="`snakemake --cores 2 theory_norms` runs the whole"):
        ask("norms", quick=False)
    with pytest.raises(UserError, match="--cores 0: must be at least 1"):
        ask("norms", cores=0)
    with pytest.raises(UserError, match="snakemake --cores 2 .*results/smoke/encode/train.npy .*results/smoke/rates/"):
        ask("norms")
    with pytest.raises(UserError, match="results/smoke/encode/validation.npy$"):  # and not its own parts
        ask("unit_scaling")


def test_a_mistake_in_any_variant_is_told_before_one_trains(params: dict[str, Any]) -> None:
    study = params["theory"]["positions"]
    study["quick"] = {"tokens": "2k", "seeds": [1, 2], "rates": [1]}
    study["variants"] = {"rope": {}, "wrong": {"model": {"positon": "none"}}}
    with pytest.raises(UserError, match="did you mean 'position'"):
        theory.compared(params, "positions", 1, Path("quick"))
    study["variants"]["wrong"] = {"model": {"position": "none"}}
    study["measures"] = ["leek"]
    with pytest.raises(UserError, match="measures: leek: unknown; known: activations"):
        theory.compared(params, "positions", 1, Path("quick"))
    assert not Path(".scratch").exists(), "nothing has trained"


def test_a_measurement_in_parts_is_put_together(params: dict[str, Any]) -> None:
    params |= yaml.safe_load((ROOT / "studies/unit_scaling.yaml").read_text())
    families = params["measured"]["unit_scaling"]["settings"]["rates"]
    params["measured"]["unit_scaling"]["quick"] = {
        "sizes": ["d8", "d16"], "tuned_at": "d8", "tokens": "2k", "rates": {family: [0.01] for family in families},
        "seeds": [1], "check_sizes": ["d8", "d16"], "check_steps": 2, "looked_at": "d8", "start": 2,
    }  # fmt: skip
    theory.measured(params, "unit_scaling", 2, Path("quick"))
    assert {path.stem for path in Path("quick/parts").iterdir()} == set(families)
    assert "no verdict" in Path("quick/findings.md").read_text()


def test_two_seeds_give_no_verdict_and_say_so(
    params: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = params["theory"]["positions"]
    study["quick"] = {"tokens": "2k", "seeds": [1, 2], "rates": [1]}
    study["variants"] = {"rope": {}, "none": {"model": {"position": "none"}}}
    study["measures"] = []
    theory.compared(params, "positions", 1, Path("quick"))
    said = capsys.readouterr().out
    assert "no verdict" in said
    assert "A verdict takes 3 seeds at least: quick.seeds in studies/positions.yaml" in said
    assert Path("quick/positions.png").exists()
