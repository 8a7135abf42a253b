"""A diverged run is recorded, passes through every later stage, and is reported; the DAG goes on."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalinglab.config import Segment, Study
from scalinglab.figures import FIGURES
from scalinglab.files import read_json, write_json
from scalinglab.paths import Paths
from scalinglab.stages import anneal, emergence, evaluate, figures, init, laws, report, shots, table, trunk


@pytest.fixture
def study(smoke: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two sizes and two tiny budgets on random tokens; the narrower one has an absurd learning rate."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("smoke")
    rng = np.random.default_rng(0)
    paths.of("encode", "").mkdir(parents=True)
    np.save(paths.of("encode", "train.npy"), rng.integers(0, 100, (800, 65)).astype(np.uint16))
    np.save(paths.of("encode", "train-scored.npy"), np.ones((800, 64), dtype=bool))
    np.save(paths.of("encode", "validation.npy"), rng.integers(0, 100, (32, 65)).astype(np.uint16))
    manifest = {"vocab_size": 100, "skill_offset": 3, "validation_bytes": 4096}
    write_json(paths.manifest, manifest)
    write_json(paths.of("clean", "report.json"), {"in": {"documents": 1, "bytes": 1}})
    write_json(paths.of("tokenizer", "report.json"), {"vocab_size": 100, "bytes_per_token": 2.0})
    grid = dataclasses.replace(
        smoke.grid, sizes=("d16", "d8"), budgets=("4k", "8k"), segments=(Segment("init", "4k"), Segment("4k", "8k"))
    )
    # (8 / 16) ^ -100 = 1e30 at width 8.
    training = dataclasses.replace(smoke.training, lr_width=16, lr_exponent=-100.0, warmup_tokens=1024)
    return dataclasses.replace(smoke, grid=grid, training=training)


def test_the_dag_goes_on(study: Study) -> None:
    for size in study.grid.sizes:
        init.run(study, size)
        for segment in study.grid.segments:
            trunk.run(study, size, segment.after, segment.to)
            anneal.run(study, size, segment.to)
            evaluate.run(study, size, segment.to)
            shots.run(study, size, segment.to)
    table.run(study)
    laws.run(study)
    emergence.run(study)
    for name in FIGURES:
        figures.run(study, name)
    report.run(study)

    paths = Paths(study.study)
    cells = pd.read_csv(paths.cells)
    assert cells.set_index("size")["diverged"].to_dict() == {"d16": False, "d8": True}
    assert cells[cells["diverged"]]["val/bpb"].isna().all()
    assert np.isfinite(cells[~cells["diverged"]]["val/bpb"]).all()
    fitted = read_json(paths.of("laws", "laws.json"))
    assert fitted["cells_diverged"] == 2
    assert "needs more than 2 cells" in fitted["parametric_not_fitted_because"]
    page = paths.of("report", "report.html").read_text()
    assert "4 cells, 2 diverged" in page
    assert "No surface was fitted" in page
