"""Receipts: written only for a run that ended well on sources that stood still."""

from pathlib import Path

import pytest

from scalinglab import pipeline, receipts
from scalinglab.errors import UserError


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "src/scalinglab").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("study: mine\nlr: 1\n")


def test_a_receipt_holds_what_the_run_saw() -> None:
    with receipts.written("trunk", {"size": "d8", "after": "init", "to": "1M"}) as params:
        Path("params.yaml").write_text("study: mine\nlr: 2\n")
    (receipt,) = receipts.read_all("mine")
    assert receipt.params == params == {"study": "mine", "lr": 1}
    assert receipt.options == {"size": "d8", "after": "init", "to": "1M"}
    assert receipts.read_all("other") == []


def test_a_failing_stage_leaves_none() -> None:
    with pytest.raises(ZeroDivisionError), receipts.written("clean", {}):
        raise ZeroDivisionError
    assert receipts.read_all("mine") == []


def test_sources_that_change_while_the_stage_runs_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("src/scalinglab/loop.py").write_text("a = 1")
    monkeypatch.setattr(pipeline, "own_sources", lambda: {"src/scalinglab/loop.py": "another digest"})
    with pytest.raises(UserError, match=r"loop\.py changed while stage trunk ran"), receipts.written("trunk", {}):
        pass
    assert receipts.read_all("mine") == []


def test_none_under_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "clean")
    with receipts.written("clean", {}):
        pass
    assert receipts.read_all("mine") == []


@pytest.mark.parametrize("edited", ["params.yaml", "src/scalinglab/clean.py"])
def test_what_changed_after_planning_fails_the_job(monkeypatch: pytest.MonkeyPatch, edited: str) -> None:
    Path("src/scalinglab/clean.py").write_text("a = 1")
    deps = "[src/scalinglab/clean.py]"
    Path("dvc.yaml").write_text(f"stages: {{clean: {{cmd: x, deps: {deps}, params: [lr], outs: [results/a]}}}}")
    pipeline.code_digest.cache_clear()
    stage = pipeline.find(pipeline.load(), "clean", {})
    assert stage is not None
    monkeypatch.setenv(receipts.PLAN, pipeline.plan_of(stage, pipeline.read_params()))
    with receipts.written("clean", {}):
        pass
    assert len(receipts.read_all("mine")) == 1
    Path(edited).write_text("{study: mine, lr: 2}")
    pipeline.code_digest.cache_clear()  # another process
    with pytest.raises(UserError, match="changed after snakemake had planned"), receipts.written("clean", {}):
        pytest.fail("the stage ran")
