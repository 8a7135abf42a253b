"""A study small enough to run every stage after encode in seconds, in a folder of its own."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from scalinglab import shards
from scalinglab.config import Segment, Study
from scalinglab.files import write_json
from scalinglab.paths import Paths
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _outputs_are_those_declared(tmp_path: Path) -> Iterator[None]:
    """Each file that a measurement writes stands in studies/dvc.yaml, and no other: else Snakemake would drop them."""
    yield
    stages = yaml.safe_load((ROOT / "studies/dvc.yaml").read_text())["stages"]
    for record in tmp_path.glob("results/theory/*/measurement.json"):
        declared = {Path(next(iter(out))).name for out in stages[f"measure_{record.parent.name}"]["outs"]}
        assert {path.name for path in record.parent.iterdir() if path.is_file()} == declared
        for path in record.parent.glob("parts/*"):
            pattern = next(iter(stages[f"part_{record.parent.name}"]["do"]["outs"][0]))
            assert path.relative_to(tmp_path).as_posix() == pattern.replace("${key}", path.stem)


@pytest.fixture
def tiny_study(smoke: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two sizes and two tiny budgets on random tokens; the working directory is the study's."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("smoke")
    rng = np.random.default_rng(0)
    paths.of("encode", "").mkdir(parents=True)
    np.save(paths.of("encode", "train.npy"), rng.integers(0, 100, (800, 65)).astype(np.uint16))
    np.save(paths.of("encode", "train-scored.npy"), np.ones((800, 64), dtype=bool))
    np.save(paths.of("encode", "validation.npy"), rng.integers(0, 100, (32, 65)).astype(np.uint16))
    sums = shards.checksums(paths.of("encode", ""))
    manifest = {"vocab_size": 100, "skill_offset": 3, "validation_bytes": 4096, "sha256": sums}
    write_json(paths.manifest, manifest)
    write_json(paths.of("clean", "report.json"), {"in": {"documents": 1, "bytes": 1}})
    write_json(paths.of("tokenizer", "report.json"), {"vocab_size": 100, "bytes_per_token": 2.0})
    grid = dataclasses.replace(
        smoke.grid,
        sizes=("d16", "d8"),
        budgets=("4k", "8k"),
        segments=(Segment("init", "4k", "tokenizer"), Segment("4k", "8k", "forecast")),
    )
    training = dataclasses.replace(smoke.training, warmup_tokens=1024)
    tune = dataclasses.replace(smoke.tune, budget="4k")
    ladder = dataclasses.replace(smoke.ladder, seeds=(0,), budgets=("4k", "8k"), warmup_tokens=4096)
    return dataclasses.replace(smoke, grid=grid, training=training, tune=tune, ladder=ladder)
