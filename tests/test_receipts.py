"""Receipts: written only for a run that ended well on sources that stood still."""

import hashlib
from pathlib import Path

import pytest

from scalinglab import files, pipeline, receipts
from scalinglab.errors import UserError

OPTIONS = {"size": "d8", "after": "init", "to": "1M"}


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "src/scalinglab").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("study: mine\nlr: 1\n")
    declare("trunk", "--size d8 --after init --to 1M", "[results/b, results/c]")


def declare(stage: str, options: str = "", deps: str = "[]") -> None:
    """A dvc.yaml of one stage."""
    spec = f"{{cmd: python -m scalinglab {stage} {options}, deps: {deps}, params: [lr], outs: [results/a]}}"
    Path("dvc.yaml").write_text(f"stages: {{{stage}: {spec}}}")


def test_a_receipt_holds_what_the_run_saw() -> None:
    files.write_text(Path("results/b"), "read")
    with receipts.written("trunk", OPTIONS) as params:
        Path("params.yaml").write_text("study: mine\nlr: 2\n")
        files.write_text(Path("results/a"), "made")
        files.write_text(Path("results/b"), "another now")
    (receipt,) = receipts.read_all("mine")
    assert receipt.params == params == {"study": "mine", "lr": 1}
    assert receipt.options == OPTIONS
    assert receipt.inputs == {"results/b": hashlib.sha256(b"read").hexdigest()}
    assert receipt.outs == {"results/a": hashlib.sha256(b"made").hexdigest()}
    assert receipts.read_all("other") == []


def test_a_failing_stage_leaves_none() -> None:
    with pytest.raises(ZeroDivisionError), receipts.written("trunk", OPTIONS):
        raise ZeroDivisionError
    assert receipts.read_all("mine") == []


def test_sources_that_change_while_the_stage_runs_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("src/scalinglab/loop.py").write_text("a = 1")
    monkeypatch.setattr(pipeline, "own_sources", lambda: {"src/scalinglab/loop.py": "another digest"})
    with pytest.raises(UserError, match=r"loop\.py changed while stage trunk ran"), receipts.written("trunk", OPTIONS):
        pass
    assert receipts.read_all("mine") == []


def test_none_under_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "trunk")
    with receipts.written("trunk", OPTIONS):
        pass
    assert receipts.read_all("mine") == []


@pytest.mark.parametrize("edited", ["params.yaml", "src/scalinglab/clean.py"])
def test_what_changed_after_planning_fails_the_job(monkeypatch: pytest.MonkeyPatch, edited: str) -> None:
    Path("src/scalinglab/clean.py").write_text("a = 1")
    declare("clean", deps="[src/scalinglab/clean.py]")
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


def test_one_of_an_older_version_is_left_out() -> None:
    with receipts.written("trunk", OPTIONS):
        pass
    (receipt,) = receipts.read_all("mine")
    older = {name: value for name, value in vars(receipt).items() if name != "inputs"} | {"started": 1.0}
    files.write_json(receipt.path, older)
    assert receipts.read_all("mine") == []
