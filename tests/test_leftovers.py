"""What is cleared up before and after a run, and what is not."""

import shutil
from pathlib import Path

import pytest

from scalinglab import leftovers, pipeline
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    text = (ROOT / "presets/smoke.yaml").read_text().replace("seeds: []", "seeds: [0]")
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def test_checkpoints_go_with_their_own_stage_and_study_alone(project: Path) -> None:
    of = {
        "tune@d8": ["tune-d8", "tune-d8.older", "tune-d8.0.03", "tune-d8.0.03.older"],
        "trunk@d8-segment1": ["trunk-d8-80k", "trunk-d8-80k.older"],
        "anneal@d12-20k": ["anneal-d12-20k"],
        "studies/dvc.yaml:variant_norms@rmsnorm": ["variant-norms-rmsnorm", "variant-norms-rmsnorm.run-1-2.older"],
        "recipe@0-tuned-d8": ["recipe-0-tuned-d8", "recipe-0-tuned-d8.budgets"],
    }
    others = ["trunk-d8-20k", "anneal-d12-80k", "tune-d16", "recipe-0-base-d8", "trunk-d8s1-80k",
              "variant-norms-rmsnorm-post", "variant-norms-rmsnorm-post.run-1-2"]  # fmt: skip
    for study in ("smoke", "another"):
        folder = project / ".scratch" / study / "checkpoints"
        folder.mkdir(parents=True)
        for name in [*(name for names in of.values() for name in names), *others]:
            (folder / f"{name}.safetensors").write_bytes(b"")
    leftovers.drop_checkpoints(s for s in pipeline.stages_of(pipeline.load()) if s.name in of)
    left = {path.name.removesuffix(".safetensors") for path in (project / ".scratch/smoke/checkpoints").iterdir()}
    assert left == set(others)
    assert len(list((project / ".scratch/another/checkpoints").iterdir())) == len(others) + 11


def test_half_files_and_stale_locks_go(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = [Path("results/smoke/tune/.d8.csv.12.tmp"), Path(".scratch/.a.3.tmp"), Path(".snakemake/.k.json.4.tmp")]
    lock, kept = Path(".snakemake/locks/0.output.lock"), Path("results/smoke/tune/d8.csv")
    for path in (*half, lock, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    leftovers.of_killed_run()
    assert not any(path.exists() for path in (*half, lock))
    assert kept.exists()
    assert "the last run was killed" in capsys.readouterr().err
