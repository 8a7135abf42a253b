"""`scalinglab cost`: FLOPs, time and disk of the current study by stage, before running it.

Times come from a few training steps of each size on this very machine, and from one process start.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from scalinglab import config
from scalinglab.config import START, Study
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.recipes import RECIPES, Recipe
from scalinglab.stages.models import pick_device
from scalinglab.training.optimiser import AdamW
from scalinglab.training.precision import autocast, lowered, products
from scalinglab.training.schedule import Rates, branch_of, branch_step, steps_of

STATE_COPIES = 3  # weights and two moments
BYTES = 4
TRIAL_FLOPS = {"cpu": 2e10, "cuda": 2e13}  # a trial step of a large model is cut to fewer rows than this takes


@dataclass(frozen=True)
class Cost:
    """What one family of stages takes; FLOPs by size label."""

    family: str
    jobs: int
    flops: dict[str, float]
    disk_bytes: float


def costs(study: Study) -> list[Cost]:
    """Costs of sweeps, trunks, anneals, evaluations and the ladder. DVC links its cached files into results/."""
    vocab = study.tokenizer.vocab_size + study.tokenizer.skill_symbols
    batch, sizes = study.training.batch_tokens, study.grid.sizes
    every = {*sizes, *study.tune.sizes, *study.ladder.sizes}
    counts = {size: count(shape_of(size, study.model, vocab, study.mixture.seq_len), study.model) for size in every}
    tokens_of_trunk = tokens_of_anneals = 0
    for segment in study.grid.segments:
        first = 0 if segment.after == START else branch_step(segment.after, study.training)
        branch = branch_step(segment.to, study.training)
        tokens_of_trunk += (branch - first) * batch
        tokens_of_anneals += (steps_of(config.tokens_of(segment.to), batch) - branch) * batch
    budgets = len(study.grid.budgets)
    shots = study.shots.documents * study.mixture.seq_len * len(study.mixture.skills)
    scored = budgets * (study.mixture.validation_tokens + shots) / 3  # a forward pass is a third of a step

    def of(tokens: float, sizes: Sequence[str] = sizes) -> dict[str, float]:
        return {size: counts[size].flops_per_token * tokens for size in sizes}

    weights = sum(counts[size].params_total for size in sizes) * budgets * BYTES
    jobs = len(sizes) * budgets
    sweep = steps_of(config.tokens_of(study.tune.budget), batch) * batch * len(study.tune.rates)
    ladder = study.ladder
    tokens_of_ladder = len(ladder.seeds) * sum(_recipe_steps(study, recipe) for recipe in RECIPES.values()) * batch
    ladder_jobs = len(ladder.seeds) * len(RECIPES) * len(ladder.sizes)
    return [
        Cost("tune", len(study.tune.sizes), of(sweep, study.tune.sizes), 0.0),
        Cost("trunk", jobs, of(tokens_of_trunk), weights * STATE_COPIES),
        Cost("anneal", jobs, of(tokens_of_anneals), weights),
        Cost("evaluate + shots", 2 * jobs, of(scored), 0.0),
        *([Cost("recipe", ladder_jobs, of(tokens_of_ladder, ladder.sizes), 0.0)] if ladder.seeds else []),
    ]


def _recipe_steps(study: Study, recipe: Recipe) -> int:
    """Steps that one size takes under a recipe: its trunk, and an anneal for each budget where it decays."""
    lasts = [steps_of(config.tokens_of(budget), study.training.batch_tokens) for budget in study.ladder.budgets]
    if not recipe.decay:
        return lasts[-1]
    firsts = [branch_of(last, study.training) for last in lasts]
    return firsts[-1] + sum(last - first for first, last in zip(firsts, lasts, strict=True))


def training_rate(study: Study, size: str, device: torch.device) -> float:
    """FLOP/s that a training step of a size reaches here: the best of three, after one to warm up."""
    seq_len, vocab = study.mixture.seq_len, study.tokenizer.vocab_size + study.tokenizer.skill_symbols
    shape = shape_of(size, study.model, vocab, seq_len)
    per_row = count(shape, study.model).flops_per_token * seq_len
    rows = max(1, min(study.training.batch_tokens // seq_len, int(TRIAL_FLOPS[device.type] / per_row)))
    model = Decoder(shape, study.model)
    initialise(model, 0)
    model.to(device)
    optimiser = AdamW(model, study.training)
    tokens_BT = torch.randint(0, vocab, (rows, seq_len), device=device)
    scored_N = torch.arange(rows * seq_len, device=device)

    def step() -> None:
        with products(study.training.precision, device):
            with autocast(lowered(study.training, study.execution), device):
                loss = model.loss(tokens_BT, tokens_BT, scored_N)
            optimiser.backward(loss)
        optimiser.step(Rates.alike(0.0))
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    return rows * per_row / min(_seconds(step) for _ in range(3))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def process_start() -> float:
    """Seconds until a new process has torch: what every job spends before its work."""
    return _seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True))


def show(study: Study) -> None:
    """Print the table of a study."""
    device = pick_device(study)
    rows, start = costs(study), process_start()
    of_ladder = study.ladder.sizes if study.ladder.seeds else ()
    sizes = dict.fromkeys((*study.grid.sizes, *study.tune.sizes, *of_ladder))
    rates = {size: training_rate(study, size, device) for size in sizes}
    table = Table(title=f"study {study.study}: {len(study.grid.cells())} cells on {device}")
    for column in ("stage", "jobs", "FLOPs", "one job at a time", "disk"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    hours = {row.family: _hours(row, rates, start) for row in rows}
    for row in rows:
        flops = sum(row.flops.values())
        table.add_row(row.family, str(row.jobs), f"{flops:.2e}", _time(hours[row.family]), _megabytes(row.disk_bytes))
    flops, disk = sum(sum(row.flops.values()) for row in rows), sum(row.disk_bytes for row in rows)
    jobs, total = sum(row.jobs for row in rows), sum(hours.values())
    table.add_row("total", str(jobs), f"{flops:.2e}", _time(total), _megabytes(disk))
    console = Console()
    console.print(table)
    slowest, fastest = min(rates.values()) / 1e9, max(rates.values()) / 1e9
    at_once = 1 if device.type == "cuda" else max(1, (os.cpu_count() or 1) // study.execution.threads)
    console.print(
        f"{slowest:.0f} to {fastest:.0f} GFLOP/s a job and {start:.1f} s a process start, measured here just now; "
        f"with {at_once} jobs at a time about {_time(total / at_once)}, data and figures not counted"
    )


def _hours(row: Cost, rates: dict[str, float], start: float) -> float:
    return (row.jobs * start + sum(flops / rates[size] for size, flops in row.flops.items())) / 3600


def _time(hours: float) -> str:
    return f"{60 * hours:.0f} min" if hours < 10 else f"{hours:,.0f} h"


def _megabytes(count_of_bytes: float) -> str:
    return f"{count_of_bytes / 1e6:,.0f} MB"


def run(arguments: argparse.Namespace) -> None:
    show(config.load())
