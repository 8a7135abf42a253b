"""What cache.py needs of DVC's semi-public API, on a pipeline of two stages that copy a file."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalinglab import cache, driver, files, pipeline, receipts
from scalinglab.errors import UserError
from tests.stages.test_full_disk import largest_file


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
        assert held.verify() == cache.Verified(whole=2)
    path = cached(repository, "code") if where == "cache" else repository / "results/b"
    damage(path)
    with cache.opened() as held:
        assert [Path(name).name for name in held.verify().damaged] == [path.name]
        assert not path.exists()
    with cache.opened() as held:
        held.restore()
        assert set(held.valid()) == ({"first", "second"} if where == "folder" else set())


def test_verify_names_what_was_changed_or_is_missing(repository: Path) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    (repository / "results/a").write_text("c0de")
    with cache.opened() as held:
        assert held.verify() == cache.Verified(whole=1, changed=["results/a"])
        assert held.verify().changed == ["results/a"], "said again as long as it is so"
    (repository / "results/b").unlink()
    with cache.opened() as held:
        assert held.verify() == cache.Verified(changed=["results/a"], missing=["results/b"])
        held.restore()
        assert held.verify() == cache.Verified(whole=2)


def test_a_lock_file_cut_at_many_places_is_made_anew(repository: Path) -> None:
    """Cut by a killed `dvc repro`, which writes it in place; and DVC's other file of that kind with it."""
    with cache.opened() as held:
        held.record({"first", "second"})
    lock = repository / "dvc.lock"
    whole = lock.read_text()
    for end in range(0, len(whole), 11):
        lock.write_text(whole[:end])
        (repository / ".dvc/tmp/rwlock").write_text('{"a": {"read"')
        with cache.opened() as held:
            held.restore()
            assert set(held.valid()) == {"first", "second"}, whole[:end]
        assert hashes(lock.read_text()) == hashes(whole)


def hashes(lock: str) -> list[str]:
    """What a lock file says but for sizes, which decide nothing."""
    return [line.strip() for line in lock.split("\n") if "size" not in line]


def test_a_lock_file_that_we_were_writing_comes_back(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cache.opened() as held:
        held.record({"first"})
    before = (repository / "dvc.lock").read_text()

    class KilledError(BaseException):
        pass

    def dump(self: object, *arguments: object, **more: object) -> None:
        (repository / "dvc.lock").write_text(before[:50])
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("dvc.dvcfile.ProjectFile.dump_stages", dump)
        with pytest.raises(KilledError), cache.opened() as held:
            held.record({"second"})
    with cache.opened() as held:
        assert "second" in held.restore()
        assert set(held.valid()) == {"first", "second"}


def test_what_nobody_vouches_for_is_a_stray(repository: Path) -> None:
    with cache.opened() as held:
        assert held.strays({}, set(held.valid()), set()) == {"first"}, "never recorded, and nothing stands before it"
        assert held.strays({}, set(held.valid()), {"first"}) == set(), "its receipt waits"
        held.record({"first"})
        assert held.strays({}, set(held.valid()), set()) == {"second"}
        known = held.locked()
    (repository / "params.yaml").write_text("x: 2\n")
    with cache.opened() as held:
        valid = set(held.valid())
        assert held.strays(known, valid, set()) == set(), "Snakemake made it, and will see that it is stale"
        assert held.strays({}, valid, set()) == {"first"}, "`dvc repro` made it, and Snakemake knows nothing of it"
    (repository / "results/a").write_text("of a killed `dvc repro`")
    with cache.opened() as held:
        assert held.strays(known, set(held.valid()), set()) == {"first"}


def test_a_copy_of_the_lock_file_that_was_left_replaces_no_newer_one(repository: Path) -> None:
    with cache.opened() as held:
        held.record({"first"})
    (repository / ".scratch").mkdir(exist_ok=True)
    (repository / ".scratch/dvc.lock.before").write_bytes((repository / "dvc.lock").read_bytes())
    subprocess.run(["dvc", "repro", "-q"], check=True)
    newer = (repository / "dvc.lock").read_text()
    with cache.opened() as held:
        assert set(held.valid()) == {"first", "second"}
    assert (repository / "dvc.lock").read_text() == newer
    assert not (repository / ".scratch/dvc.lock.before").exists()


def test_what_dvc_repro_made_and_git_holds_comes_back_once_it_was_a_stray(repository: Path) -> None:
    """DVC keeps no stage with a `cache: false` output in its run cache."""
    declared = (repository / "dvc.yaml").read_text()
    (repository / "dvc.yaml").write_text(declared.replace("outs: [results/a]", "outs: [{results/a: {cache: false}}]"))
    subprocess.run(["dvc", "repro", "-q"], check=True)
    (repository / "params.yaml").write_text("x: 2\n")
    with cache.opened() as held:
        held.restore()
        assert held.strays({}, set(held.valid()), set()) == {"first"}
        held.remember({"first"})
    (repository / "results/a").unlink()
    (repository / "params.yaml").write_text("x: 1\n")
    with cache.opened() as held:
        assert held.restore() == ["first"]
    assert (repository / "results/a").read_text() == "code"


def test_the_entry_of_a_killed_driver_goes(repository: Path) -> None:
    """Even where its number is another process's now: this one's parent stands for that."""
    results = str((repository / "results").resolve())
    entry = {"read": {results: [{"pid": os.getppid(), "cmd": "snakemake --cores 2"}]}}
    (repository / ".dvc/tmp").mkdir(exist_ok=True)
    (repository / ".dvc/tmp/rwlock").write_text(json.dumps(entry))
    code = "from scalinglab import cache\nwith cache.opened() as held: held.keep_writers_out()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((repository / ".dvc/tmp/rwlock").read_text()).get("read", {}) == {}


def test_dvc_repro_beside_us_stops_before_it_removes_anything(repository: Path) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    (repository / "params.yaml").write_text("x: 2\n")
    code = "import time; from scalinglab import cache\nwith cache.opened() as held: held.keep_writers_out()\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", code + "print('holds', flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holds\n"
    refused = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=False)
    assert f"(PID {holder.pid})" in refused.stderr
    assert (repository / "results/a").exists()
    assert subprocess.run(["dvc", "status"], capture_output=True, check=False).returncode == 0, "looking is free"
    holder.kill()
    holder.wait()
    assert subprocess.run(["dvc", "repro"], capture_output=True, check=False).returncode == 0


def make(repository: Path, x: int, text: str) -> None:
    """The first stage has run with another parameter, and wrote another text."""
    (repository / "params.yaml").write_text(f"study: mine\nx: {x}\n")
    (repository / "results/a").write_text(text)


@pytest.mark.parametrize("declared", ["outs: [results/a]", "outs: [{results/a: {cache: false}}]"])
def test_what_the_lock_file_has_of_other_inputs_is_not_taken_for_the_present_ones(
    repository: Path, declared: str
) -> None:
    """Where a file stands in the way that the cache lacks, DVC has to be asked twice."""
    (repository / "dvc.yaml").write_text((repository / "dvc.yaml").read_text().replace("outs: [results/a]", declared))
    for x, text in ((1, "one"), (2, "two")):
        make(repository, x, text)
        with cache.opened() as held:
            held.record({"first"})
    make(repository, 1, "two, and a note")
    with cache.opened() as held:
        assert held.restore() == ["first"]
    assert (repository / "results/a").read_text() == "one"


def test_a_miss_leaves_no_trace_of_the_look(repository: Path) -> None:
    with cache.opened() as held:
        held.record({"first", "second"})
    (repository / "params.yaml").write_text("x: 2\n")
    with cache.opened() as held:
        assert held.restore() == []
        assert held.valid() == []
        assert held.restore() == []


def leave_receipt(repository: Path) -> None:
    """The receipt of a first stage that has just ended."""
    stage = pipeline.find(pipeline.load(), "first", {})
    assert stage is not None
    sources = receipts.digests(pipeline.files_of("src"))
    outs = {"results/a": files.sha256(repository / "results/a")}
    receipt = receipts.Receipt("first", {}, pipeline.read_params(), sources, {}, outs)
    files.write_json(receipt.path, vars(receipt))


def take() -> list[str]:
    with cache.opened() as held:
        taken = driver.take_receipts(held, pipeline.stages_of(pipeline.load()))
        held.restore()
    return taken


def test_a_receipt_that_fits_is_taken(repository: Path) -> None:
    make(repository, 1, "one")
    leave_receipt(repository)
    assert take() == ["first"]
    assert receipts.read_all("mine") == []


def test_what_ran_before_its_parameters_were_edited_comes_back_when_the_edit_is_undone(repository: Path) -> None:
    make(repository, 1, "one")
    leave_receipt(repository)
    make(repository, 2, "one")
    assert take() == []
    assert receipts.read_all("mine") == []
    make(repository, 2, "two")
    leave_receipt(repository)
    assert take() == ["first"]
    make(repository, 1, "two")
    assert take() == []
    assert (repository / "results/a").read_text() == "one"


def test_a_receipt_of_other_sources_waits(repository: Path) -> None:
    make(repository, 1, "one")
    leave_receipt(repository)
    (repository / "src/code").write_text("new code")
    assert take() == []
    assert len(receipts.read_all("mine")) == 1
    (repository / "src/code").write_text("code")
    os.utime(repository / "src/code", (4e9, 4e9))
    assert take() == ["first"], "time stamps say nothing"


def test_a_receipt_of_other_outputs_goes(repository: Path) -> None:
    make(repository, 1, "one")
    leave_receipt(repository)
    make(repository, 1, "another")
    assert take() == []
    assert receipts.read_all("mine") == []


def test_a_stage_that_the_full_disk_cannot_hold_is_not_called_recorded(repository: Path) -> None:
    make(repository, 1, "one" * 400_000)
    leave_receipt(repository)
    with largest_file(600_000), pytest.raises(UserError, match="first: no room in the DVC cache; free some space"):
        take()
    assert len(receipts.read_all("mine")) == 1
    assert take() == ["first"]
    with cache.opened() as held:
        assert held.valid() == ["first"]


def test_no_room_for_the_files_of_dvc_is_one_line(repository: Path) -> None:
    make(repository, 1, "one" * 4000)
    leave_receipt(repository)
    with largest_file(2000), pytest.raises(UserError, match=r"free some space|is the disk full"):
        take()
    assert take() == ["first"]
