"""The overall progress line: what counts as done, of the study and of questions beside it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalinglab import files
from scalinglab.paths import KNOWN
from scalinglab.progress import Progress
from tests.conftest import ROOT

STARTED = 1000.0


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "presets/smoke.yaml", tmp_path / "params.yaml")
    values = yaml.safe_load((ROOT / "presets/smoke.yaml").read_text())
    variants = {"rope": {}, "alibi": {}}
    asked = {"size": "d64", "tokens": "100k", "seeds": [1, 2, 3], "rates": [1, 2], "variants": variants}
    return values | {"theory": {"positions": asked}, "measured": {"decoding": {"settings": {"size": "d64"}}}}


def write(path: str, text: str, when: float) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    os.utime(path, (when, when))


def note(job: str, tokens: int, when: float = STARTED + 1) -> None:
    line = json.dumps({"tokens": tokens, "first": 0, "total": 100, "loss": 1.0})
    write(f".scratch/smoke/live/{job}.jsonl", f"{line}\n", when)


def test_what_stood_before_counts_only_where_it_was_up_to_date(params: dict[str, Any]) -> None:
    """After a change of code all results still stand, and yet all is to be done."""
    evaluations = [f"results/smoke/evaluate/forecast/{size}-80k.json" for size in ("d16", "d12", "d8")]
    for path in evaluations[:2]:
        write(path, "{}", STARTED - 1)
    assert "0/6 cells" in Progress(params, [], STARTED).line()
    files.write_json(KNOWN, {"evaluate@d12-segment1": "its digest"})
    progress = Progress(params, [], STARTED)
    assert "1/6 cells" in progress.line()
    write(evaluations[2], "{}", STARTED + 1)
    assert "2/6 cells" in progress.line()


def test_training_that_is_done(params: dict[str, Any]) -> None:
    progress = Progress(params, [], STARTED)
    assert progress.line().startswith("study smoke: 0 % of training")
    for size in ("d16", "d12", "d8"):
        for budget in ("20k", "80k"):
            for path in (f"trunk/{size}/{budget}", f"anneal/{size}-{budget}"):
                write(f"results/smoke/{path}.safetensors", "", STARTED + 1)
    for size in params["tune"]["sizes"]:
        write(f"results/smoke/tune/{size}.csv", "", STARTED + 1)
    assert progress.line().startswith("study smoke: 100 % of training")


def test_runs_of_a_sweep_count_one_by_one(params: dict[str, Any]) -> None:
    """Two variants of five runs each: one has made two and a half, and an old note of another day is none."""
    progress = Progress(params, ["positions"], STARTED)
    assert progress.line() == "positions: 0 % of training, 0/2 jobs"
    note("variant-positions-rope.sweep-1-0", 100)
    note("variant-positions-rope.sweep-2-0", 100)
    note("variant-positions-rope.run-2-1", 50)
    note("variant-positions-alibi.run-2-1", 100, STARTED - 1)
    assert progress.line().startswith("positions: 25 % of training, 0/2 jobs, about ")
    write("results/theory/positions/runs/alibi.csv", "", STARTED + 1)
    assert progress.line().startswith("positions: 75 % of training, 1/2 jobs")


def test_a_measurement_is_done_with_its_record(params: dict[str, Any]) -> None:
    progress = Progress(params, ["decoding"], STARTED)
    write("results/theory/decoding/speed.csv", "", STARTED + 1)
    assert "0/1 jobs" in progress.line()
    write("results/theory/decoding/measurement.json", "{}", STARTED + 1)
    assert progress.line() == "decoding: 100 % of training, 1/1 jobs"


def test_runs_of_parts_count_one_by_one(params: dict[str, Any]) -> None:
    shutil.copytree(ROOT / "studies", "studies")
    asked = yaml.safe_load((ROOT / "studies/unit_scaling.yaml").read_text())
    asked["measured"]["unit_scaling"]["settings"] |= {"sizes": ["d8", "d16"], "seeds": [1, 2, 3], "tokens": "100k"}
    for rates in asked["measured"]["unit_scaling"]["settings"]["rates"].values():
        rates[:] = [1, 2]
    progress = Progress(params | asked, ["unit_scaling"], STARTED)
    assert progress.line() == "unit_scaling: 0 % of training, 0/6 jobs"
    for run in range(5):  # of 2 x (2 + 3) runs of one part of five
        note(f"part-unit_scaling-mup.{run}", 100)
    assert progress.line().startswith("unit_scaling: 10 % of training, 0/6 jobs, about ")
    write("results/theory/unit_scaling/parts/mup.json", "{}", STARTED + 1)
    assert progress.line().startswith("unit_scaling: 20 % of training, 1/6 jobs, about ")
