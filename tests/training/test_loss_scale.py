"""The loss scale follows torch's own rule step by step; a skipped step changes nothing; resuming is bitwise."""

import dataclasses
from pathlib import Path

import pytest
import torch

from scalinglab.config import Study, Training
from scalinglab.model.weights import load_tensors, save_tensors
from scalinglab.training.loop import Stretch, train
from scalinglab.training.loss_scale import LossScale
from scalinglab.training.schedule import Rates
from tests.training.test_training import fresh, make_batches, run

BAD = {2: float("inf"), 3: float("nan"), 9: float("inf")}  # steps whose gradients are not finite
INTERVAL = 3


@pytest.fixture
def scaled(smoke: Study) -> Training:
    return dataclasses.replace(smoke.training, precision="fp16", loss_scale=16.0, loss_scale_interval=INTERVAL)


def test_scale_and_steps_are_those_of_gradscaler(scaled: Training) -> None:
    """Also when it is put down and taken up again after any of the steps."""
    ours, theirs = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    mine = LossScale(scaled, [ours])
    sgd, scaler = (
        torch.optim.SGD([theirs], lr=0.1),
        torch.amp.GradScaler("cpu", init_scale=16, growth_interval=INTERVAL),
    )
    scales = []
    for step in range(14):
        slope = torch.tensor([BAD.get(step, 0.3 + step), 1.0])
        mine.backward((ours * slope).sum())
        assert ours.grad is not None
        gradient = ours.grad.clone()
        mine.guard(lambda gradient=gradient: ours.data.add_(gradient, alpha=-0.1))  # type: ignore[misc]
        ours.grad = None
        scaler.scale((theirs * slope).sum()).backward()
        scaler.step(sgd)
        scaler.update()
        sgd.zero_grad()
        scales.append(mine.scale)
        assert mine.scale == scaler.get_scale()
        assert torch.equal(ours, theirs)
        state, mine = mine.state_tensors(), LossScale(scaled, [ours])
        mine.restore(state)
    assert scales == [16, 16, 8, 4, 4, 4, 8, 8, 8, 4, 4, 4, 8, 8]
    assert mine.skipped == len(BAD)


def test_a_fixed_scale_skips_but_stays(scaled: Training) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    fixed = LossScale(dataclasses.replace(scaled, loss_scale_interval=0), [weight])
    made = []
    for step in range(6):
        weight.grad = None
        fixed.backward((weight * BAD.get(step, 1.0)).sum())
        fixed.guard(lambda step=step: made.append(step))  # type: ignore[misc]
        assert fixed.scale == 16
    assert made == [0, 1, 4, 5]
    assert fixed.skipped == 2


def test_a_fixed_scale_that_skips_every_step_is_stuck_and_ends_training(smoke: Study, scaled: Training) -> None:
    """The loss stays finite, and would otherwise pass for that of a trained model; a scale that moves recovers."""
    weight = torch.nn.Parameter(torch.ones(1))
    for interval, stuck in ((0, True), (INTERVAL, False)):
        scale = LossScale(dataclasses.replace(scaled, loss_scale_interval=interval), [weight])
        for step in range(LossScale.PATIENCE):
            assert not scale.stuck, step
            scale.backward((weight * float("inf")).sum())
            scale.guard(lambda: None)
        assert scale.stuck == stuck
        again = LossScale(dataclasses.replace(scaled, loss_scale_interval=interval), [weight])
        again.restore(scale.state_tensors())
        assert again.stuck == stuck
    training = dataclasses.replace(scaled, loss_scale=2.0**60, loss_scale_interval=0)
    model, optimiser = fresh(dataclasses.replace(smoke, training=training))
    steps = 2 * LossScale.PATIENCE
    ended: list[int] = []
    finished = train(
        model, optimiser, make_batches(), Stretch(0, steps), lambda step: Rates.alike(0.01), training, smoke.execution,
        lambda step, point: ended.append(step), 0,
    )  # fmt: skip
    assert not finished
    assert ended[-1] == LossScale.PATIENCE - 1


def test_a_skipped_step_changes_no_weight_and_no_moment(smoke: Study, scaled: Training) -> None:
    study = dataclasses.replace(smoke, training=scaled)
    model, optimiser = fresh(study)
    run(study, model, optimiser, 0, 3, 0.1)
    before = {name: tensor.clone() for name, tensor in optimiser.state_tensors().items()}
    counts = [count.item() for count in optimiser._steps.values()]
    batch = make_batches()[3]
    optimiser.backward(model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N) * float("inf"))
    optimiser.step(Rates.alike(0.1))
    after = optimiser.state_tensors()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [count.item() for count in optimiser._steps.values()] == counts == [3] * len(counts)
    for name in before:
        if not name.startswith("loss_scale."):
            assert torch.equal(after[name], before[name]), name
    assert after["loss_scale.scale"] == before["loss_scale.scale"] / 2
    assert (before["loss_scale.skipped"], after["loss_scale.skipped"]) == (0, 1)


@pytest.mark.parametrize("interval", [4, 0], ids=["dynamic", "fixed"])
def test_resume_is_bitwise(smoke: Study, scaled: Training, tmp_path: Path, interval: int) -> None:
    """With steps skipped before and after the stop: the number of updates is not that of steps."""
    scale = 2.0**24 if interval else 1.5 * 2.0**18
    training = dataclasses.replace(scaled, loss_scale=scale, loss_scale_interval=interval)
    study = dataclasses.replace(smoke, training=training)
    straight, optimiser = fresh(study)
    run(study, straight, optimiser, 0, 40, 0.1)
    first, its_optimiser = fresh(study)
    run(study, first, its_optimiser, 0, 15, 0.1)
    save_tensors(tmp_path / "state", its_optimiser.state_tensors(), {"step": 15})
    second, new_optimiser = fresh(study, seed=9)
    tensors, state = load_tensors(tmp_path / "state")
    new_optimiser.restore(tensors, state["step"])
    run(study, second, new_optimiser, 15, 40, 0.1)
    expected = optimiser.state_tensors()
    assert 0 < tensors["loss_scale.skipped"] < 15
    assert expected["loss_scale.skipped"] > tensors["loss_scale.skipped"]
    for name, tensor in new_optimiser.state_tensors().items():
        assert torch.equal(tensor, expected[name]), name


def test_no_scale_leaves_no_trace(smoke: Study) -> None:
    _, optimiser = fresh(smoke)
    assert optimiser.loss_scale is None
    assert not [name for name in optimiser.state_tensors() if name.startswith("loss_scale")]
