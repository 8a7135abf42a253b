"""A run that was killed and goes on is bitwise the run that never stopped; damaged states are never used silently."""

import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.model.weights import load_tensors
from scalinglab.paths import Paths
from scalinglab.stages import anneal, checkpoints, init, rates, recipe, trunk, tune
from scalinglab.stages.checkpoints import SCRATCH, Checkpoint
from scalinglab.training import loop
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates
from tests.conftest import ROOT

CHECKPOINTS = SCRATCH / "smoke/checkpoints"


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def study(tiny_study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Sixteen steps to the first branch point, a curve point every few, and a checkpoint after each step."""
    monkeypatch.setattr(loop, "CURVE_POINTS", 4)
    training = dataclasses.replace(tiny_study.training, batch_tokens=192)
    execution = dataclasses.replace(tiny_study.execution, checkpoint_seconds=1e-9)
    study = dataclasses.replace(tiny_study, training=training, execution=execution)
    for size in study.tune.sizes:
        tune.run(study, size)
    rates.run(study)
    init.run(study, "d8")
    shutil.rmtree(CHECKPOINTS)
    return study


def after_saves(n: int, monkeypatch: pytest.MonkeyPatch, end: Callable[[], None]) -> None:
    """End the process that has saved n states."""
    save, saved = Checkpoint.save, []

    def counting(self: Checkpoint, *state: object) -> None:
        save(self, *state)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == n:
            end()

    monkeypatch.setattr(Checkpoint, "save", counting)


def killed_in(call: Callable[[], None], n: int) -> None:
    """Run until n states were saved, and no further."""

    def end() -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patched:
        after_saves(n, patched, end)
        with pytest.raises(KilledError):
            call()


@contextmanager
def steps_counted() -> Iterator[list[int]]:
    """Each optimiser step inside the block adds an entry."""
    step, done = AdamW.step, []

    def counting(self: AdamW, rates: Rates) -> None:
        done.append(1)
        step(self, rates)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AdamW, "step", counting)
        yield done


class TwoRuns(NamedTuple):
    """What a run without a stop gave, what one gave that was killed and went on, and the steps it did twice."""

    straight: object
    in_two: object
    repeated: int


def straight_and_in_two(call: Callable[[], None], output: Path, n: int, read: Callable[[Path], object]) -> TwoRuns:
    """Run once without a stop and once killed after n saves, before which there must be no result."""
    with steps_counted() as whole:
        call()
    straight = read(output)
    output.unlink()
    shutil.rmtree(CHECKPOINTS)  # a stage leaves them until it is recorded
    with steps_counted() as both:
        killed_in(call, n)
        assert not output.exists()
        call()
    return TwoRuns(straight, read(output), len(both) - len(whole))


def contents(target: Path) -> tuple[bytes, bytes]:
    """Model or training state (weights, moments, step), and the curve of losses."""
    return target.read_bytes(), target.with_suffix(".csv").read_bytes()


@pytest.mark.parametrize("n", [1, 6, 9])
@pytest.mark.parametrize(
    ("schedule", "stage"),
    [("wsd", "first segment"), ("wsd", "next segment"), ("wsd", "anneal"), ("cosine", "anneal")],  # no cosine trunk
)
def test_killed_and_continued_is_bitwise_the_same(
    study: Study, schedule: str, stage: str, n: int, capsys: pytest.CaptureFixture[str]
) -> None:
    study = dataclasses.replace(study, training=dataclasses.replace(study.training, schedule=schedule))
    paths = Paths(study.study)
    if stage != "first segment":
        trunk.run(study, "d8", "init", "4k")
    call = {
        "first segment": lambda: trunk.run(study, "d8", "init", "4k"),
        "next segment": lambda: trunk.run(study, "d8", "4k", "8k"),
        "anneal": lambda: anneal.run(study, "d8", "4k"),
    }[stage]
    target = {
        "first segment": paths.trunk("d8", "4k"),
        "next segment": paths.trunk("d8", "8k"),
        "anneal": paths.cell("anneal", "d8", "4k", ".safetensors"),
    }[stage]
    n = min(n, 3) if stage == "anneal" and schedule == "wsd" else n
    runs = straight_and_in_two(call, target, n, contents)
    assert runs.in_two == runs.straight
    assert runs.repeated <= 1
    assert "continues from the checkpoint at step" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["trunk", "anneal"])
def test_a_loss_scale_goes_on_where_it_was(study: Study, stage: str) -> None:
    """From a scale that overflows: the steps that were skipped are known after the kill, and in the branch."""
    changes = {"precision": "fp16", "loss_scale": 2.0**28, "loss_scale_interval": 3}
    study = dataclasses.replace(study, training=dataclasses.replace(study.training, **changes))
    target = {
        "trunk": Paths(study.study).trunk("d8", "4k"),
        "anneal": Paths(study.study).cell("anneal", "d8", "4k", ".safetensors"),
    }[stage]
    if stage == "anneal":
        trunk.run(study, "d8", "init", "4k")
        runs = straight_and_in_two(lambda: anneal.run(study, "d8", "4k"), target, 2, contents)
        assert runs.in_two == runs.straight
        assert runs.repeated <= 1
    else:
        runs = straight_and_in_two(lambda: trunk.run(study, "d8", "init", "4k"), target, 6, contents)
        assert runs.in_two == runs.straight
        assert runs.repeated <= 1
        tensors, _ = load_tensors(target)
        assert 0 < tensors["loss_scale.skipped"] < 16
        assert tensors["loss_scale.scale"] < 2**28


def test_the_trunk_hands_over_to_its_branch_bitwise(study: Study) -> None:
    """A trunk killed on its way gives the same cell as one that was not."""
    paths = Paths(study.study)
    trunk.run(study, "d8", "init", "4k")
    anneal.run(study, "d8", "4k")
    cell = paths.cell("anneal", "d8", "4k", ".safetensors")
    straight = contents(cell)
    shutil.rmtree(CHECKPOINTS)
    for path in (cell, paths.trunk("d8", "4k")):
        path.unlink()
    killed_in(lambda: trunk.run(study, "d8", "init", "4k"), 5)
    trunk.run(study, "d8", "init", "4k")
    killed_in(lambda: anneal.run(study, "d8", "4k"), 2)
    anneal.run(study, "d8", "4k")
    assert contents(cell) == straight


def test_a_new_process_goes_on_where_one_was_killed(study: Study) -> None:
    """With a real SIGKILL, and nothing in common but the files."""
    trunk.run(study, "d8", "init", "4k")
    target = Paths(study.study).trunk("d8", "4k")
    straight = contents(target)
    target.unlink()
    shutil.rmtree(CHECKPOINTS)
    code = (
        "from scalinglab.schema import *; from scalinglab.training import loop; from scalinglab.stages import trunk;"
        "from tests.stages.test_resume import *; loop.CURVE_POINTS = 4;"
        "after_saves({n}, pytest.MonkeyPatch(), lambda: os.kill(os.getpid(), signal.SIGKILL));"
        f"trunk.run({study!r}, 'd8', 'init', '4k')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def process(n: int) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", code.replace("{n}", str(n))]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert process(6).returncode == -signal.SIGKILL
    assert not target.exists()
    assert "continues from the checkpoint at step 6" in process(1000).stdout
    assert contents(target) == straight


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    study: Study, damaged: int, capsys: pytest.CaptureFixture[str]
) -> None:
    trunk.run(study, "d8", "init", "4k")
    target = Paths(study.study).trunk("d8", "4k")
    straight = contents(target)
    shutil.rmtree(CHECKPOINTS)
    killed_in(lambda: trunk.run(study, "d8", "init", "4k"), 6)
    newest, older = CHECKPOINTS / "trunk-d8-4k.safetensors", CHECKPOINTS / "trunk-d8-4k.older.safetensors"
    newest.write_bytes(newest.read_bytes()[:-10])
    if damaged == 2:
        older.write_bytes(flipped(older.read_bytes(), 5000))
    capsys.readouterr()
    trunk.run(study, "d8", "init", "4k")
    said = capsys.readouterr().out
    assert "trunk-d8-4k.safetensors is damaged" in said
    assert ("step 5" in said) == (damaged == 1)
    assert contents(target) == straight


def test_a_checkpoint_of_other_parameters_is_not_used(study: Study) -> None:
    other = dataclasses.replace(study, training=dataclasses.replace(study.training, beta2=0.9))
    trunk.run(study, "d8", "init", "4k")
    straight = contents(Paths(study.study).trunk("d8", "4k"))
    shutil.rmtree(CHECKPOINTS)
    killed_in(lambda: trunk.run(other, "d8", "init", "4k"), 6)
    trunk.run(study, "d8", "init", "4k")
    assert contents(Paths(study.study).trunk("d8", "4k")) == straight


@pytest.mark.parametrize("n", [3, 21, 25, 50])
def test_a_killed_sweep_goes_on_with_the_rates_that_are_left(study: Study, n: int) -> None:
    table = Paths(study.study).of("tune", "d8.csv")
    runs = straight_and_in_two(lambda: tune.run(study, "d8"), table, n, Path.read_bytes)
    assert runs.in_two == runs.straight
    assert runs.repeated <= 1


@pytest.mark.parametrize("n", [3, 16, 17, 19, 25, 36, 40])
def test_a_killed_recipe_goes_on_with_the_budgets_that_are_left(study: Study, n: int) -> None:
    table = Paths(study.study).of("recipe", "0/tuned-d8.csv")
    runs = straight_and_in_two(lambda: recipe.run(study, "0", "tuned", "d8"), table, n, Path.read_bytes)
    assert runs.in_two == runs.straight
    assert runs.repeated <= 1


def test_at_most_one_interval_is_lost(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second and a checkpoint is due after five, between curve points as well."""
    study = dataclasses.replace(study, execution=dataclasses.replace(study.execution, checkpoint_seconds=5.0))
    monkeypatch.setattr(loop, "CURVE_POINTS", 1)
    seconds = iter(range(10**6))
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: float(next(seconds)))
    target = Paths(study.study).trunk("d8", "8k")
    trunk.run(study, "d8", "init", "4k")
    runs = straight_and_in_two(lambda: trunk.run(study, "d8", "4k", "8k"), target, 2, contents)
    assert runs.in_two == runs.straight
    assert runs.repeated <= 1
    saved: list[int] = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, tensors, state: (saved.append(state["step"]), save(self, tensors, state))
    )
    shutil.rmtree(CHECKPOINTS)
    trunk.run(study, "d8", "4k", "8k")
    assert len(saved) >= 2
    assert max(later - earlier for earlier, later in itertools.pairwise(saved)) <= 6


@pytest.mark.parametrize("name", ["train.npy", "train-scored.npy", "validation.npy"])
@pytest.mark.parametrize("cut", [True, False], ids=["cut short", "a flipped bit"])
def test_damaged_shards_are_refused(study: Study, name: str, cut: bool) -> None:
    path = Paths(study.study).of("encode", name)
    data = path.read_bytes()
    path.write_bytes(data[:-3] if cut else flipped(data, len(data) // 2))
    with pytest.raises(UserError, match=f"{name} is damaged"):
        tune.run(study, "d8")


def test_a_damaged_trunk_is_refused(study: Study) -> None:
    path = Paths(study.study).trunk("d8", "init")
    path.write_bytes(flipped(path.read_bytes(), -20))
    with pytest.raises(UserError, match=r"init\.safetensors is damaged \(the checksum of"):
        trunk.run(study, "d8", "init", "4k")


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 4
    return bytes(changed)
