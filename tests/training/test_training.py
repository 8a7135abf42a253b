"""Schedules, the data cursor, and that a run which stops and continues is bitwise the run that did not."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scalinglab import config
from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.model.weights import load_tensors, save_tensors
from scalinglab.training.data import Batches
from scalinglab.training.loop import Point, Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import RateLaw, Rates, anneal_rate, branch_step, run_rates, steps_of, trunk_rate


def make_batches(n_rows: int = 400, batch_tokens: int = 128, repeat: int = 1, unique_tokens: int = 0) -> Batches:
    rng = np.random.default_rng(0)
    # A Markov chain over 20 symbols: something that can be learnt in a few steps.
    rows = np.zeros((n_rows, 17), dtype=np.uint16)
    for t in range(1, 17):
        rows[:, t] = (rows[:, t - 1] * 3 + rng.integers(1, 3, n_rows)) % 20
    return Batches(rows, np.ones((n_rows, 16), dtype=bool), batch_tokens, repeat, unique_tokens)


def fresh(study: Study, seed: int = 0) -> tuple[Decoder, AdamW]:
    model = Decoder(shape_of("d16", study.model, 20, 16), study.model)
    initialise(model, seed)
    return model, AdamW(model, study.training)


def run(study: Study, model: Decoder, optimiser: AdamW, first: int, last: int, rate: float) -> list[Point]:
    """One rate for all, the embedding too, that falls as 1 / steps."""
    points: list[Point] = []
    finished = train(
        model,
        optimiser,
        make_batches(),
        Stretch(0, last),
        lambda step: Rates.alike(rate / (1 + step)),
        study.training,
        study.execution,
        lambda step, point: points.append(point) if point else None,
        first,
    )
    assert finished
    return points


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resume_is_bitwise(smoke: Study, tmp_path: Path, dropout: float) -> None:
    smoke = dataclasses.replace(smoke, model=dataclasses.replace(smoke.model, dropout=dropout))
    straight, optimiser = fresh(smoke)
    run(smoke, straight, optimiser, 0, 40, 0.1)
    first, its_optimiser = fresh(smoke)
    run(smoke, first, its_optimiser, 0, 15, 0.1)
    save_tensors(tmp_path / "state", its_optimiser.state_tensors(), {"step": 15})
    second, new_optimiser = fresh(smoke, seed=9)
    tensors, state = load_tensors(tmp_path / "state")
    new_optimiser.restore(tensors, state["step"])
    run(smoke, second, new_optimiser, 15, 40, 0.1)
    expected = optimiser.state_tensors()
    for name, tensor in new_optimiser.state_tensors().items():
        assert torch.equal(tensor, expected[name]), name


def test_gradient_norms_are_those_before_clipping(smoke: Study) -> None:
    model, optimiser = fresh(smoke)
    batch = make_batches()[0]
    model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N).backward()
    squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
    expected = torch.stack(squares).sum().sqrt().item()
    model.zero_grad()
    clipped = dataclasses.replace(smoke, training=dataclasses.replace(smoke.training, clip_norm=expected / 10))
    (point,) = run(clipped, model, optimiser, 0, 1, 0.1)
    assert point.grad_norm == pytest.approx(expected, rel=1e-5)


def test_adamw_is_torchs_own(smoke: Study) -> None:
    model, optimiser = fresh(smoke)
    run(smoke, model, optimiser, 0, 10, 0.1)
    twin, _ = fresh(smoke)
    named = dict(twin.named_parameters())
    decayed = [p for name, p in named.items() if p.dim() == 2 and name != "embedding.weight"]
    plain = [p for name, p in named.items() if p.dim() != 2 or name == "embedding.weight"]
    training = smoke.training
    theirs = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": training.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        betas=(training.beta1, training.beta2),
        eps=training.eps,
        fused=True,
    )
    for step in range(10):
        batch = make_batches()[step]
        twin.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), training.clip_norm)
        for group in theirs.param_groups:
            group["lr"] = 0.1 / (1 + step)
        theirs.step()
        theirs.zero_grad()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, named[name]), name


def test_the_embedding_has_its_own_rate(smoke: Study) -> None:
    """It alone moves, in the first step of Adam, so many times as far, in every parametrisation."""
    moved = first_step(smoke, own=0.0), first_step(smoke, own=0.016)
    slow, fast = (one.pop("embedding.weight") for one in moved)
    torch.testing.assert_close(fast, 16 * slow, atol=1e-5, rtol=1e-3)
    assert all(torch.equal(moved[0][name], moved[1][name]) for name in moved[0])
    unit = dataclasses.replace(smoke, model=dataclasses.replace(smoke.model, parametrisation="u-mup"))
    torch.testing.assert_close(first_step(unit, own=0.016)["embedding.weight"].abs(), fast.abs(), atol=1e-3, rtol=0.1)


def test_a_table_that_is_the_head_too_has_the_rate_of_all_else(smoke: Study) -> None:
    tied = dataclasses.replace(smoke, model=dataclasses.replace(smoke.model, tied_head=True))
    slow, fast = first_step(tied, own=0.0), first_step(tied, own=0.016)
    assert all(torch.equal(slow[name], fast[name]) for name in slow)


def first_step(study: Study, own: float) -> dict[str, torch.Tensor]:
    """By how much each parameter moves in one step at rate 0.001, and the embedding at its own."""
    training = dataclasses.replace(study.training, embedding_rate=own, warmup_tokens=0)
    model, optimiser = fresh(dataclasses.replace(study, training=training))
    if model.head.weight is not model.embedding.weight:
        torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch = make_batches()[0]
    model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N).backward()
    optimiser.step(run_rates(0.001, 100, training)(0))
    return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}


def test_training_does_not_import_torchs_compiler() -> None:
    """It would cost each of hundreds of jobs more time than its training may take."""
    code = (
        "import sys; from tests.training.test_training import *; study = config.load(Path('presets/smoke.yaml'));"
        "run(study, *fresh(study), 0, 2, 0.1); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_learns_and_reports_every_step(smoke: Study) -> None:
    model, optimiser = fresh(smoke)
    points = run(smoke, model, optimiser, 0, 40, 0.3)
    assert points[-1].step == 40
    assert points[-1].loss < points[0].loss - 0.5


def test_divergence_is_noticed(smoke: Study) -> None:
    model, optimiser = fresh(smoke)
    with torch.no_grad():
        model.embedding.weight.fill_(float("nan"))
    stretch = Stretch(0, 20)
    assert not train(
        model,
        optimiser,
        make_batches(),
        stretch,
        lambda _: Rates.alike(0.1),
        smoke.training,
        smoke.execution,
        lambda *_: None,
        0,
    )


def test_batches_are_slices_of_the_mixture() -> None:
    batches = make_batches()
    again = make_batches(batch_tokens=64)
    joined = torch.cat([again[6].tokens_BT, again[7].tokens_BT])
    assert torch.equal(batches[3].tokens_BT, joined)
    assert torch.equal(batches[3].tokens_BT[:, 1:], batches[3].targets_BT[:, :-1])


def test_budget_beyond_the_mixture_is_refused_unless_repeated() -> None:
    with pytest.raises(UserError, match="cell x needs 12,800 tokens, but the mixture holds 6,400"):
        make_batches().check(100, "cell x")
    twice = make_batches(repeat=2)
    twice.check(100, "cell x")
    assert torch.equal(twice[50].tokens_BT, twice[0].tokens_BT)


def test_wsd_branches_leave_a_constant_trunk(smoke: Study) -> None:
    training = smoke.training
    for budget in smoke.grid.budgets:
        first, last = branch_step(budget, training), steps_of(config.tokens_of(budget), training.batch_tokens)
        assert first == last - max(1, round(training.anneal_share * last))
        rates = [anneal_rate(step, first, last, training) for step in range(first, last)]
        assert rates[0] == trunk_rate(first, training)
        assert all(later < earlier for earlier, later in itertools.pairwise(rates))
        assert 0 < rates[-1] <= 1 / (last - first) + 1e-9


@pytest.mark.parametrize(
    ("schedule", "halfway", "at_the_end"), [("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("constant", 1.0, 1.0)]
)
def test_cells_of_other_schedules_share_nothing(smoke: Study, schedule: str, halfway: float, at_the_end: float) -> None:
    training = dataclasses.replace(smoke.training, schedule=schedule)
    assert branch_step("80k", training) == 0
    rates = [anneal_rate(step, 0, 78, training) for step in range(78)]
    assert rates[0] < rates[20]
    assert rates[39] == pytest.approx(halfway)
    assert rates[-1] == pytest.approx(at_the_end, abs=0.02)


def test_a_run_of_its_own_follows_trunk_and_anneal(smoke: Study) -> None:
    training = smoke.training
    first, last = branch_step("80k", training), steps_of(80_000, training.batch_tokens)
    rates_of = run_rates(0.3, last, training)
    together = [trunk_rate(step, training) for step in range(first)]
    together += [anneal_rate(step, first, last, training) for step in range(first, last)]
    assert [rates_of(step).others for step in range(last)] == pytest.approx([0.3 * share for share in together])
    own = dataclasses.replace(training, embedding_rate=0.5)
    for embedding, one in ((0.5, own), (0.3, dataclasses.replace(own, embedding_rate=0.0))):
        twice = run_rates(0.3, last, one, factor=2)
        assert [twice(step).embedding for step in range(last)] == pytest.approx(
            [2 * embedding * share for share in together]
        )
        assert twice(first).others == pytest.approx(2 * rates_of(first).others)


def test_a_share_of_the_rows_is_read_over_and_over() -> None:
    few = make_batches(unique_tokens=320)  # 20 rows of 16, 8 a batch
    few.check(10**9, "never too many")
    every = make_batches()
    assert torch.equal(few[0].tokens_BT, every[0].tokens_BT)
    assert torch.equal(few[2].tokens_BT, torch.cat([every[2].tokens_BT[:4], every[0].tokens_BT[:4]]))
    assert torch.equal(few[5].tokens_BT, few[0].tokens_BT)


def test_more_unique_tokens_than_there_are_are_refused() -> None:
    with pytest.raises(UserError, match=r"unique_tokens = 6,416: the mixture holds 6,400 tokens"):
        make_batches(unique_tokens=6416)


def test_rate_law() -> None:
    law = RateLaw(prefactor=0.64, exponent=-1.0)
    assert law.peak("d128") == pytest.approx(0.005)
    assert law.peak("d64s3") == pytest.approx(0.01)
    assert RateLaw(0.123456, -0.8765).rounded() == RateLaw(0.123, -0.88)
