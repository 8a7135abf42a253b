"""What cache.py needs of DVC's semi-public API, on a pipeline of two stages that copy a file."""

import subprocess
from pathlib import Path

import pytest

from scalinglab import cache

PIPELINE = """
stages:
  first:
    cmd: cp src/code results/a
    deps: [src]
    params: [x]
    outs: [results/a]
  second:
    cmd: cp results/a results/b
    deps: [results/a, src]
    outs: [results/b]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both stages have run, and DVC does not know yet."""
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "results").mkdir()
    for name, text in {
        ".gitignore": "results/\n",
        "dvc.yaml": PIPELINE,
        "params.yaml": "x: 1\n",
        "src/code": "code",
        "results/a": "code",
        "results/b": "code",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_recorded_is_valid_and_comes_back(repository: Path) -> None:
    with cache.opened() as held:
        assert held.valid() == []
        held.record({"first", "second"})
        assert set(held.valid()) == {"first", "second"}
    (repository / "results/b").unlink()
    with cache.opened() as held:
        assert held.restore() == ["second"]
        assert set(held.valid()) == {"first", "second"}
    assert (repository / "results/b").read_text() == "code"


@pytest.mark.parametrize(("path", "text"), [("params.yaml", "x: 2\n"), ("src/code", "new code")])
def test_a_change_makes_its_stages_stale_until_it_is_undone(repository: Path, path: str, text: str) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    before = (repository / path).read_text()
    (repository / path).write_text(text)
    with cache.opened() as held:
        assert held.restore() == []
        assert held.valid() == []
    (repository / path).write_text(before)
    with cache.opened() as held:
        assert set(held.valid()) == {"first", "second"}


def test_stages_that_recorded_different_code_are_told_apart(repository: Path) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    (repository / "src/code").write_text("new code")
    with cache.opened() as held:
        held.record({"first"})  # only the first was made again: its output is the same, so is its hash
        (repository / "results/a").write_text("code")
    with cache.opened() as held:
        assert set(held.valid()) == {"first"}


def test_recording_one_stage_says_nothing_of_the_next(repository: Path) -> None:
    with cache.opened() as held:
        held.record({"first"})
    with cache.opened() as held:
        assert set(held.valid()) == {"first"}
