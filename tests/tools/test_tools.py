"""The tools around a study: comparing, pricing, switching."""

import shutil
from pathlib import Path

import pytest

from scalinglab import cli, config
from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.model.counts import count
from scalinglab.model.shape import shape_of
from scalinglab.tools.compare import compare
from scalinglab.tools.cost import costs
from scalinglab.training.schedule import branch_step, steps_of
from tests.conftest import ROOT


def test_compare_counts_in_seed_noise() -> None:
    published = {"seed_noise": 0.01, "val/bpb": {"d8-1M": 2.0, "d16-1M": 1.5, "d32-1M": 1.2}}
    own = {"seed_noise": None, "val/bpb": {"d8-1M": 2.04, "d16-1M": 1.5}}
    rows = {cell: units for cell, _, _, units in compare(own, published)}
    assert rows == {"d8-1M": pytest.approx(2.0), "d16-1M": 0.0}


def test_compare_needs_noise_and_common_cells() -> None:
    with pytest.raises(UserError, match="no replicas"):
        compare({"val/bpb": {"a": 1}}, {"seed_noise": None, "val/bpb": {"a": 1}})
    with pytest.raises(UserError, match="no cell is common"):
        compare({"val/bpb": {"a": 1}}, {"seed_noise": 0.1, "val/bpb": {"b": 1}})


def test_cost_counts_the_trunk_once(smoke: Study) -> None:
    trunk, anneal, _ = costs(smoke)
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
