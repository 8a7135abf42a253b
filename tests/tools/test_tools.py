"""The tools around a study: comparing, pricing, switching."""

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from scalinglab import cli, config
from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.model.counts import count
from scalinglab.model.shape import shape_of
from scalinglab.skills import SKILLS, skill
from scalinglab.tools.compare import compare
from scalinglab.tools.cost import costs
from scalinglab.training.schedule import branch_step, steps_of
from tests.conftest import ROOT


def bpb(**cells: float) -> pd.DataFrame:
    return pd.DataFrame([{"size": size, "budget": "1M", "val/bpb": value} for size, value in cells.items()])


def test_compare_counts_in_seed_noise() -> None:
    rows = compare(bpb(d8=2.04, d16=1.5), bpb(d8=2.0, d16=1.5, d32=1.2), noise=0.01)
    assert dict(zip(rows["cell"], rows["units"], strict=True)) == {"d8-1M": pytest.approx(2.0), "d16-1M": 0.0}


def test_compare_needs_noise_and_common_cells() -> None:
    with pytest.raises(UserError, match="no replicas"):
        compare(bpb(d8=1), bpb(d8=1), noise=None)
    with pytest.raises(UserError, match="no cell is common"):
        compare(bpb(d8=1), bpb(d16=1), noise=0.1)


def test_cost_counts_the_trunk_once(smoke: Study) -> None:
    tune, trunk, anneal, _ = costs(smoke)
    training = smoke.training
    for size in smoke.grid.sizes:
        expected_anneal = 0
        vocab = smoke.tokenizer.vocab_size + smoke.tokenizer.skill_symbols
        per_token = count(shape_of(size, smoke.model, vocab, smoke.mixture.seq_len), smoke.model).flops_per_token
        per_step = per_token * training.batch_tokens
        assert trunk.flops[size] == per_step * branch_step(smoke.grid.budgets[-1], training)
        for budget in smoke.grid.budgets:
            last = steps_of(config.tokens_of(budget), training.batch_tokens)
            expected_anneal += per_step * (last - branch_step(budget, training))
        assert anneal.flops[size] == expected_anneal
        if size in smoke.tune.sizes:
            steps = steps_of(config.tokens_of(smoke.tune.budget), training.batch_tokens)
            assert tune.flops[size] == per_step * steps * len(smoke.tune.rates)
    laddered = dataclasses.replace(smoke, ladder=dataclasses.replace(smoke.ladder, seeds=(0, 1)))
    assert [row.jobs for row in costs(laddered) if row.family == "recipe"] == [2 * 4 * 3]


def test_use_switches_and_shows_the_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["use", "smoke"]) == 0
    assert cli.main(["use", "laptop"]) == 0
    shown = capsys.readouterr().out
    assert "-study: smoke" in shown
    assert "+study: laptop" in shown
    assert "GFLOP/s a job" in shown
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "presets/laptop.yaml").read_text()


def test_a_mistake_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "presets").mkdir()
    assert cli.main(["use", "desktop"]) == 2
    assert cli.main(["clean"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "error: no preset 'desktop'; known: , or give a path to a YAML file"
    assert errors[1].startswith("error: params.yaml is missing")
    assert len(errors) == 2


def test_skills_lists_entries_that_params_yaml_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["skills"]) == 0
    entries = [yaml.safe_load(line) for line in capsys.readouterr().out.split("\n") if line.startswith("    {")]
    assert [skill(entry) for entry in entries] == [kind() for kind in SKILLS.values()]
