"""What cache.py needs of DVC's semi-public API, on a pipeline of two stages that copy a file."""

import hashlib
import os
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


def cached(repository: Path, text: str) -> Path:
    """The object in the cache that holds a text."""
    found = hashlib.md5(text.encode()).hexdigest()
    return repository / ".dvc/cache/files/md5" / found[:2] / found[2:]


def damage(path: Path) -> None:
    """Flip a bit and leave size and time stamp as they are: what a failing disk does."""
    stamp, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    path.chmod(mode)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_damaged_cache_object_is_not_restored(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    damage(cached(repository, "code"))
    for name in ("a", "b"):
        (repository / "results" / name).unlink()
    with cache.opened() as held:
        assert held.restore() == []
        assert held.valid() == []
    assert "the cached copy of results/a was damaged and is removed" in capsys.readouterr().err
    assert not list((repository / "results").glob("*")), "the stages run again"


def test_a_result_that_only_the_run_cache_knows_is_no_damage(repository: Path) -> None:
    """dvc.lock tells of another result, as after `git restore dvc.lock`: both stay in the cache."""
    with cache.opened() as held:
        held.record({"first", "second"})
    before = (repository / "dvc.lock").read_text()
    (repository / "src/code").write_text("new")
    for name in ("a", "b"):
        (repository / "results" / name).write_text("new")
    with cache.opened() as held:
        held.record({"first", "second"})
    (repository / "dvc.lock").write_text(before)
    for name in ("a", "b"):
        (repository / "results" / name).unlink()
    with cache.opened() as held:
        assert held.restore() == ["first", "second"]
    assert (repository / "results/b").read_text() == "new"
    assert cached(repository, "code").exists()


@pytest.mark.parametrize("where", ["cache", "folder"])
def test_verify_finds_what_time_stamps_hide(repository: Path, where: str) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    with cache.opened() as held:
        assert held.verify() == []
    path = cached(repository, "code") if where == "cache" else repository / "results/b"
    damage(path)
    with cache.opened() as held:
        assert [Path(name).name for name in held.verify()] == [path.name]
        assert not path.exists()
    with cache.opened() as held:
        held.restore()
        assert set(held.valid()) == ({"first", "second"} if where == "folder" else set())


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_a_lock_file_that_was_cut_short_is_made_anew(repository: Path, part: float) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    lock = repository / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: int(part * len(whole))])
    (repository / ".dvc/tmp/rwlock").write_text('{"a": {"read"')
    with cache.opened() as held:
        held.restore()
        assert set(held.valid()) == {"first", "second"}
    assert lock.read_text() == whole
