"""A disk that is full: every stage says so in one line, leaves nothing half-written, and keeps what stood there.

The kernel refuses the writes, by a limit on the size of files (RLIMIT_FSIZE): the same error path as a full disk, for
every library that writes.
"""

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scalinglab import files
from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.stages import anneal, clean, download, encode, evaluate, init, rates, shots, tokenizer, trunk, tune

DATA = {"download": download.run, "clean": clean.run, "tokenizer": tokenizer.run, "encode": encode.run}
TRAINING: dict[str, Callable[[Study], None]] = {
    "tune": lambda study: tune.run(study, "d8"),
    "init": lambda study: init.run(study, "d8"),
    "trunk": lambda study: trunk.run(study, "d8", "init", "4k"),
    "anneal": lambda study: anneal.run(study, "d8", "4k"),
    "shots": lambda study: shots.run(study, "d8", "4k"),
    "evaluate": lambda study: evaluate.run(study, "d8", "4k", "tokenizer"),
}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes beyond `size` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def snapshot() -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}


def check(call: Callable[[], None]) -> None:
    """The stage fails on a full disk with an output in place, and again without it; then it works."""
    call()
    whole = snapshot()
    shutil.rmtree(".scratch", ignore_errors=True)  # a finished job's checkpoint would spare it the work
    with largest_file(40), pytest.raises(UserError, match=r"cannot write .* free some space"):
        call()
    after = snapshot()
    assert {name: text for name, text in after.items() if whole.get(name) != text} == {}, "nothing new, nothing half"
    call()
    assert snapshot() == {**whole, **{name: text for name, text in snapshot().items() if "provenance" in name}}


@pytest.mark.parametrize("name", DATA)
def test_data_stages(text_study: Study, name: str) -> None:
    for earlier, stage in DATA.items():
        if earlier == name:
            break
        stage(text_study)
    check(lambda: DATA[name](text_study))


@pytest.mark.parametrize("name", TRAINING)
def test_training_stages(tiny_study: Study, name: str) -> None:
    if name != "tune":
        for size in tiny_study.tune.sizes:
            tune.run(tiny_study, size)
        rates.run(tiny_study)
        for earlier, stage in list(TRAINING.items())[1:]:
            if earlier == name:
                break
            stage(tiny_study)
    check(lambda: TRAINING[name](tiny_study))


@pytest.mark.parametrize("size", [0, 1, 4000, 60_000])
def test_wherever_the_disk_ends(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with largest_file(size), pytest.raises(UserError, match="cannot write"):
        files.write_text(path, "new" * 50_000)
    assert [held.read_text() for held in tmp_path.iterdir()] == ["old"]
