"""`scalinglab cost`: FLOPs, hours and disk of the current study by stage, before running it."""

import argparse
import time
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from scalinglab import config
from scalinglab.config import START, Study
from scalinglab.model.counts import count
from scalinglab.model.shape import shape_of
from scalinglab.stages.models import pick_device
from scalinglab.training.schedule import branch_step, steps_of

STATE_COPIES = 3  # weights and two moments
BYTES = 4
# Share of the matmul rate that training reaches at these widths, from results/laptop; wide models reach more.
EFFICIENCY = 0.45


@dataclass(frozen=True)
class Cost:
    """What one family of stages takes."""

    family: str
    jobs: int
    flops: float
    disk_bytes: float


def costs(study: Study) -> list[Cost]:
    """Costs of trunks, anneals and evaluations. Caches hold each file once; DVC links them into results/."""
    vocab = study.tokenizer.vocab_size + study.tokenizer.skill_symbols
    batch = study.training.batch_tokens
    trunk_flops = anneal_flops = evaluation_flops = trunk_disk = anneal_disk = 0.0
    for size in study.grid.sizes:
        counts = count(shape_of(size, study.model, vocab, study.mixture.seq_len), study.model)
        scored = study.mixture.validation_tokens + study.shots.documents * study.mixture.seq_len * len(
            study.mixture.skills
        )
        for segment in study.grid.segments:
            first = 0 if segment.after == START else branch_step(segment.after, study.training)
            branch = branch_step(segment.to, study.training)
            last = steps_of(config.tokens_of(segment.to), batch)
            trunk_flops += counts.flops_per_token * (branch - first) * batch
            anneal_flops += counts.flops_per_token * (last - branch) * batch
            evaluation_flops += counts.flops_per_token / 3 * scored
            trunk_disk += counts.params_total * BYTES * STATE_COPIES
            anneal_disk += counts.params_total * BYTES
    cells, segments = len(study.grid.cells()), len(study.grid.sizes) * len(study.grid.segments)
    return [
        Cost("trunk", segments, trunk_flops, trunk_disk),
        Cost("anneal", cells, anneal_flops, anneal_disk),
        Cost("evaluate + shots", 2 * cells, evaluation_flops, 0.0),
    ]


def matmul_rate(device: torch.device, precision: str) -> float:
    """FLOPs a second of one 1,024-square matrix product, measured here: the best of a few."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(1024, 1024, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - started)
    return 2 * 1024**3 / best


def show(study: Study) -> None:
    """Print the table of a study."""
    device = pick_device(study)
    rate = EFFICIENCY * matmul_rate(device, study.execution.precision)
    rows = costs(study)
    table = Table(title=f"study {study.study}: {len(study.grid.cells())} cells, one job at a time on {device}")
    for column in ("stage", "jobs", "FLOPs", "hours", "disk"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    total = Cost("total", sum(r.jobs for r in rows), sum(r.flops for r in rows), sum(r.disk_bytes for r in rows))
    for row in [*rows, total]:
        hours = row.flops / rate / 3600
        table.add_row(row.family, str(row.jobs), f"{row.flops:.2e}", f"{hours:.2f}", f"{row.disk_bytes / 1e6:,.0f} MB")
    console = Console()
    console.print(table)
    console.print(
        f"at {rate / 1e9:.0f} GFLOP/s a job ({EFFICIENCY:.0%} of this machine's matrix products); "
        "divide the hours by the jobs that run at once, and add about 2 s a job for process starts"
    )


def run(arguments: argparse.Namespace) -> None:
    show(config.load())
